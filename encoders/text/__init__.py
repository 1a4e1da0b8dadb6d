"""Text processing: tokens, terms, highlights."""
