"""A collection: documents, encoder and index in one directory."""
