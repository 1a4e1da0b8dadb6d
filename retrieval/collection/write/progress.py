"""How far a job over a corpus is, and how much of it is acknowledged at a time.

Ingest jobs, ingests into other engines and encoding jobs are of one kind: documents are read, encoded in groups, and
kept a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from lexhound.core.progress import Step
from lexhound.encoders.base import ShareDone
from lexhound.retrieval.collection.fields.document_vectors import GROUP
from lexhound.retrieval.corpus import Corpus
from lexhound.retrieval.documents.document import Document

# What an interruption loses at most, about: chunks are as large as can be encoded in so many seconds.
_SECONDS = 3.0
# Of all documents of a chunk: long documents make small chunks.
_CHARACTERS = 4_000_000
# Documents passed over between two reports.
_PASSED_OVER = 1024

Phase = Literal["reading", "merging", "publishing"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is; given to the caller after every batch that is encoded and every chunk that is acknowledged.

    Attributes:
        documents: read so far, of which `resumed` were already held by an earlier attempt. Of the chunk that is being
            encoded a share, by tokens.
        rejected: bad rows skipped.
        bytes_read: of the corpus as it is on disk, as far as `documents` reach; total_bytes: all of it, None where that
            is unknown.
        tokens: read by the encoder's model in this attempt, None for an encoder without one.
        step: of the phase, where it has any.
    """

    phase: Phase
    documents: int
    resumed: int
    rejected: int
    bytes_read: int
    total_bytes: int | None
    tokens: int | None = None
    step: Step | None = None


class Meter:
    """What a job has done so far, and telling it.

    Args:
        tokens: asked for the tokens that models have read, since whenever; None without a model.
        progress: told how far the job is; None where nobody listens.

    Attributes:
        documents, resumed, rejected: as of `Progress`, for the job to count up.
    """

    def __init__(
        self, corpus: Corpus, tokens: Callable[[], int | None], progress: Callable[[Progress], None] | None
    ) -> None:
        self.documents = 0
        self.resumed = 0
        self.rejected = 0
        self._corpus = corpus
        self._tokens = tokens
        self._tokens_before = tokens() or 0
        self._progress = progress
        self._bytes = 0  # of the corpus, that all acknowledged documents came from

    @property
    def tokens(self) -> int | None:
        """Tokens that models have read in this attempt, None without a model."""
        tokens = self._tokens()
        return None if tokens is None else tokens - self._tokens_before

    def tell(self, phase: Phase = "reading") -> None:
        """Tell that all documents read so far are kept, or that a later phase begins."""
        self._bytes = self._corpus.bytes_read
        self._tell(phase, self.documents, self._bytes)

    def tell_step(self, step: Step) -> None:
        """Tell how far the merging is."""
        self._tell("merging", self.documents, self._bytes, step)

    def passed_over(self) -> None:
        """Count a document that an earlier attempt holds."""
        self.resumed += 1
        self.documents += 1
        if self.resumed % _PASSED_OVER == 0:
            self.tell()

    def within(self, documents: int) -> ShareDone:
        """Return what tells the share that is done of a chunk of so many documents, all of which have been read."""
        before, after = self._bytes, self._corpus.bytes_read

        def tell(share: float) -> None:
            self._tell("reading", self.documents + int(share * documents), before + int(share * (after - before)))

        return tell

    def _tell(self, phase: Phase, documents: int, read: int, step: Step | None = None) -> None:
        if self._progress is not None:
            total = self._corpus.total_bytes
            self._progress(Progress(phase, documents, self.resumed, self.rejected, read, total, self.tokens, step))


class Pace:
    """How many documents make a chunk: so many that an interruption loses some seconds of work at most.

    Args:
        most: never more documents than this.
        models: whether models encode. Then the first chunk is one `GROUP`, and the others are as many whole groups as
            the time of the one before lets expect within some seconds. Without a model, chunks have `most` documents,
            whatever the time.
    """

    def __init__(self, most: int, *, models: bool, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._models = models
        self._clock = clock
        self._documents = min(GROUP, most) if models else most
        self._characters = 0
        self._started = 0.0

    def is_full(self, documents: int, latest: Document) -> bool:
        """Return whether a chunk of so many documents, to which `latest` was just added, is to be encoded now."""
        self._characters += len(latest.text)
        return documents >= self._documents or self._characters >= _CHARACTERS

    def start(self) -> None:
        """Begin to encode a chunk."""
        self._characters = 0
        self._started = self._clock()

    def finish(self, documents: int) -> None:
        """Take note that a chunk of so many documents is kept."""
        if self._models and documents >= GROUP:
            seconds = max(self._clock() - self._started, 1e-6)
            groups = int(_SECONDS * documents / (seconds * GROUP))
            self._documents = max(GROUP, min(groups * GROUP, self._most))
