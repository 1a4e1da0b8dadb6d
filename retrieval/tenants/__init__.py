"""Tenants: many owners of documents in one collection, each of whom sees and changes nothing but their own."""
