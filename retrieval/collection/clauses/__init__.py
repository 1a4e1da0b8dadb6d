"""Queries of several clauses: texts, filters and how they combine."""
