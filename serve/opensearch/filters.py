"""Queries that match or do not, without a score, as filter expressions of Lexhound's own language."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from .errors import an_object, check_keys, malformed, unsupported
from .mapping import Field, IndexMapping

NEVER = 'id = ""'
"""An expression that holds for no document: no id is empty."""
ALWAYS = f"not {NEVER}"

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def quoted_field(name: str) -> str:
    """Return the name of a field as filters write it."""
    return f"`{name.replace('`', '``')}`"


def quoted_text(text: str) -> str:
    """Return a text as filters write it."""
    return f'"{"".join(_ESCAPED.get(each, each) for each in text)}"'


def joined(word: str, parts: Sequence[str]) -> str:
    """Return expressions joined by `and` or `or`."""
    return parts[0] if len(parts) == 1 else f" {word} ".join(f"({part})" for part in parts)


def one_entry(body: Any, where: str) -> tuple[str, Any]:
    """Return the only key of an object, and its value.

    Raises:
        OpenSearchError: there are none, or several.
    """
    entries = an_object(body, where)
    if len(entries) != 1:
        raise malformed(f"[{where}] must have exactly one entry, and it has {len(entries)}")
    return next(iter(entries.items()))


class FilterReader:
    """Queries of one index as filters.

    Attributes:
        unmapped: fields that queries have named and the mapping has not: if no document has one either, it is refused.
    """

    def __init__(self, mapping: IndexMapping) -> None:
        self._mapping = mapping
        self.unmapped: set[str] = set()

    KINDS = ("term", "terms", "range", "exists", "ids", "match_all", "match_none", "bool", "constant_score")

    def read(self, query: Any, where: str = "query") -> str:
        """Return the expression that a query means.

        Raises:
            OpenSearchError: it cannot be one.
        """
        kind, body = one_entry(query, where)
        if kind not in self.KINDS:
            raise unsupported(f"[{kind}] as a filter", f"filters are made of {', '.join(self.KINDS)}")
        read: str = getattr(self, f"_{kind}")(body)
        return read

    def field(self, name: str, kind: str) -> tuple[str, Field | None]:
        """Return a field as documents have it, and what the mapping says of it.

        Raises:
            OpenSearchError: it is searched as text, so it has no values to compare.
        """
        mapping = self._mapping
        if name == "_id":
            return "id", Field("id", "keyword", "keyword")
        found = mapping.find(name)
        if mapping.searched(name) or (found is not None and found.kind in ("stored", "index")):
            raise unsupported(
                f"[{kind}] on the field [{name}], which has no values to compare,",
                "search it with match" if mapping.searched(name) else "map it as keyword",
            )
        if found is None:
            name = name.removesuffix(".keyword")
            if not any(each.startswith(f"{name}.") for each in mapping.fields):
                self.unmapped.add(name)
            return name, None
        return found.name, found

    def values(self, field: Field | None, name: str, given: Iterable[Any]) -> list[str]:
        """Return values as filters write them, in each form that a document may have them in."""
        written: list[str] = []
        for value in given:
            if isinstance(value, dict | list) or value is None:
                raise malformed(f"a value of [{name}] is {value!r}", "leave documents without it out with exists")
            written += self._forms(field, value)
        return list(dict.fromkeys(written))

    def _forms(self, field: Field | None, value: Any) -> list[str]:
        kind = None if field is None else field.kind
        if kind == "boolean" and value in ("true", "false"):
            value = value == "true"
        if kind == "keyword" and not isinstance(value, bool):
            text = value if isinstance(value, str) else repr(value)
            number = _number(text)
            return [quoted_text(text), *([] if number is None else [number])]
        if field is not None and (kind == "number" or field.epoch) and isinstance(value, str):
            number = _number(value)
            if number is None:
                raise malformed(
                    f"failed to create query: {value[:60]!r} is no number, and [{field.name}] holds numbers"
                )
            return [number]
        if isinstance(value, bool):
            return ["true" if value else "false"]
        return [quoted_text(value) if isinstance(value, str) else repr(value)]

    def _term(self, body: Any) -> str:
        name, value = one_entry(body, "term")
        if isinstance(value, dict):
            check_keys(value, ("value",), "term")
            value = value.get("value")
        return self.equal("term", name, [value])

    def _terms(self, body: Any) -> str:
        name, values = one_entry(body, "terms")
        if not isinstance(values, list):
            raise unsupported(f"a look-up of terms for [{name}]", "give the values as a list")
        return self.equal("terms", name, values)

    def equal(self, kind: str, name: str, values: Sequence[Any]) -> str:
        """Return the expression for a field that has one of some values."""
        stored, field = self.field(name, kind)
        written = self.values(field, name, values)
        return f"{quoted_field(stored)} in ({', '.join(written)})" if written else NEVER

    def _range(self, body: Any) -> str:
        name, bounds = one_entry(body, "range")
        check_keys(an_object(bounds, name), _SIGNS, f"range.{name}")
        stored, field = self.field(name, "range")
        given = {key: value for key, value in bounds.items() if value is not None}
        parts = []
        for key, value in given.items():
            if field is not None and field.kind == "date" and not field.epoch:
                parts.append(_day_bound(stored, key, value))
            else:
                written = self._forms(field, value) if not isinstance(value, dict | list) else []
                if len(written) == 0:
                    raise malformed(f"a bound of [{name}] is {value!r}")
                parts.append(f"{quoted_field(stored)} {_SIGNS[key]} {written[0]}")
        return joined("and", parts) if parts else f"exists {quoted_field(stored)}"

    def _exists(self, body: Any) -> str:
        check_keys(an_object(body, "exists"), ("field",), "exists")
        name = str(body.get("field"))
        if self._mapping.searched(name):
            raise unsupported(f"[exists] on the text field [{name}]")
        return f"exists {quoted_field(self.field(name, 'exists')[0])}"

    def _ids(self, body: Any) -> str:
        check_keys(an_object(body, "ids"), ("values",), "ids")
        values = body.get("values", [])
        values = values if isinstance(values, list) else [values]
        return f"id in ({', '.join(quoted_text(str(each)) for each in values)})" if values else NEVER

    def _match_all(self, body: Any) -> str:
        check_keys(an_object(body, "match_all"), (), "match_all")
        return ALWAYS

    def _match_none(self, body: Any) -> str:
        check_keys(an_object(body, "match_none"), (), "match_none")
        return NEVER

    def _constant_score(self, body: Any) -> str:
        check_keys(an_object(body, "constant_score"), ("filter",), "constant_score")
        return self.read(body.get("filter"), "constant_score.filter")

    def _bool(self, body: Any) -> str:
        check_keys(an_object(body, "bool"), ("must", "filter", "should", "must_not", "minimum_should_match"), "bool")
        parts = [self.read(each, "bool") for key in ("must", "filter") for each in as_list(body.get(key))]
        should = [self.read(each, "bool.should") for each in as_list(body.get("should"))]
        needed = minimum_of(body.get("minimum_should_match"), len(should))
        needed = (0 if parts else 1) if needed is None else needed
        if should and needed > 1:
            raise unsupported("[minimum_should_match] above 1 as a filter")
        if needed:
            parts.append(joined("or", should) if should else (NEVER if needed and not parts else ALWAYS))
        parts += [f"not ({self.read(each, 'bool.must_not')})" for each in as_list(body.get("must_not"))]
        return joined("and", parts) if parts else ALWAYS


def as_list(value: Any) -> list[Any]:
    """Return clauses that may be given as one or as several."""
    return [] if value is None else value if isinstance(value, list) else [value]


def minimum_of(given: Any, clauses: int) -> int | None:
    """Return what `minimum_should_match` means for so many clauses; None where it is not given.

    Raises:
        OpenSearchError: it is neither a number nor a percentage.
    """
    if given is None:
        return None
    match = re.fullmatch(r"(-?\d{1,6})(%?)", str(given))
    if match is None or isinstance(given, bool):
        raise unsupported(f"[minimum_should_match: {given}]", "give a number or a percentage")
    number = int(match[1])
    if match[2]:
        number = int(clauses * abs(number) / 100) * (1 if number >= 0 else -1)
    return max(0, number if number >= 0 and not match[1].startswith("-") else clauses + number)


def _day_bound(name: str, key: str, value: Any) -> str:
    """Return a comparison with a day: dates with a time of day come after their day, and before the next."""
    if not isinstance(value, str) or _DAY.fullmatch(value) is None:
        raise unsupported(f"the bound {str(value)[:60]!r} of the date [{name}]", "give a day, as 2026-01-31")
    try:
        day = date.fromisoformat(value)
        if key in ("gt", "lte"):
            day += timedelta(days=1)
    except (ValueError, OverflowError):
        raise malformed(f"{value!r} is no day") from None
    return f"{quoted_field(name)} {'>=' if key in ('gt', 'gte') else '<'} {quoted_text(day.isoformat())}"


def _number(text: str) -> str | None:
    """Return a number as filters write it, if a text writes one as JSON does."""
    return text if re.fullmatch(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?([eE][+-]?\d{1,3})?", text) else None
