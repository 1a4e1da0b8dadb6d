"""The REST service: collections, documents and searches over HTTP, versioned under `/v1`."""
