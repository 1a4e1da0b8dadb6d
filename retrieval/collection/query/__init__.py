"""Searching a collection: snapshots, modes, fusion, facets."""
