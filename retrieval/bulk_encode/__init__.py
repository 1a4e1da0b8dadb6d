"""Encoding a corpus into a file of vectors."""
