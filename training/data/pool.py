"""The documents and queries of a training run, read as a recipe says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np

from lexhound.encoders.errors import TrainingDataError
from lexhound.training.latents.recipe import LatentRecipe
from lexhound.training.recipe import CorpusRecipe, PairsRecipe, Recipe

from .files import Pair, Text, read_documents, read_ids, read_pairs, read_queries, read_scores, read_triples
from .query_generation import pseudo_queries

_NO_WORD = re.compile(r"[\W_]+")
_LEFT_OUT = -1

Row = TypeVar("Row")


@dataclass(slots=True)
class Pool:
    """The texts that a run trains on.

    Attributes:
        documents: texts, distinct.
        queries: texts; own: for each the row of its document, -1 where it has none; kinds: what each is made of.
        given: query -> documents that the data itself names as worth a comparison, the answer among them.
        scores: number of a teacher that is a file -> query -> document -> score.
        left_out: documents and queries that a set to be kept apart also has.
    """

    documents: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    given: dict[int, list[int]] = field(default_factory=dict)
    scores: dict[int, dict[int, dict[int, float]]] = field(default_factory=dict)
    left_out: int = 0

    def counts(self) -> dict[str, int]:
        """Return how many queries there are of each kind."""
        return {kind: self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}


def read_pool(recipe: Recipe | LatentRecipe) -> Pool:
    """Read every source of a recipe; the same recipe always gives the same pool.

    Raises:
        TrainingDataError: a file is missing, empty or cannot be read, or a row is wrong or names what there is not.
    """
    reader = _Reader(recipe)
    sources: list[CorpusRecipe | PairsRecipe] = [*recipe.data.corpora, *recipe.data.pairs]
    for number, source in enumerate(sources):
        reader.read_source(number, source)
    reader.read_triples()
    reader.read_queries()
    reader.read_ids()
    reader.read_scores()
    return reader.pool


class _Reader:
    """A reader that fills a pool, source after source."""

    def __init__(self, recipe: Recipe | LatentRecipe) -> None:
        self._recipe = recipe
        self.pool = Pool()
        self._apart = _kept_apart(recipe)
        self._documents: dict[str, int] = {}
        self._queries: dict[tuple[str, int], int] = {}
        # What files of ids and scores name: read whatever the limits, so that a name leads nowhere only by mistake.
        self._scored = [number for number, teacher in enumerate(recipe.teachers) if teacher.kind == "scores"]
        self._named_queries, self._named_documents, self._answered = self._names()
        self._document_of: dict[str, int] = {}
        self._question_of: dict[str, str] = {}  # "" for one that is left out
        self._query_numbers: dict[str, list[int]] = {}

    def _names(self) -> tuple[set[str], set[str], set[str]]:
        answered: set[str] = set()
        queries: set[str] = set()
        documents: set[str] = set()
        for source in self._recipe.data.ids:
            for row in read_ids(self._recipe.path(source.path)):
                answered.add(row.query_id)
                documents.update(row.document_ids)
        for number in self._scored:
            for scored in read_scores(self._recipe.path(self._recipe.teachers[number].path)):
                queries.add(scored.query_id)
                documents.update(scored.document_ids)
        return queries | answered, documents, answered

    def read_source(self, number: int, source: CorpusRecipe | PairsRecipe) -> None:
        """Read documents, and with pairs the queries that they answer."""
        path, pool = self._recipe.path(source.path), self.pool
        first = len(pool.documents)
        paired = isinstance(source, PairsRecipe)
        rows: Iterable[Text | Pair] = read_pairs(path) if paired else read_documents(path)
        for row in _drawn(rows, source.limit, self._recipe.seed + number, self._is_named):
            named = isinstance(row, Text) and row.id in self._named_documents
            position = self._add_titled(row, source) if row.text.strip() else _LEFT_OUT
            if isinstance(row, Text) and named:
                self._name(self._document_of, row.id, position, "document", path)
            if isinstance(row, Pair) and position != _LEFT_OUT:
                self._add_query(row.query, position, "pair")
        kinds = tuple(kind for kind in source.pseudo if kind != "title")
        if not kinds:
            return
        seed = self._recipe.seed + first
        for generated in pseudo_queries(
            pool.documents[first:], kinds=kinds, per_document=source.per_document, seed=seed
        ):
            if generated.remaining_text is not None:
                pool.documents[first + generated.document] = generated.remaining_text
            self._add_query(generated.text, first + generated.document, generated.kind)

    def _add_titled(self, row: Text | Pair, source: CorpusRecipe | PairsRecipe) -> int:
        title, text = row.title, row.text
        if title and _bare(title) in self._apart:
            self.pool.left_out += 1
            return _LEFT_OUT
        # Half of them, by a hash of the text: what one document does must not depend on the others.
        lends = bool("title" in source.pseudo and title and crc32(text.encode("utf-8", "surrogatepass")) % 2 == 0)
        position = self._add_document(text if lends or not title else f"{title} {text}")
        if lends:
            self._add_query(title, position, "title")
        return position

    def read_triples(self) -> None:
        """Read queries with an answer and negatives."""
        for number, source in enumerate(self._recipe.data.triples):
            path = self._recipe.path(source.path)
            for row in _drawn(read_triples(path), source.limit, self._recipe.seed + 2000 + number):
                if row.title and _bare(row.title) in self._apart:
                    self.pool.left_out += 1
                    continue
                answer = self._add_document(f"{row.title} {row.text}" if row.title else row.text)
                negatives = [self._add_document(text) for text in row.negatives]
                query = self._add_query(row.query, answer, "triple")
                if query != _LEFT_OUT:
                    self._give(query, [answer, *(position for position in negatives if position != answer)])

    def read_queries(self) -> None:
        """Read queries alone, and those that ids and scores name."""
        for number, source in enumerate(self._recipe.data.queries):
            path = self._recipe.path(source.path)
            rows = []
            for row in read_queries(path):
                if source.leave_out and row.source.startswith(source.leave_out):
                    if row.id in self._named_queries:
                        self._question_of[row.id] = ""
                else:
                    rows.append(row)
            if not rows:
                raise TrainingDataError(f"{path}: leave_out leaves no query", "Correct it, or leave the file out")
            for row in _drawn(rows, source.limit, self._recipe.seed + 1000 + number, self._is_named_query):
                named = row.id in self._named_queries
                if named:
                    self._name(self._question_of, row.id, row.text, "query", path)
                if not (named and row.id in self._answered):  # else it comes with its answers
                    query = self._add_query(row.text, _LEFT_OUT, "question")
                    if named and query != _LEFT_OUT:
                        self._query_numbers.setdefault(row.id, []).append(query)

    def read_ids(self) -> None:
        """Read which documents answer which queries."""
        for number, source in enumerate(self._recipe.data.ids):
            path = self._recipe.path(source.path)
            rows = read_ids(path, queries=self._question_of, documents=self._document_of)
            for row in _drawn(rows, source.limit, self._recipe.seed + 3000 + number):
                question = self._question_of[row.query_id]
                positions = [self._document_of[document] for document in row.document_ids]
                if not question or positions[0] == _LEFT_OUT:
                    self.pool.left_out += 1
                    continue
                query = self._add_query(question, positions[0], "ids")
                if query != _LEFT_OUT:
                    self._give(query, [position for position in positions if position != _LEFT_OUT])
                    query_numbers = self._query_numbers.setdefault(row.query_id, [])
                    if query not in query_numbers:
                        query_numbers.append(query)

    def read_scores(self) -> None:
        """Read what teachers that are files give; the documents they score are candidates, best first."""
        for number in self._scored:
            path = self._recipe.path(self._recipe.teachers[number].path)
            known: dict[int, dict[int, float]] = {}
            for row in read_scores(path, queries=self._question_of, documents=self._document_of):
                scores = zip(row.document_ids, row.scores, strict=True)
                placed = {self._document_of[document]: score for document, score in scores}
                placed.pop(_LEFT_OUT, None)
                for query in self._query_numbers.get(row.query_id, []):
                    known.setdefault(query, {}).update(placed)
            for query, listed in known.items():
                self._give(query, sorted(listed, key=lambda position: (-listed[position], position)))
            self.pool.scores[number] = known

    def _is_named(self, row: Text | Pair) -> bool:
        return isinstance(row, Text) and row.id in self._named_documents

    def _is_named_query(self, row: Text) -> bool:
        return row.id in self._named_queries

    def _name(self, names: dict[str, Row], name: str, thing: Row, called: str, path: Path) -> None:
        if names.setdefault(name, thing) != thing:
            raise TrainingDataError(
                f"{path}: the {called} id {name!r} stands for two of them",
                "Ids of training data must be one for each over all files of a recipe",
            )

    def _add_document(self, text: str) -> int:
        position = self._documents.setdefault(text, len(self.pool.documents))
        if position == len(self.pool.documents):
            self.pool.documents.append(text)
        return position

    def _add_query(self, text: str, answer: int, kind: str) -> int:
        """Return the query's number, or _LEFT_OUT."""
        if _bare(text) in self._apart:
            self.pool.left_out += 1
            return _LEFT_OUT
        if not text.strip():
            return _LEFT_OUT
        number = self._queries.setdefault((text, answer), len(self.pool.queries))
        if number == len(self.pool.queries):
            self.pool.queries.append(text)
            self.pool.own.append(answer)
            self.pool.kinds.append(kind)
        return number

    def _give(self, query: int, positions: list[int]) -> None:
        named = self.pool.given.setdefault(query, [])
        named += [position for position in dict.fromkeys(positions) if position not in named]


def _drawn(rows: Iterable[Row], limit: int, seed: int, always: Callable[[Row], bool] = lambda row: False) -> list[Row]:
    """Return `limit` rows drawn at random and those that are always taken, in the order of the file; all where `limit`
    is 0."""
    listed = list(rows)
    if not limit or limit >= len(listed):
        return listed
    chosen = set(np.random.default_rng(seed).choice(len(listed), limit, replace=False).tolist())
    return [row for position, row in enumerate(listed) if position in chosen or always(row)]


def _kept_apart(recipe: Recipe | LatentRecipe) -> set[str]:
    """Return the queries and titles of the sets that are not to be trained on, bare of punctuation."""
    texts: set[str] = set()
    for name in recipe.data.exclude:
        folder = recipe.path(name)
        texts |= {_bare(row.text) for row in read_queries(folder / "queries.jsonl")}
        texts |= {_bare(row.title) for row in read_documents(folder / "corpus.jsonl")}
    return texts - {""}


def _bare(text: str) -> str:
    return _NO_WORD.sub(" ", text).strip().casefold()
