"""Corpora of records: CSV and TSV."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputs.corpus_bytes import COMPRESS, bad, from_bytes, rows, small_rows

from lexhound.core import rows as tables
from lexhound.retrieval.corpus import BadRow
from lexhound.retrieval.corpus.table import CsvCorpus
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError


def test_csv() -> None:
    content = (
        b"\xef\xbb\xbfid, title ,text,year,score,code,lang,big\r\n"
        b'1,T,"a, ""b""\nc",1990,-2.50,007,,9223372036854775808\r\n'
        b"\r\n"
        b"2,,,-0,1e5,+1,de,0\n"
    )
    assert rows(content, "csv") == [
        Document("1", 'a, "b"\nc', "T", {"year": 1990, "score": -2.5, "code": "007", "big": "9223372036854775808"}),
        Document("2", "", "", {"year": "-0", "score": "1e5", "code": "+1", "lang": "de", "big": 0}),
    ]


def test_ids_titles_and_texts_of_tables_stay_text() -> None:
    assert rows(b"_id\ttitle\ttext\tid2\n007\t1984\t42\t007\n", "tsv") == [
        Document("007", "42", "1984", {"id2": "007"})
    ]
    (row,) = rows(b"url,body,id,text,\nu,b,5,6,7\n", "csv", id_field="url", text_field="body")
    assert row == Document("u", "b", "", {"id": 5, "text": 6, "column_5": 7})


def test_bad_records_are_located_by_the_line_they_start_on() -> None:
    content = (
        b"id,text\n"
        b"1,one\n"  # 2
        b"2,two,too many\n"  # 3
        b"3\n"  # 4
        b'"4","four\nlines\n\nlong",5\n'  # 5 to 8
        b",no id\n"  # 9
        b"6,\xff\n"  # 10
        b'"7","\nx\xe9\n"\n'  # 11 to 13
        b'"8"x,eight\n'  # 14
        b"9,nine\rten\n"  # 15
        b"10,ten\n"  # 16
        b'"11","never closed\n'  # 17
        b"12,read again\n"
    )
    found = rows(content, "csv")
    assert [row.id for row in found if isinstance(row, Document)] == ["1", "10", "12"]
    assert bad(content, "csv") == [
        (3, "3 fields where the header has 2"),
        (4, "1 fields where the header has 2"),
        (5, "3 fields where the header has 2"),
        (9, "the id is empty"),
        (10, "not UTF-8 in line 10"),
        (11, "not UTF-8 in line 12"),
        (14, "badly quoted: ',' expected after '\"'"),
        (15, bad(content, "csv")[7][1]),
        (17, "badly quoted: a quote is opened and never closed; reading goes on at line 18"),
    ]
    assert "new-line" in bad(content, "csv")[7][1]
    raws = [row.raw for row in found if isinstance(row, BadRow)]
    assert raws[:3] == [b"2,two,too many", b"3", b'"4","four\nlines\n\nlong",5']
    assert [row.lines for row in found if isinstance(row, BadRow)] == [1, 1, 4, 1, 1, 3, 1, 1, 1]


def test_overlong_records() -> None:
    long = b'"3","' + b"line\n" * 40 + b'""quoted"" and\n ""","then\n' + b"more\n" * 40 + b'"\n'
    content = b"id,text\n" + b"1," + b"x" * 500 + b"\n2,two\n" + long + b"4,four\n"
    found = small_rows(content, CsvCorpus)
    assert found[1] == Document("2", "two")
    assert found[-1] == Document("4", "four")
    first, second = found[0], found[2]
    assert isinstance(first, BadRow)
    assert isinstance(second, BadRow)
    assert (first.line, first.reason) == (2, "longer than 100 bytes")
    assert (second.line, second.reason, second.lines) == (4, "longer than 100 bytes", 83)


def test_long_cells_are_read() -> None:
    assert rows(b"id,text\n1," + b"x" * 300_000 + b"\n", "csv") == [Document("1", "x" * 300_000)]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"name,text\n", "no column for the id: looked for 'id', '_id' or 'docid', found 'name', 'text'"),
        (b"id,abstract\n", "no column for the text: looked for 'text', 'contents' or 'body'"),
        (b"id;text\n", "Are the columns separated by something else?"),
        (b"id,text,year,year\n", "the header names the column 'year' more than once"),
        (b"id,t\xffxt\n", "line 1: the header row is not UTF-8 in line 1"),
        (b'\n\n"id"x,text\n', "line 3: the header row is badly quoted"),
    ],
)
def test_bad_headers(header: bytes, message: str) -> None:
    with pytest.raises(CorpusError) as caught:
        rows(header + b"1,one\n", "csv")
    assert message in str(caught.value)
    assert str(caught.value).startswith("standard input")


def test_named_field_that_is_no_column() -> None:
    with pytest.raises(CorpusError, match="no column for the id: looked for 'url', found 'id', 'text'"):
        rows(b"id,text\n1,one\n", "csv", id_field="url")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8)
records_of = st.tuples(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5), cells, cells, cells
)


