"""Exact search over dense vectors."""
