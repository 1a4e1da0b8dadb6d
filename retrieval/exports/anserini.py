"""Anserini's JsonVectorCollection: JSON Lines of `{"id", "contents", "vector": {token: impact}}`, for Lucene.

Anserini repeats every token as often as its impact says and cuts the result at white space, so a token must hold none
and be no longer than Lucene's longest term of white-space tokenising, 255 UTF-16 units.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from lexhound.core.progress import OnStep, Stage
from lexhound.retrieval.errors import ExportError

from .base import LINE, Source, tokens_of
from .files import PartFiles

FOLDER = "documents"
_PART_BYTES = 256 * 2**20
_LONGEST_TOKEN = 255
# What Java's Character.isWhitespace takes for white space.
_SPACES = frozenset(
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a\u2028\u2029"
    "\u205f\u3000"
)


def check_token(token: str) -> None:
    """Raise ExportError where Lucene would not take a token as one term."""
    if not token or not _SPACES.isdisjoint(token):
        raise ExportError(
            f"the token {token!r} is empty or holds white space, at which Anserini would cut it",
            hint="export in another format",
        )
    if len(token.encode("utf-16-le")) // 2 > _LONGEST_TOKEN:
        raise ExportError(
            f"the token {token[:40]!r}… is longer than the {_LONGEST_TOKEN} characters that Lucene takes for one term",
            hint="export in another format",
        )


class AnseriniForm:
    """A folder of JSON Lines."""

    def write(self, source: Source, folder: Path, progress: OnStep | None) -> tuple[str, ...]:
        """See `Form`."""
        (folder / FOLDER).mkdir()
        checked: set[str] = set()
        stage = Stage(progress, "writing", source.header.documents)
        with PartFiles(folder / FOLDER, "part", "jsonl", _PART_BYTES) as files:
            for chunk in source.rows():
                for token in set(chunk.names.values()) - checked:
                    check_token(token)
                checked = set(chunk.names.values())
                for position, document in enumerate(chunk.documents):
                    row: dict[str, object] = {"id": document.id, "contents": document.text}
                    if document.title:
                        row["title"] = document.title
                    if document.metadata:
                        row["metadata"] = document.metadata
                    row["vector"] = tokens_of(chunk, position)
                    files.write(orjson.dumps(row, option=LINE))
                stage.add(len(chunk.documents))
            return tuple(f"{FOLDER}/{name}" for name in files.finish())

    def readme(self, source: Source) -> str:
        """See `Form`."""
        return f"""\
## Loading

    python -m pyserini.index.lucene --collection JsonVectorCollection --input {FOLDER} --index {source.name}.lucene \\
        --generator DefaultLuceneDocumentGenerator --impact --pretokenized --threads 2

or the same options with one hyphen to Anserini's `IndexCollection`. Lucene counts term frequencies in the `contents`
field; with `--impact` a document's score is the sum over the query's tokens of query weight × impact.

## Searching

Search with Anserini's `SimpleImpactSearcher` (`LuceneImpactSearcher` in pyserini) and whole query weights, with
`min_idf` below 0: its default of 0 leaves out a token that is in every document. Documents without any token are not
indexed by Anserini. `title` and `metadata` are kept in the lines for reading the export back; Anserini passes over
them.
"""
