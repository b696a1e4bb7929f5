"""Token ids to vectors: skip-gram with negative sampling."""
