"""OpenSearch's API over collections, for the programs that speak it; docs/opensearch.md says how much of it."""
