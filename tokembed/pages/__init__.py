"""HTML pages: the explorer, the report, coloured tokens."""
