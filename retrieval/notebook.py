"""What notebooks show of results: tables in HTML, in which every text of a document is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lexhound.retrieval.collection.result import Hit, SearchResult
    from lexhound.retrieval.documents.snippet import Snippet

_TEXT_CHARACTERS = 300
_METADATA_CHARACTERS = 200


def result_html(result: SearchResult) -> str:
    """Return the hits of a search as a table: rank, score, id, title and snippet, metadata."""
    mode = f", {escape(result.mode)}" if result.mode else ""
    count = f"{len(result.hits):,} {'hit' if len(result.hits) == 1 else 'hits'}"
    head = f"<p>{count} in {result.seconds * 1000:.1f} ms{mode}</p>"
    if not result.hits:
        return head
    names = "".join(f"<th>{name}</th>" for name in ("", "score", "id", "document", "metadata"))
    rows = "".join(f"<tr>{_cells(hit)}</tr>" for hit in result.hits)
    return f"{head}<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(hit: Hit) -> str:
    title = f"<strong>{escape(hit.title)}</strong><br>" if hit.title else ""
    text = _marked(hit.snippet) if hit.snippet is not None else escape(_cut(hit.text or "", _TEXT_CHARACTERS))
    metadata = ", ".join(f"{name}: {value}" for name, value in (hit.metadata or {}).items())
    cells = (
        str(hit.rank),
        f"{hit.score:.4f}",
        escape(hit.id),
        title + text,
        escape(_cut(metadata, _METADATA_CHARACTERS)),
    )
    return "".join(f'<td style="text-align: left; vertical-align: top">{cell}</td>' for cell in cells)


def _marked(snippet: Snippet) -> str:
    parts, position = [], 0
    for start, end in snippet.marks:
        parts += [escape(snippet.text[position:start]), f"<mark>{escape(snippet.text[start:end])}</mark>"]
        position = end
    return "".join([*parts, escape(snippet.text[position:])])


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
