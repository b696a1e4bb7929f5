"""Text in: named corpora, files of the user's, downloads."""
