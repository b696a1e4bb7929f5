"""Data in, one picture out."""
