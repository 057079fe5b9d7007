"""Self-contained pages on finished runs."""
