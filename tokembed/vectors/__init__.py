"""Vectors in use."""
