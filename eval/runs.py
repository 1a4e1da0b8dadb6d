"""Runs: ranked lists of documents for queries, and the TREC files that hold them.

trec_eval keeps a score in 32 bits, sorts by score descending and, at equal scores, by document id
*descending*, and never looks at the rank column. So:

- a run that is scored is put in that order first (`trec_order`), whatever tool wrote it;
- a run that we write has scores that fall strictly at 32 bits, so that trec_eval sees the order that was
  retrieved: a score is rounded to 32 bits and, where it would not lie below the one before, replaced by
  the next smaller 32-bit number. Nine significant digits say a 32-bit number exactly.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexhound.eval.datasets.dataset import Qrels

from .errors import DatasetError, RunFormatError
from .files import TextFile, atomic_writer, compressed

# Documents with their scores, the best first.
Ranking = Sequence[tuple[str, float]]

LOWEST = np.float32(-np.inf)

_BLANK = re.compile(r"\s")
_UNFIT = re.compile(r"[\t\n\r]")  # what ends a column or a line


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a system returned.

    Attributes:
        name: the system; the last column of the file.
        rankings: for each query its documents and scores, in the order that is scored.
        path: the file it was read from, if it was.
    """

    name: str
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    path: Path | None = None


def trec_order(ranking: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the order in which trec_eval sees a ranking: 32-bit score descending, then document id descending.

    Ids are compared by their bytes in UTF-8, which is the order of their characters.
    """
    entries = list(ranking)
    with np.errstate(over="ignore"):
        seen = np.asarray([score for _, score in entries], dtype=np.float64).astype(np.float32).tolist()
    keyed = sorted(zip(seen, entries, strict=True), key=lambda pair: (pair[0], pair[1][0]), reverse=True)
    return [entry for _, entry in keyed]


def strict_scores(scores: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return scores of a ranking, best first, as 32-bit numbers that fall strictly.

    Only ties (and what becomes a tie at 32 bits) are changed, each by one step of a 32-bit number.

    Raises:
        ValueError: a score is not a finite 32-bit number, or the scores rise.
    """
    exact = np.asarray(scores, dtype=np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ValueError("scores must be finite 32-bit numbers")
    if (np.diff(exact) > 0).any():
        raise ValueError("scores must not rise along a ranking")
    # Most rankings have no ties; those that do are walked through.
    if (np.diff(rounded) < 0).all():
        return rounded
    strict = rounded.copy()
    for position in range(1, len(strict)):
        if strict[position] >= strict[position - 1]:
            strict[position] = np.nextafter(strict[position - 1], LOWEST)
    return strict


def canonical_ranking(ranking: Ranking) -> list[tuple[str, float]]:
    """Return a ranking of ours with the scores that its file will hold, so that both are scored alike."""
    scores = strict_scores([score for _, score in ranking])
    return [(document, float(score)) for (document, _), score in zip(ranking, scores, strict=True)]


def write_run(path: Path, run: Run) -> None:
    """Write a TREC run: the same bytes for the same rankings, whole or not at all.

    A name that ends in `.gz` or `.zst` is compressed. Columns are separated by blanks; in lines whose ids hold blanks
    themselves (documents of folders are named by their files) by tabs, which `read_run` understands and trec_eval not.

    Raises:
        RunFormatError: an id holds tabs or line breaks, or scores are not finite or rise along a ranking.
    """
    tag = "-".join(run.name.split()) or "lexhound"
    with atomic_writer(path) as raw, compressed(raw, path.suffix.lower()) as file:
        for query_id, ranking in run.rankings.items():
            file.write("".join(_lines(query_id, ranking, tag, path)).encode())


def _lines(query_id: str, ranking: Ranking, tag: str, path: Path) -> Iterator[str]:
    try:
        scores = strict_scores([score for _, score in ranking])
    except ValueError as error:
        raise RunFormatError(f"{path}: query {query_id!r}: {error}", "This is a fault of the system.") from error
    for rank, ((document, _), score) in enumerate(zip(ranking, scores, strict=True), 1):
        blanks = _BLANK.search(query_id + document) is not None
        if blanks and _UNFIT.search(query_id + document):
            raise RunFormatError(
                f"{path}: query {query_id!r}, document {document!r}: a run cannot hold ids with tabs or line breaks",
                "Its columns and lines are separated by them: give documents and queries other ids.",
            )
        yield ("\t" if blanks else " ").join([query_id, "Q0", document, str(rank), f"{score:.9g}", tag]) + "\n"


def read_run(path: Path, *, name: str | None = None, only: Collection[str] | None = None) -> Run:
    """Read a TREC run (also `.gz`, `.zst`), columns separated by tabs or blanks; rankings come in trec_eval's order.

    A run is called by `name`, or else by the tag in its last column if all lines share one, or else by
    its file. With `only`, the other queries are passed over.

    Raises:
        RunFormatError: a line has not six columns, a score is not finite, or a document stands
            twice under one query; the message names the file and the line.
        DatasetError: the file is missing or unreadable.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such run", "Check the path.")
    scores: dict[str, dict[str, float]] = {}
    tags: set[str] = set()
    for number, line in TextFile.at(path).lines():
        cells = line.split("\t")
        if len(cells) != 6:
            cells = re.split("[ \t]+", line.strip(" \t"))
        if len(cells) != 6:
            raise RunFormatError(
                f"{path}, line {number}: {len(cells)} columns instead of 6",
                "A line of a TREC run reads: query Q0 document rank score tag.",
            )
        query_id, _, document, _, written, tag = cells
        if only is not None and query_id not in only:
            continue
        try:
            score = float(written)
        except ValueError:
            score = float("nan")
        if not np.isfinite(score):
            raise RunFormatError(
                f"{path}, line {number}: the score {written!r} is not a finite number",
                "The fifth column of a TREC run is the score.",
            )
        documents = scores.setdefault(query_id, {})
        if document in documents:
            raise RunFormatError(
                f"{path}, line {number}: document {document!r} occurs twice under query {query_id!r}",
                "A document can be retrieved once for a query.",
            )
        documents[document] = score
        if len(tags) < 2:
            tags.add(tag)
    rankings = {query_id: trec_order(documents.items()) for query_id, documents in scores.items()}
    return Run(name or (tags.pop() if len(tags) == 1 else path.name), rankings, path)


def recall_by_depth(run: Run, qrels: Qrels, depths: Sequence[int]) -> list[float]:
    """Mean recall within the first k documents, for each k: the curve behind R@100 and R@1000.

    As in trec_eval: relevant means a relevance of at least 1, and a judged query without results, or
    without a relevant document, counts 0.
    """
    totals = np.zeros(len(depths))
    for query_id, judged in qrels.items():
        relevant = {document for document, relevance in judged.items() if relevance >= 1}
        if relevant:
            hits = np.array([document in relevant for document, _ in run.rankings.get(query_id, ())], dtype=bool)
            totals += [np.count_nonzero(hits[:depth]) / len(relevant) for depth in depths]
    return [float(total) / len(qrels) for total in totals] if qrels else [0.0] * len(depths)