@given(st.lists(records_of, max_size=5))
def test_csv_round_trip(records: list[tuple[str, str, str, str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "text", "title", "note"])
    # A letter before the note keeps it from looking like a number.
    writer.writerows([(*record[:3], f"n{record[3]}") for record in records])
    assert rows(buffer.getvalue().encode(), "csv") == [
        Document(name, text, title, {"note": f"n{note}"}) for name, text, title, note in records
    ]


@given(st.lists(records_of, max_size=5), st.sampled_from(["\n", "\r\n"]), st.sampled_from(sorted(COMPRESS)))
def test_tsv_round_trip(records: list[tuple[str, str, str, str]], end: str, compression: str) -> None:
    """Every character but a tab and a line break stands for itself."""
    plain = [tuple(cell.replace("\t", '"').replace("\n", "\\") for cell in record) for record in records]
    lines = ["id\ttext\ttitle\tnote", *(f"{name}\t{text}\t{title}\tn{note}" for name, text, title, note in plain)]
    content = COMPRESS[compression]("".join(line + end for line in lines).encode())
    assert rows(content, "tsv") == [
        Document(name, text, title, {"note": f"n{note}"}) for name, text, title, note in plain
    ]


def test_tsv_has_no_quoting() -> None:
    content = b'id\ttext\n1\t"opening\n2\tharbour\n3\ttug wages"\n4\t"whole"\n5\t6" pipe \\t\n'
    assert rows(content, "tsv") == [
        Document("1", '"opening'),
        Document("2", "harbour"),
        Document("3", 'tug wages"'),
        Document("4", '"whole"'),
        Document("5", '6" pipe \\t'),
    ]
    assert bad(b"id\ttext\n1\ta\tb\n2\n3\tx\ry\n4\t\xff\n", "tsv") == [
        (2, "3 fields where the header has 2"),
        (3, "1 fields where the header has 2"),
        (4, "a carriage return in the middle of the line"),
        (5, "not UTF-8: byte 3 of the line is 0xff"),
    ]


def test_tsv_of_20000_rows_with_quotes_is_20000_documents() -> None:
    quoted = ['"an opening quote', 'a closing one"', '"both"', 'an inch: 6"', "none", '""', '"', "'"]
    texts = [f"{quoted[number % len(quoted)]} {number}"[:: -1 if number % 3 == 0 else 1] for number in range(20_000)]
    content = "id\ttext\n" + "".join(f"{number}\t{text}\n" for number, text in enumerate(texts))
    assert rows(content.encode(), "tsv") == [Document(str(number), text) for number, text in enumerate(texts)]


@given(st.data())
def test_a_stray_quote_in_csv_costs_its_own_line_or_is_told(data: st.DataObject) -> None:
    """Whatever quotes are put before texts, no row is lost that is not a bad row or inside a record that is told."""
    count = data.draw(st.integers(1, 12))
    stray = data.draw(st.sets(st.integers(1, count)))
    ends = data.draw(st.sets(st.integers(1, count)))
    marks = ["", '"']
    content = "id,text\n" + "".join(f"{n},{marks[n in stray]}text {n}{marks[n in ends]}\n" for n in range(1, count + 1))
    corpus = from_bytes(content.encode(), "csv")
    found = list(corpus)
    lines = [row.lines if isinstance(row, BadRow) else 1 + row.text.count("\n") for row in found]
    assert sum(lines) == count
    spans = sum(isinstance(row, Document) and "\n" in row.text for row in found)
    assert all(row.lines == 1 for row in found if isinstance(row, BadRow))
    notices = corpus.notices()
    assert len(notices) == (spans > 0)
    if notices:
        assert f"{spans} record" in notices[0]
        assert "look like rows themselves" in notices[0]


def test_reading_goes_on_behind_a_badly_quoted_record() -> None:
    content = b'id,text\n1,one\n2,"never closed\n' + b"".join(b"%d,text\n" % n for n in range(3, 1000))
    found = rows(content, "csv")
    assert [row.id for row in found if isinstance(row, Document)] == ["1", *map(str, range(3, 1000))]
    assert bad(content, "csv") == [(3, "badly quoted: a quote is opened and never closed; reading goes on at line 4")]
    # Closed far behind, in a row that has a field too many then: the lines look like rows, so one is lost.
    found = rows(content + b'1000,"quoted", and more\n1001,last\n', "csv")
    assert [row.id for row in found if isinstance(row, Document)][-2:] == ["999", "1001"]
    assert [row.line for row in found if isinstance(row, BadRow)] == [3, 1001]


def test_texts_of_several_lines_are_no_reason_for_a_notice() -> None:
    poem = '"Shall I compare thee,\nto a summer\'s day?\nThou art more lovely, and more temperate:\n\n1 of 3"'
    corpus = from_bytes(f"id,text\n1,{poem}\nd2,{poem}\n3,last\n".encode(), "csv")
    assert [row.id for row in corpus if isinstance(row, Document)] == ["1", "d2", "3"]
    assert corpus.notices() == []


def test_a_quote_that_is_never_closed_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MAX_ROW_LINES", 100)
    content = b'id,text\n1,"open\n' + b"".join(b"%d,text\n" % n for n in range(2, 1000))
    found = rows(content, "csv")
    assert [row.id for row in found if isinstance(row, Document)] == list(map(str, range(2, 1000)))
    (row,) = (row for row in found if isinstance(row, BadRow))
    assert (row.line, row.lines) == (2, 1)
    assert row.reason.startswith("badly quoted: a quote is opened and not closed within ")
    # Lines that look like no rows belong to the record, however long it is.
    found = rows(b'id,text\n1,"open\n' + b"some words\n" * 500 + b'the end"\n2,two\n', "csv")
    assert found[1:] == [Document("2", "two")]
    assert isinstance(found[0], BadRow)
    assert found[0].lines == 502


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("0123456789.-+e ", max_size=6))
def test_only_what_is_written_exactly_like_a_number_becomes_one(value: float | str) -> None:
    cell = str(value)
    (row,) = rows(f"id,text,n\n1,t,{cell}\n".encode(), "csv")
    assert isinstance(row, Document)
    read = row.metadata.get("n", "")
    assert isinstance(read, (int, float, str))
    if isinstance(read, str):
        assert read == cell
    else:
        assert float(cell) == read
        assert str(read) == cell or (isinstance(read, float) and cell.strip("-").replace(".", "").isdigit())
