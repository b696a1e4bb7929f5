"""Text to token ids: byte-pair encoding."""
