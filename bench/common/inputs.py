"""What a benchmark reads: passages of a corpus and natural questions."""

from __future__ import annotations

import random
from pathlib import Path

import orjson

from lexhound.core.streams import MAX_ROW_BYTES, open_input, read_lines
from lexhound.retrieval.corpus.base import corpus_fault

_QUESTION_FIELDS = ("query", "text", "question")


def first_passages(source: Path, limit: int | None, folder: Path) -> Path:
    """The corpus to index: `source` itself, or where it has more rows than `limit`, a file of its first ones.

    Only JSON Lines and BEIR folders can be cut.
    """
    if limit is None:
        return source
    file = source / "corpus.jsonl" if source.is_dir() else source
    cut = folder / "corpus.jsonl"
    with open_input(file, str(file), corpus_fault) as stream, cut.open("wb") as out:
        for number, (line, _) in enumerate(read_lines(stream, MAX_ROW_BYTES)):
            if number == limit:
                return cut
            out.write(line)
    return source


def read_questions(source: Path, limit: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """At most `limit` questions of a JSON Lines file to ask, and at most as many others to warm up with.

    Drawn at random with a fixed seed. A question stands in `query`, `text` or `question`.
    """
    file = source / "queries.jsonl" if source.is_dir() else source
    questions: list[str] = []
    with open_input(file, str(file), corpus_fault) as stream:
        for line, _ in read_lines(stream, MAX_ROW_BYTES):
            if line.isspace():
                continue
            row = orjson.loads(line)
            questions.append(next(str(row[name]) for name in _QUESTION_FIELDS if row.get(name)))
    random.Random(seed).shuffle(questions)
    return questions[:limit], questions[limit : 2 * limit]
