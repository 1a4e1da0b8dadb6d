"""Synonyms of a collection of BM25: kept with it, applied to queries."""
