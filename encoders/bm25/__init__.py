"""BM25 as a sparse encoder."""
