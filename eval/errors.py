"""What can go wrong in an evaluation, as a tree of exceptions.

Every error carries one message that says what is wrong and where, and a hint that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class EvaluationError(Exception):
    """Base of everything this room raises for its caller to show.

    `message` names the file and the line where there is one; `hint` says what to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class DatasetError(EvaluationError):
    """A data set cannot be read: a file is missing, or holds nothing that could be used."""


class UnknownDatasetError(DatasetError):
    """A name is neither a folder, nor a file, nor one of the BEIR sets."""


class DownloadError(DatasetError):
    """A public set could not be fetched, or what arrived is not what was published."""


class RunFormatError(EvaluationError):
    """A run file has a line that is not a line of a TREC run."""


class MeasureError(EvaluationError):
    """A measure is unknown, or nothing that is installed can compute it."""


class ComparisonError(EvaluationError):
    """Runs cannot be compared: too few, over different queries, or with equal names."""


class TuningError(EvaluationError):
    """A fusion cannot be chosen: too few judged queries, or judgments of other documents."""


class UnfitSystemError(EvaluationError):
    """A system cannot be evaluated on a data set, such as one without a corpus to index."""


class MissingExtraError(EvaluationError):
    """A package that only evaluation needs is not installed."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the known names that look most like `name`, whatever the case of their letters."""
    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)]
