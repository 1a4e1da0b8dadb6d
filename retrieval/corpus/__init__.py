"""Readers of corpora: files and streams in, documents and bad rows out."""
