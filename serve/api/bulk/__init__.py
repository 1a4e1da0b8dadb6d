"""Bulk loads: the body of a request cut into rows, and their way to the writer."""
