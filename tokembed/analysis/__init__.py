"""What can be said of tokens and vectors: computed, not drawn."""
