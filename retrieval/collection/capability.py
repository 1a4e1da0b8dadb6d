"""What a collection can do beyond what every collection can, whichever engine keeps it."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """A capability; the value says how it is where a collection lacks it."""

    SEARCH_STATS = "nothing tells how much a search reads"
    FACETS = "nothing counts the values of its fields"
    ARRANGEMENT = "hits come by score alone, all of them, and nothing counts what matches"
    SUGGESTIONS = "nothing lists the words of its documents"
    LISTING = "documents are listed by a filter only"
    SYNONYMS = "no synonyms are kept"
    NOTES = "nothing is kept with it but documents"
    BACKUP = "its own tools make copies"
    INGEST_JOBS = "there are no unfinished ingest jobs"
    COMPACTION = "there is nothing to compact"
    PREPARED_FILTERS = "filters are worked out within a search"
    STEPWISE_WRITES = "a document is encoded in one go"
    STORED_STATE = "nothing tells whether anything was written"
    STATIC_QUERIES = "a model makes the dense vectors of queries"


ALL_CAPABILITIES = frozenset(Capability)
