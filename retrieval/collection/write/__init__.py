"""Writing to a collection: documents, ingest jobs, compaction."""
