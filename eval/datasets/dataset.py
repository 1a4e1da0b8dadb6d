"""A data set as an evaluation sees it, and what its files held that could not be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexhound.eval.errors import DatasetError

# Query id -> document id -> relevance. A query stands in it when it has at least one judgment.
Qrels = dict[str, dict[str, int]]

# As many problems are shown as a person reads; all of them are counted.
SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """A line of a file that could not be used: where it stands and what is wrong with it."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


class ProblemLog:
    """A count of broken lines, and the first few of them to show."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[Problem] = []

    def add(self, file: str, line: int, reason: str, lines: int = 1) -> None:
        """Add a row that starts there and cannot be used; `lines` are lost with it."""
        self.count += lines
        if len(self.shown) < SHOWN_PROBLEMS:
            self.shown.append(Problem(file, line, reason if lines == 1 else f"{reason} ({lines:,} lines)"))


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was found in the files of a data set, good and bad.

    Attributes:
        queries: judged queries, the number that measures are averaged over.
        judgments: pairs of a query and a document.
        relevant: judgments with a relevance of at least 1.
        unjudged_queries: queries in the file that this split does not judge (they are not searched).
        broken_judgments: lines of the judgments that could not be read.
        repeated_judgments: pairs judged again with another relevance; the last one counts.
        broken_queries: lines of the queries that could not be read.
        missing_queries: judged queries without a text. They cannot be searched and count 0.
        queries_without_relevant: judged queries none of whose documents is relevant. They count 0.
        missing_documents: judged documents that the corpus does not hold; None while nobody has looked.
        broken_documents: rows of the corpus that could not be read; None while nobody has looked.
        examples: the first few of each kind of trouble, to show.
    """

    queries: int
    judgments: int
    relevant: int
    unjudged_queries: int = 0
    broken_judgments: int = 0
    repeated_judgments: int = 0
    broken_queries: int = 0
    missing_queries: int = 0
    queries_without_relevant: int = 0
    missing_documents: int | None = None
    broken_documents: int | None = None
    examples: tuple[str, ...] = ()

    def notices(self) -> list[str]:
        """Return one sentence for each kind of trouble that was found; empty when all is well."""
        kinds = [
            (self.broken_judgments, "broken line", "of the judgments left out"),
            (self.repeated_judgments, "pair", "judged more than once (the last judgment counts)"),
            (self.broken_queries, "broken line", "of the queries left out"),
            (self.missing_queries, "judged query", "without a text (counted as 0)"),
            (self.queries_without_relevant, "judged query", "without a relevant document (counted as 0)"),
            (self.missing_documents or 0, "judged document", "not in the corpus"),
            (self.broken_documents or 0, "row", "of the corpus that could not be read"),
        ]
        return [f"{count:,} {_plural(noun, count)} {rest}" for count, noun, rest in kinds if count]


def _plural(noun: str, count: int) -> str:
    if count == 1:
        return noun
    return noun[:-1] + "ies" if noun.endswith("y") else noun + "s"


@dataclass(frozen=True, slots=True)
class DocumentText:
    """A document's words, for a report."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Queries and judgments over one corpus.

    Attributes:
        name: what it is called in tables, such as `scifact` or `cqadupstack/android`.
        split: which judgments, such as `test`.
        queries: the text of every judged query that has one, in the order of their file.
        qrels: the judgments; queries without a text stay in it and count 0.
        corpus: the file of the documents, or None where the judgments come alone.
        files: every file that the figures depend on.
        report: what the files held.
        group: the set that this one is a part of (`cqadupstack`), whose figure is the mean of its parts.
    """

    name: str
    split: str
    queries: Mapping[str, str]
    qrels: Qrels
    corpus: Path | None
    files: tuple[Path, ...]
    report: DatasetReport
    group: str | None = None

    @property
    def label(self) -> str:
        """Name and split as tables show them: the usual split goes without saying."""
        return self.name if self.split in ("", "test") else f"{self.name} ({self.split})"

    def require_corpus(self) -> Path:
        """Return the corpus file.

        Raises:
            DatasetError: the judgments came without documents.
        """
        if self.corpus is None:
            raise DatasetError(
                f"{self.name}: these judgments come without documents, so there is nothing to index",
                "Name the collection to search (--collection), or put a corpus.jsonl beside the queries.",
            )
        return self.corpus

    def to_json(self) -> dict[str, Any]:
        """Return what a report says about the set (not its texts)."""
        from lexhound.eval.serialise import to_json

        return {
            "name": self.name,
            "split": self.split,
            "group": self.group,
            "corpus": None if self.corpus is None else str(self.corpus),
            "report": to_json(self.report),
            "notices": self.report.notices(),
        }


@dataclass(slots=True)
class Judgments:
    """Judgments while they are read: the pairs, and the lines that hold none."""

    broken: ProblemLog
    qrels: Qrels = field(default_factory=dict)
    repeated: int = 0

    def add(self, query_id: str, document_id: str, relevance: int) -> None:
        of_query = self.qrels.setdefault(query_id, {})
        if of_query.get(document_id, relevance) != relevance:
            self.repeated += 1
        of_query[document_id] = relevance


def build_dataset(
    *,
    name: str,
    split: str,
    queries: Mapping[str, str],
    judgments: Judgments,
    broken_queries: ProblemLog,
    corpus: Path | None,
    files: tuple[Path, ...],
    group: str | None = None,
) -> Dataset:
    """Put queries and judgments together and count what does not fit.

    Raises:
        DatasetError: nothing is judged, or no judged query has a text.
    """
    qrels = judgments.qrels
    source = files[-1]
    if not qrels:
        first = f" The first broken line: {judgments.broken.shown[0]}" if judgments.broken.shown else ""
        raise DatasetError(
            f"{source}: no judgments could be read ({judgments.broken.count:,} broken lines).{first}",
            "Each line holds a query id, a document id and a whole number for the relevance.",
        )
    judged = {query_id: text for query_id, text in queries.items() if query_id in qrels}
    missing = [query_id for query_id in qrels if query_id not in judged]
    if not judged:
        raise DatasetError(
            f"{source}: none of the {len(qrels):,} judged queries has a text among {len(queries):,} queries",
            f"The ids must be the same on both sides; the first judged one is {missing[0]!r}.",
        )
    examples = [str(problem) for problem in (*judgments.broken.shown, *broken_queries.shown)]
    if missing:
        examples.append("judged but without a text: " + ", ".join(missing[:SHOWN_PROBLEMS]))
    report = DatasetReport(
        queries=len(qrels),
        judgments=sum(map(len, qrels.values())),
        relevant=sum(value >= 1 for row in qrels.values() for value in row.values()),
        unjudged_queries=len(queries) - len(judged),
        broken_judgments=judgments.broken.count,
        repeated_judgments=judgments.repeated,
        broken_queries=broken_queries.count,
        missing_queries=len(missing),
        queries_without_relevant=sum(max(row.values()) < 1 for row in qrels.values()),
        examples=tuple(examples),
    )
    return Dataset(name, split, judged, qrels, corpus, files, report, group)
