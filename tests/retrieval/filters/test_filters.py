"""Filters: what expressions mean, and what is said about those that cannot be parsed."""

from __future__ import annotations

import dataclasses
import operator
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs.filter_expressions import expressions, metadatas
from numpy.typing import NDArray
from plain_selection import COMPARE, matches, scanned

from lexhound.retrieval.documents.metadata import flatten
from lexhound.retrieval.errors import FilterSyntaxError
from lexhound.retrieval.filters import (
    Column,
    ColumnCache,
    Comparison,
    Expression,
    Not,
    Or,
    parse_filter,
    read_column,
    read_within,
    select,
)
from lexhound.retrieval.filters.cache import Key


def metadata_table(documents: Mapping[int, Mapping[str, Any]]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE metadata(field TEXT NOT NULL, value NOT NULL, seq INTEGER NOT NULL, "
        "PRIMARY KEY(field, value, seq)) WITHOUT ROWID"
    )
    connection.executemany(
        "INSERT INTO metadata VALUES (?, ?, ?)",
        [(field, value, seq) for seq, metadata in documents.items() for field, value in flatten(metadata)],
    )
    return connection


class TableColumns:
    """The columns of rows with these numbers, read from a table without keeping them."""

    def __init__(
        self, connection: sqlite3.Connection, seqs: NDArray[np.int64], gone: Sequence[int] = (), limit: int = 2**20
    ) -> None:
        self.cache = ColumnCache(limit)
        self._connection = connection
        self._seqs = seqs
        self._gone = np.array(gone, np.int32)

    def field(self, name: str) -> Column:
        return self.cache.get(("own", name, False), lambda: read_column(self._connection, name, self._seqs, self._gone))

    def within(self, name: str) -> Column:
        return self.cache.get(("own", name, True), lambda: read_within(self._connection, name, self._seqs, self._gone))


def selected(
    text: str | Expression, documents: Mapping[int, Mapping[str, Any]], universe: Sequence[int] | None = None
) -> list[int]:
    expression = parse_filter(text) if isinstance(text, str) else text
    live = np.array(sorted(documents if universe is None else universe), np.int64)
    connection = metadata_table(documents)
    try:
        found = live[select(expression, TableColumns(connection, live), len(live))]
        assert found.tolist() == scanned(expression, connection, live).tolist()
    finally:
        connection.close()
    return found.tolist()  # type: ignore[no-any-return]


LIBRARY: dict[int, dict[str, Any]] = {
    1: {"year": 1990, "lang": "en", "tags": ["flow", "heat"], "author": {"name": "Lin"}},
    2: {"year": 2004, "lang": "de", "tags": ["heat"], "open": True},
    3: {"year": "1990", "lang": "en", "tags": [], "open": False},
    4: {"lang": None, "pages": 12.5},
    5: {},
    8: {"year": [1980, 2020], "page count": 7, "x-ray": 1, "Größe": "ß"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year = 1990", [1]),
        ("year == 1990.0", [1]),
        ('year = "1990"', [3]),
        ("year >= 1990", [1, 2, 8]),
        ("year > 1990", [2, 8]),
        ("year < 1990", [8]),
        ("year <= 1990 and year >= 2020", [8]),
        ("year != 1990", [2, 3, 8]),
        ("not year = 1990", [2, 3, 4, 5, 8]),
        ("year != 2020", [1, 2, 3]),
        ('year > ""', [3]),
        ('year >= 1990 and lang = "en"', [1]),
        ('year >= 1990 AND NOT lang = "en"', [2, 8]),
        ('lang in ("en", "de", 3)', [1, 2, 3]),
        ('lang not in ("en")', [2]),
        ('not lang in ("en")', [2, 4, 5, 8]),
        ("exists lang", [1, 2, 3]),
        ("exists tags", [1, 2]),
        ("exists author", [1]),
        ("exists author.name", [1]),
        ("exists auth", []),
        ('author.name = "Lin"', [1]),
        ('author = "Lin"', []),
        ("open = true", [2]),
        ("open = FALSE", [3]),
        ("open = 1", [2]),
        ("pages < 12.6 or open = true", [2, 4]),
        ('tags = "heat"', [1, 2]),
        ('tags != "flow"', [2]),
        ("`page count` = 7", [8]),
        ("x-ray = +1", [8]),
        ("Größe = 'ß'", [8]),
        ('lang = "en" or lang = "de" and year > 3000', [1, 3]),
        ('(lang = "en" or lang = "de") and year > 2000', [2]),
        ("not not open = true", [2]),
        ("not (exists year or exists pages)", [5]),
        ("year > 99999999999999999999", []),
        ("year > -99999999999999999999", [1, 2, 8]),
        ("year < 1e6", [1, 2, 8]),
        ("missing != 3", []),
        ("not missing = 3", [1, 2, 3, 4, 5, 8]),
        ("year=1990and lang='en'", None),
    ],
)
def test_meaning(text: str, expected: list[int] | None) -> None:
    if expected is None:
        with pytest.raises(FilterSyntaxError, match="not a number"):
            parse_filter(text)
        return
    assert selected(text, LIBRARY) == expected
    assert [seq for seq, metadata in LIBRARY.items() if matches(parse_filter(text), metadata)] == expected


def test_documents_outside_the_universe_are_passed_over() -> None:
    assert selected("year >= 1990", LIBRARY, universe=[2, 3, 9]) == [2]
    assert selected("not year >= 1990", LIBRARY, universe=[2, 3, 9]) == [3, 9]
    assert selected("not year >= 1990", LIBRARY, universe=[]) == []
    assert selected("exists year", LIBRARY, universe=[]) == []


def test_row_factory_of_the_connection_does_not_matter() -> None:
    connection = metadata_table(LIBRARY)
    connection.row_factory = lambda cursor, row: {"row": row}
    columns = TableColumns(connection, np.arange(10))
    assert select(parse_filter("year = 1990 or exists author"), columns, 10).nonzero()[0].tolist() == [1]
    connection.close()


def test_rows_that_are_gone_pass_nothing() -> None:
    connection = metadata_table(LIBRARY)
    columns = TableColumns(connection, np.arange(1, 9), gone=[1, 4])
    for text in ("year >= 1990", "not year >= 1990", "exists year", "not exists author", "year != 3", "year = 2004"):
        expected = [seq for seq in (1, 3, 4, 6, 7, 8) if matches(parse_filter(text), LIBRARY.get(seq, {}))]
        assert (select(parse_filter(text), columns, 8).nonzero()[0] + 1).tolist() == expected
    connection.close()


def test_every_statement_is_a_range_scan_of_the_primary_key() -> None:
    connection = metadata_table(LIBRARY)
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    everything = "a=1 or a!=1 or a<1 or a<=1 or a>1 or a>=1 or a<'x' or a<='x' or a>'x' or a>='x' or exists a"
    select(parse_filter(everything), TableColumns(connection, np.arange(10)), 10)
    connection.set_trace_callback(None)
    assert len(seen) == len(set(seen)) == 3  # those that column.py knows
    for statement in seen:
        plans = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        assert all("SEARCH metadata USING PRIMARY KEY (field" in plan[3] for plan in plans), statement
    connection.close()


class CountedRows(np.ndarray[Any, np.dtype[np.int32]]):
    """Row numbers that count how many of them are looked at."""

    looked = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        if isinstance(place, slice):
            CountedRows.looked += len(found)
        return found.view(np.ndarray)


@pytest.mark.parametrize(
    ("text", "looked", "most"),
    [
        # Ranges of one field, joined before any row is looked at.
        (" or ".join(f"n >= {number}" for number in range(900)), 1000, 1),
        (" or ".join(f"n = {number % 7}" for number in range(900)), 7, 1),
        (f"n in ({', '.join(str(number) for number in range(900))})", 900, 1),
        # Equal clauses, wherever they are in the expression.
        (" and ".join(["n >= 10"] * 900), 990, 1),
        ("not (n >= 10 and m = 1) and (" + " or ".join(["not n >= 10"] * 800) + ")", 990 + 1000, 2),
        # What is different costs its own rows, and no more.
        (" and ".join(f"n >= {number}" for number in range(100)), sum(range(901, 1001)), 1),
    ],
)
def test_what_a_filter_of_many_clauses_looks_at(text: str, looked: int, most: int) -> None:
    """Rows looked at, and columns read: the work of hundreds of clauses is that of the different ones among them."""
    connection = metadata_table({seq: {"n": seq, "m": 1} for seq in range(1000)})
    seqs = np.arange(1000)
    columns = TableColumns(connection, seqs)
    expression = parse_filter(text)
    counted = ColumnCache()
    for field in ("n", "m"):
        column = columns.field(field)
        column = dataclasses.replace(column, rows=column.rows.view(CountedRows))
        counted.get(("own", field, False), lambda column=column: column)  # type: ignore[misc]
    columns.cache = counted
    CountedRows.looked = 0
    found = select(expression, columns, 1000)
    assert CountedRows.looked == looked
    assert found.nonzero()[0].tolist() == scanned(expression, connection, seqs).tolist()
    fresh = TableColumns(connection, seqs)
    select(expression, fresh, 1000)
    assert fresh.cache.read == most
    connection.close()


def test_columns_are_kept_up_to_a_limit() -> None:
    connection = metadata_table({seq: {f"f{field}": seq for field in range(8)} for seq in range(1000)})
    seqs = np.arange(1000)
    one = read_column(connection, "f0", seqs, np.empty(0, np.int32)).nbytes
    cache = ColumnCache(3 * one)

    def ask(field: int, owner: str = "own") -> None:
        key: Key = (owner, f"f{field}", False)
        cache.get(key, lambda: read_column(connection, f"f{field}", seqs, np.empty(0, np.int32)))

    for field in (0, 1, 2, 0, 1, 2):
        ask(field)
    assert cache.read == 3
    ask(3)  # in the place of 0, which was asked for longest ago
    for field in (1, 2, 3):
        ask(field)
    assert cache.read == 4
    ask(0)
    assert cache.read == 5
    cache.retain(["another"])
    ask(0)
    assert cache.read == 6
    small = ColumnCache(one - 1)
    for _ in range(2):
        small.get(("own", "f0", False), lambda: read_column(connection, "f0", seqs, np.empty(0, np.int32)))
    assert small.read == 2
    connection.close()


def test_a_column_that_several_threads_want_is_read_once() -> None:
    cache = ColumnCache()
    begun, go_on = threading.Event(), threading.Event()
    nothing = metadata_table({})
    column = read_column(nothing, "a", np.empty(0, np.int64), np.empty(0, np.int32))
    nothing.close()

    def slow() -> Column:
        begun.set()
        go_on.wait()
        return column

    def broken() -> Column:
        raise OSError("unreadable")

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cache.get, ("own", "a", False), slow) for _ in range(4)]
        begun.wait()
        assert cache.get(("own", "b", False), lambda: column) is column  # another is not held up
        go_on.set()
        assert all(each.result() is column for each in asked)
    assert cache.read == 2
    for _ in range(2):  # what failed is tried again
        with pytest.raises(OSError, match="unreadable"):
            cache.get(("own", "c", False), broken)
    assert cache.get(("own", "c", False), lambda: column) is column


