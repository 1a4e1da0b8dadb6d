"""What can go wrong in an evaluation, as a tree of exceptions.

Every error carries one message that says what is wrong and where, and a hint that says what to do.
"""

from __future__ import annotations

from lexhound.core.errors import USAGE, LexhoundError


class EvaluationError(LexhoundError):
    """Root of the errors of evaluations."""


class DatasetError(EvaluationError):
    """A data set cannot be read: a file is missing, or holds nothing that could be used."""


class UnknownDatasetError(DatasetError):
    """A name is neither a folder, nor a file, nor one of the BEIR sets."""

    exit_code = USAGE


class DownloadError(DatasetError):
    """A public set could not be fetched, or what arrived is not what was published."""


class RunFormatError(EvaluationError):
    """A run file has a line that is not a line of a TREC run."""


class MeasureError(EvaluationError):
    """A measure is unknown, or nothing that is installed can compute it."""

    exit_code = USAGE


class ComparisonError(EvaluationError):
    """Runs that cannot be compared: too few, over different queries, or with equal names."""


class TuningError(EvaluationError):
    """A fusion cannot be chosen: too few judged queries, or judgments of other documents."""


class UnfitSystemError(EvaluationError):
    """A system cannot be evaluated on a data set, such as one without a corpus to index."""
