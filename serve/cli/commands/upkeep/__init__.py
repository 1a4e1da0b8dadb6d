"""Commands that look after a collection."""