@settings(max_examples=examples(300))
@given(st.lists(metadatas, max_size=8), expressions, st.data())
def test_selects_what_the_twin_matches(
    metadata: list[dict[str, Any]], expression: Expression, data: st.DataObject
) -> None:
    documents = {3 * number + 1: entry for number, entry in enumerate(metadata)}
    universe = data.draw(st.lists(st.sampled_from([*documents, 1000]), unique=True))
    expected = sorted(seq for seq in universe if matches(expression, documents.get(seq, {})))
    assert selected(expression, documents, universe) == expected


@settings(max_examples=examples(200))
@given(
    st.one_of(st.integers(-(10**22), 10**22), st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**400, -(10**400)])),
    st.sampled_from([*COMPARE, "!="]),
    st.data(),
)
def test_integers_beyond_64_bits_compare_exactly_or_are_refused(wanted: int, sign: str, data: st.DataObject) -> None:
    near = float(max(min(wanted, 10**30), -(10**30)))
    stored = data.draw(
        st.lists(
            st.sampled_from([near, np.nextafter(near, np.inf).item(), np.nextafter(near, -np.inf).item()])
            | st.integers(-(2**63), 2**63 - 1),
            min_size=1,
        )
    )
    documents = {number: {"n": value} for number, value in enumerate(stored)}
    try:
        expression = parse_filter(f"n {sign} {wanted}")
    except FilterSyntaxError:
        assert sign in ("=", "!=") or abs(wanted) == 10**400
        assert not -(2**63) <= wanted < 2**63
        assert wanted not in stored
        return
    holds = COMPARE.get(sign, operator.ne)
    assert selected(expression, documents, list(documents)) == [
        number for number, value in enumerate(stored) if holds(value, wanted)
    ]


def test_depth_and_length_up_to_the_limits() -> None:
    assert parse_filter("(" * 64 + "a = 1" + ")" * 64) == Comparison("a", "=", 1)
    assert parse_filter("not " * 16_001 + "a = 1") == Not(Comparison("a", "=", 1))
    many = parse_filter(" or ".join(["a = 1"] * 7000))
    assert isinstance(many, Or)
    assert len(many.operands) == 7000
    deep = "not (a = 1 and " * 64 + "a = 1" + ")" * 64
    assert selected(deep, {1: {"a": 1}}) == ([1] if matches(parse_filter(deep), {"a": 1}) else [])
    values_list = ", ".join(str(number) for number in range(5000))
    assert selected(f"a in ({values_list})", {1: {"a": 4999}, 2: {"a": 5000}}) == [1]
