"""The documents and queries of a training run, read as a recipe says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import orjson

from ..encoders.training.queries import pseudo_queries
from ..encoders.training.recipe import CorpusRecipe, PairsRecipe, Recipe
from .corpus.base import MAX_ROW_BYTES
from .corpus.streams import open_input, read_lines
from .errors import CorpusError

_QUERY_FIELDS = ("query", "anchor", "question")
_TEXT_FIELDS = ("text", "positive", "answer", "document", "pos", "contents")
_NO_WORD = re.compile(r"[\W_]+")


@dataclass(slots=True)
class Pool:
    """What a run trains on, as text.

    Attributes:
        documents: texts, distinct.
        queries: texts; own: for each the row of its document, -1 where it has none; kinds: what each is made of.
        left_out: documents and queries that a set to be kept apart also has.
    """

    documents: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    left_out: int = 0

    def counts(self) -> dict[str, int]:
        """Return how many queries there are of each kind."""
        return {kind: self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}


def read_pool(recipe: Recipe) -> Pool:
    """Read every source of a recipe; the same recipe always gives the same pool.

    Raises:
        CorpusError: a file is missing, empty or cannot be read, or a row lacks what it must have.
    """
    pool = Pool()
    apart = _kept_apart(recipe)
    seen: dict[str, int] = {}
    asked: set[tuple[str, int]] = set()

    def add_query(text: str, own: int, kind: str) -> None:
        if _bare(text) in apart:
            pool.left_out += 1
        elif text.strip() and (text, own) not in asked:
            asked.add((text, own))
            pool.queries.append(text)
            pool.own.append(own)
            pool.kinds.append(kind)

    sources: list[CorpusRecipe | PairsRecipe] = [*recipe.data.corpora, *recipe.data.pairs]
    for number, source in enumerate(sources):
        first = len(pool.documents)
        for row in _drawn(recipe.path(source.path), source.limit, recipe.seed + number):
            title, text = str(row.get("title") or ""), _text_of(row)
            if not text:
                continue
            if title and _bare(title) in apart:
                pool.left_out += 1
                continue
            # Half of them, by a hash of the text: what one document does must not depend on the others.
            lends = "title" in source.pseudo and title and crc32(text.encode()) % 2 == 0
            whole = text if lends or not title else f"{title} {text}"
            known = seen.get(whole)
            if known is None:
                known = seen[whole] = len(pool.documents)
                pool.documents.append(whole)
            if lends:
                add_query(title, known, "title")
            if isinstance(source, PairsRecipe):
                add_query(_query_of(row, recipe.path(source.path)), known, "pair")
        _add_pseudo(pool, first, source, recipe.seed, add_query)
    for number, queries in enumerate(recipe.data.queries):
        for row in _drawn(recipe.path(queries.path), queries.limit, recipe.seed + 1000 + number, queries.leave_out):
            add_query(_query_of(row, recipe.path(queries.path)), -1, "question")
    return pool


def _add_pseudo(pool: Pool, first: int, source: CorpusRecipe | PairsRecipe, seed: int, add_query: Any) -> None:
    kinds = tuple(kind for kind in source.pseudo if kind != "title")
    if not kinds:
        return
    made = pseudo_queries(pool.documents[first:], kinds=kinds, per_document=source.per_document, seed=seed + first)
    for each in made:
        if each.remaining_text is not None:
            pool.documents[first + each.document] = each.remaining_text
        add_query(each.text, first + each.document, each.kind)


def _drawn(path: Path, limit: int, seed: int, leave_out: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return `limit` rows drawn at random, in the order of the file; all where `limit` is 0."""
    rows = [row for row in _rows(path) if not str(row.get("source", "")).startswith(tuple(leave_out) or ("\0",))]
    if not rows:
        raise CorpusError("the file has no rows to train on", where=str(path), hint="Give a file of JSON Lines")
    if not limit or limit >= len(rows):
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), limit, replace=False)
    return [rows[place] for place in sorted(chosen.tolist())]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open_input(path, str(path)) as stream:
        for number, (line, _) in enumerate(read_lines(stream, MAX_ROW_BYTES), 1):
            if line.isspace():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise CorpusError(
                    f"no JSON: {error}", where=f"{path}, line {number}", hint="Correct the row"
                ) from error
            if not isinstance(row, dict):
                raise CorpusError("the row is no object", where=f"{path}, line {number}", hint="Correct the row")
            yield row


def _text_of(row: dict[str, Any]) -> str:
    name = next((name for name in _TEXT_FIELDS if row.get(name)), None)
    return "" if name is None else str(row[name])


def _query_of(row: dict[str, Any], path: Path) -> str:
    name = next((name for name in _QUERY_FIELDS if row.get(name)), None)
    if name is None:
        raise CorpusError(
            f"a row has no query (fields: {', '.join(row)})",
            where=str(path),
            hint=f"It must stand in {', '.join(_QUERY_FIELDS)}",
        )
    return str(row[name])


def _kept_apart(recipe: Recipe) -> set[str]:
    """Return the queries and titles of the sets that are not to be trained on, bare of punctuation."""
    found: set[str] = set()
    for name in recipe.data.exclude:
        folder = recipe.path(name)
        for file, fields in (("queries.jsonl", ("text",)), ("corpus.jsonl", ("title",))):
            for row in _rows(folder / file):
                found |= {_bare(str(row[field])) for field in fields if row.get(field)}
    return found - {""}


def _bare(text: str) -> str:
    return _NO_WORD.sub(" ", text).strip().casefold()
