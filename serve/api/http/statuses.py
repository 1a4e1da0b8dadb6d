"""Which HTTP status every exception of ours ends a request with, and what of it a caller may read.

The counterpart of the table of exit codes in `serve.errors`; a test holds that both name the same exceptions (those of
the service itself carry their status). Messages
of failures that are the caller's business are passed on without paths; of all others nothing is.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from lexhound.encoders import errors as encoders
from lexhound.eval import errors as evaluation
from lexhound.index import errors as index
from lexhound.retrieval import errors as retrieval
from lexhound.retrieval.collection.store.disk_errors import FULL
from lexhound.serve import errors as own

from .exceptions import ServiceError

BROKEN = 500

STATUSES: dict[type[Exception], int] = {
    own.UsageError: 400,
    own.NotFoundError: 404,
    encoders.EncoderError: BROKEN,
    encoders.LanguageError: 400,
    encoders.SettingsError: 400,
    encoders.IdentityError: BROKEN,
    encoders.UnknownEncoderError: 400,
    encoders.CheckpointError: BROKEN,
    encoders.MissingExtraError: BROKEN,
    encoders.VectorFileError: BROKEN,
    encoders.TrainingError: BROKEN,
    encoders.TrainingDataError: BROKEN,
    index.IndexStorageError: BROKEN,
    index.CorruptFileError: BROKEN,
    index.UnsupportedFormatError: BROKEN,
    retrieval.RetrievalError: BROKEN,
    retrieval.InvalidDocumentError: 400,
    retrieval.CorpusError: 400,
    retrieval.BadRowError: 400,
    retrieval.QueryError: 400,
    retrieval.FilterSyntaxError: 400,
    retrieval.DeadlineError: 504,
    retrieval.EngineError: 503,
    retrieval.UnknownAddressError: BROKEN,
    retrieval.UnsupportedError: 400,
    retrieval.MissingEngineError: BROKEN,
    retrieval.EngineUnreachableError: 503,
    retrieval.ClusterError: BROKEN,
    retrieval.ExportError: BROKEN,
    retrieval.CollectionError: BROKEN,
    retrieval.NotACollectionError: 404,
    retrieval.CollectionExistsError: 409,
    retrieval.NewerFormatError: 503,
    retrieval.CollectionLockedError: 503,
    retrieval.CorruptCollectionError: 503,
    retrieval.CollectionGoneError: 503,
    retrieval.StaleSnapshotError: 503,
    retrieval.DenseIndexError: BROKEN,
    retrieval.ReadOnlyError: 503,
    retrieval.UnfinishedRunError: 409,
    retrieval.StorageFullError: 507,
    evaluation.EvaluationError: BROKEN,
    evaluation.DatasetError: BROKEN,
    evaluation.UnknownDatasetError: BROKEN,
    evaluation.DownloadError: BROKEN,
    evaluation.RunFormatError: BROKEN,
    evaluation.TuningError: BROKEN,
    evaluation.MeasureError: BROKEN,
    evaluation.ComparisonError: BROKEN,
    evaluation.UnfitSystemError: BROKEN,
    evaluation.MissingExtraError: BROKEN,
}

# Statuses of the server's side that a caller should know the reason of, in words that say nothing about the machine.
_TOLD: dict[type[Exception], tuple[str, str]] = {
    retrieval.NotACollectionError: ("there is no such collection", "GET /v1/collections lists those that are there"),
    retrieval.CollectionExistsError: ("a collection of this name is there already", "choose another name"),
    retrieval.NewerFormatError: (
        "the collection was written by a later version of Lexhound",
        "the service has to be upgraded",
    ),
    retrieval.CollectionLockedError: (
        "another process is writing to the collection",
        "try again when it has finished; searches are not affected",
    ),
    retrieval.CorruptCollectionError: (
        "the collection is damaged",
        "whoever runs the service finds the reason in its log and with `lexhound verify`",
    ),
    retrieval.CollectionGoneError: (
        "the collection was removed or replaced by another one meanwhile",
        "what was not acknowledged is not stored; send it again",
    ),
    retrieval.ReadOnlyError: (
        "the collection cannot be written to",
        "whoever runs the service has to check the permissions of its files",
    ),
    retrieval.UnfinishedRunError: (
        "an indexing run over the collection was cut short",
        "whoever runs the service has to finish it with `lexhound index`, or drop it",
    ),
    retrieval.StaleSnapshotError: ("the collection changed while it was read", "try again"),
    retrieval.DeadlineError: (
        "the request took longer than the service lets it",
        "ask for less at a time: fewer hits, a shorter filter, fewer queries",
    ),
    retrieval.EngineError: ("the search engine behind the collection failed", "try again; its log has the reason"),
    retrieval.EngineUnreachableError: ("the search engine behind the collection does not answer", "try again later"),
    retrieval.StorageFullError: (
        "the service's disk is full",
        "nothing that was acknowledged is lost; documents of this request may have to be sent again",
    ),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A failure as a caller is told of it."""

    status: int
    code: str
    message: str
    where: str | None
    hint: str | None
    headers: dict[str, str]


def answer_for(error: BaseException) -> Answer:
    """What a request that met `error` is answered; an unexpected one is told as `internal`, without its text."""
    if isinstance(error, ServiceError):
        return Answer(error.status, error.code, error.message, error.where, error.hint, error.headers)
    for kind in type(error).__mro__:
        if kind in STATUSES and issubclass(kind, Exception):
            return _known(error, kind, STATUSES[kind])
    if isinstance(error, OSError) and error.errno in FULL:
        return _known(error, retrieval.StorageFullError, STATUSES[retrieval.StorageFullError])
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return Answer(503, "unavailable", "the service has run out of a resource", None, "try again later", _LATER)
    if isinstance(error, MemoryError):
        return Answer(503, "unavailable", "the service has too little memory for this request", None, None, _LATER)
    return INTERNAL


_LATER = {"retry-after": "5"}
INTERNAL = Answer(
    BROKEN,
    "internal",
    "the service failed to answer this request",
    None,
    "whoever runs the service finds the reason in its log, under the request id",
    {},
)


def _known(error: BaseException, kind: type[Exception], status: int) -> Answer:
    code = own.describe_failure(error)
    name = code.code if code is not None else "internal"
    headers = _LATER if status == 503 else {}
    if kind in _TOLD:
        message, hint = _TOLD[kind]
        if isinstance(error, retrieval.CorruptCollectionError) and error.document is not None:
            message, hint = f"the document {error.document!a} is damaged", "put it in again, or delete it"
        return Answer(status, name, message, None, hint, headers)
    if status >= BROKEN:
        return INTERNAL
    # Of an engine's refusals it is the collection's address, and a caller has no business with that.
    where = None if kind is retrieval.UnsupportedError else getattr(error, "where", None)
    return Answer(
        status,
        name,
        str(getattr(error, "message", "") or error),
        None if where is None else str(where),
        getattr(error, "hint", None) or None,
        headers,
    )
