"""The inverted index over sparse vectors."""
