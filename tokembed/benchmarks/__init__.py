"""What is timed, beside which peers, and the tables made from it."""
