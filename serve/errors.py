"""One table for every exception of every room: the exit code it ends a command with.

`docs/cli.md` tells users what the codes mean: 0 done, 1 failed, 2 the request itself is wrong (usage), 130 interrupted.
A usage error is one that can be seen without looking at any data; everything else that goes wrong is a failure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lexhound.encoders import errors as encoders
from lexhound.eval import errors as evaluation
from lexhound.index import errors as index
from lexhound.retrieval import errors as retrieval
from lexhound.retrieval.collection.store.disk_errors import FULL
from lexhound.serve.api.http import exceptions as problems
from lexhound.serve.client import errors as client

DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count it


class UsageError(Exception):
    """A request contradicts itself or leaves out something it needs."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFoundError(Exception):
    """The documents that were asked for are not in the collection."""

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint


EXIT_CODES: dict[type[Exception], int] = {
    UsageError: USAGE,
    NotFoundError: FAILED,
    # encoders
    encoders.EncoderError: FAILED,
    encoders.LanguageError: USAGE,
    encoders.SettingsError: USAGE,
    encoders.IdentityError: FAILED,
    encoders.UnknownEncoderError: FAILED,
    encoders.CheckpointError: FAILED,
    encoders.MissingExtraError: FAILED,
    encoders.VectorFileError: FAILED,
    encoders.TrainingError: FAILED,
    encoders.TrainingDataError: FAILED,
    # index
    index.IndexStorageError: FAILED,
    index.CorruptFileError: FAILED,
    index.UnsupportedFormatError: FAILED,
    # retrieval
    retrieval.RetrievalError: FAILED,
    retrieval.InvalidDocumentError: FAILED,
    retrieval.CorpusError: FAILED,
    retrieval.BadRowError: FAILED,
    retrieval.QueryError: USAGE,
    retrieval.FilterSyntaxError: USAGE,
    retrieval.DeadlineError: FAILED,
    retrieval.EngineError: FAILED,
    retrieval.UnknownAddressError: USAGE,
    retrieval.UnsupportedError: USAGE,
    retrieval.MissingEngineError: FAILED,
    retrieval.EngineUnreachableError: FAILED,
    retrieval.ClusterError: FAILED,
    retrieval.ExportError: FAILED,
    retrieval.CollectionError: FAILED,
    retrieval.NotACollectionError: FAILED,
    retrieval.CollectionExistsError: FAILED,
    retrieval.NewerFormatError: FAILED,
    retrieval.CollectionLockedError: FAILED,
    retrieval.CorruptCollectionError: FAILED,
    retrieval.CollectionGoneError: FAILED,
    retrieval.StaleSnapshotError: FAILED,
    retrieval.DenseIndexError: FAILED,
    retrieval.ReadOnlyError: FAILED,
    retrieval.UnfinishedRunError: FAILED,
    retrieval.StorageFullError: FAILED,
    # eval
    evaluation.EvaluationError: FAILED,
    evaluation.DatasetError: FAILED,
    evaluation.UnknownDatasetError: USAGE,
    evaluation.DownloadError: FAILED,
    evaluation.RunFormatError: FAILED,
    evaluation.MeasureError: USAGE,
    evaluation.TuningError: FAILED,
    evaluation.ComparisonError: FAILED,
    evaluation.UnfitSystemError: FAILED,
    evaluation.MissingExtraError: FAILED,
    # the service, whose requests end with a status and not with an exit code
    problems.ServiceError: FAILED,
    problems.RequestError: FAILED,
    problems.UnknownNameError: FAILED,
    problems.ConflictError: FAILED,
    problems.AccessError: FAILED,
    problems.TooLargeError: FAILED,
    problems.MediaTypeError: FAILED,
    problems.BusyError: FAILED,
    problems.UnavailableError: FAILED,
    client.ClientError: FAILED,
    client.ApiError: FAILED,
    client.UnreachableError: FAILED,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An expected failure in the form in which it is told.

    Attributes:
        code: a stable name for programs: the exception's name as `not_a_collection`.
        message: what is wrong; where: the file, line or path; hint: what to do.
    """

    code: str
    message: str
    where: str | None
    hint: str | None
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints in place of the result."""
        return {"error": {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}}


def describe_failure(error: BaseException) -> Failure | None:
    """The failure that an exception stands for; None for one that nobody expected."""
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return _told(error, EXIT_CODES[kind])
    if isinstance(error, OSError):
        where = None if error.filename is None else str(error.filename)
        if error.errno in FULL:
            return Failure("storage_full", "the disk is full", where, "Free some space, and try again.", FAILED)
        return Failure("system", error.strerror or str(error), where, None, FAILED)
    if isinstance(error, MemoryError):
        hint = "Close other programs, or split the input."
        return Failure("out_of_memory", "there is not enough memory", None, hint, FAILED)
    return None


def _told(error: BaseException, exit_code: int) -> Failure:
    message = str(getattr(error, "message", "") or error)
    where = getattr(error, "where", None) or getattr(error, "path", None)
    if where is not None and str(where) in message:  # some messages name the file themselves
        where = None
    return Failure(
        _code(type(error)),
        message,
        None if where is None else str(where),
        getattr(error, "hint", None) or None,
        exit_code,
    )


def _code(kind: type[BaseException]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__.removesuffix("Error")).lower()
