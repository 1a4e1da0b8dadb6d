"""Single queries in a report: those that changed most, and those that all systems fail at."""

from __future__ import annotations

from collections.abc import Sequence

from lexhound.eval.comparison import ChangedQuery, RankedDocument
from lexhound.eval.hardest import HardQuery, WantedDocument
from lexhound.eval.system import DocumentText

from .markup import Markup, tag
from .numbers import shorten, signed

TEXT_LENGTH = 220
QUERY_LENGTH = 400


def changed_queries(changed: Sequence[ChangedQuery]) -> Markup:
    """The most changed queries of one comparison; each opens to both rankings."""
    if not changed:
        return tag("p", "No query changed.", class_="empty")
    return tag("div", [_changed(entry) for entry in changed])


def _changed(entry: ChangedQuery) -> Markup:
    figures = tag(
        "span",
        tag("span", signed(entry.difference), class_="up" if entry.difference > 0 else "down"),
        f" ({entry.baseline_value:.4f} → {entry.system_value:.4f})",
        class_="figures",
    )
    return tag(
        "details",
        tag("summary", _question(entry.query_id, entry.text), figures),
        tag(
            "div",
            _column(entry.baseline, entry.baseline_ranking),
            _column(entry.system, entry.system_ranking),
            class_="inside columns",
        ),
    )


def hard_queries(queries: Sequence[HardQuery]) -> Markup:
    """The hardest queries of a data set; each opens to what was retrieved and what should have been."""
    if not queries:
        return tag("p", "No query has a relevant document.", class_="empty")
    return tag("div", [_hard(entry) for entry in queries])


def _hard(entry: HardQuery) -> Markup:
    values = _values(entry)
    more = entry.relevant - len(entry.wanted)
    wanted = tag(
        "div",
        tag("h4", "should have been retrieved"),
        tag("ol", [_wanted(document) for document in entry.wanted], class_="ranking plain"),
        tag("p", f"and {more:,} more relevant documents", class_="note") if more else None,
    )
    retrieved = [_column(f"retrieved by {system}", ranking) for system, ranking in entry.retrieved.items()]
    return tag(
        "details",
        tag("summary", _question(entry.query_id, entry.text), tag("span", values, class_="figures")),
        tag("div", wanted, retrieved, class_="inside columns"),
    )


def _values(entry: HardQuery) -> str:
    values = [f"{value:.4f}" for value in entry.values.values()]
    if len(set(values)) > 1:
        return ", ".join(f"{system} {value}" for system, value in zip(entry.values, values, strict=True))
    return values[0] if len(values) == 1 else f"{values[0]} for all"


def _question(query_id: str, text: str | None) -> Markup:
    words = "" if text is None else shorten(text, QUERY_LENGTH)
    return tag("span", words or tag("i", "no text"), " ", tag("span", query_id, class_="note"), class_="question")


def _column(name: str, ranking: Sequence[RankedDocument]) -> Markup:
    body = (
        tag("ol", [_ranked(document) for document in ranking], class_="ranking")
        if ranking
        else tag("p", "nothing was retrieved", class_="empty")
    )
    return tag("div", tag("h4", name), body)


def _ranked(document: RankedDocument) -> Markup:
    if document.relevance is None:
        grade = tag("span", "not judged", class_="grade")
    elif document.relevance >= 1:
        grade = tag("span", f"relevant {document.relevance}", class_="grade relevant")
    else:
        grade = tag("span", "not relevant", class_="grade")
    return _item(str(document.rank), document.id, document.text, grade)


def _wanted(document: WantedDocument) -> Markup:
    several = len(document.ranks) > 1
    places = ", ".join(
        (f"{system} " if several else "") + ("not found" if rank is None else f"at rank {rank:,}")
        for system, rank in document.ranks.items()
    )
    return _item(
        "", document.id, document.text, tag("span", f"relevant {document.relevance}", class_="grade relevant"), places
    )


def _item(rank: str, identifier: str, text: DocumentText | None, grade: Markup, places: str = "") -> Markup:
    title = shorten(text.title, 140) if text is not None else ""
    body = shorten(text.text, TEXT_LENGTH) if text is not None else ""
    return tag(
        "li",
        tag("span", rank, class_="rank") if rank else None,
        tag(
            "span",
            tag("span", title, class_="title") if title else None,
            " " if title else None,
            tag("span", identifier, class_="id"),
            " ",
            grade,
            tag("span", f" {places}", class_="id") if places else None,
            tag("span", body, class_="body") if body else None,
            class_="words",
        ),
    )
