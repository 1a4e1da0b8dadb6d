"""`lexhound search`: what it prints for people, for programs and for terminals."""

from __future__ import annotations

import gzip
import json
import math
import re
import subprocess
from pathlib import Path

import pytest
from command import COMMAND, environment, ids_of, lines, run, run_on_terminal, run_process

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def test_plain_answers(collection: Path) -> None:
    outcome = run_process("search", collection, "heat transfer", "-k", "2")
    assert outcome.code == 0
    assert outcome.err == ""
    rows = outcome.out.splitlines()
    assert re.fullmatch(r"  1\. \d+\.\d{4}  heat-1  Heat transfer", rows[0])
    assert rows[1] == "     Heat transfer in hypersonic flow."
    assert "\x1b" not in outcome.out


def test_marks_on_a_terminal_and_no_colour_on_request(collection: Path) -> None:
    outcome = run_on_terminal("search", collection, "heat transfer", "-k", "1")
    assert "\x1b[1;33mHeat\x1b[0m" in outcome.out
    assert STYLE.sub("", outcome.out).splitlines()[1].rstrip() == "     Heat transfer in hypersonic flow."
    plain = environment(TERM="xterm-256color", NO_COLOR="1", COLUMNS="100")
    outcome = run_on_terminal("search", collection, "heat transfer", "-k", "1", env=plain)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", outcome.out)


def test_explain_sums_to_the_score(collection: Path) -> None:
    outcome = run("search", collection, "heat transfer wing", "--explain", "--json")
    for hit in outcome.json["hits"]:
        contributions = hit["contributions"]
        assert contributions
        assert math.isclose(sum(entry["score"] for entry in contributions), hit["score"], abs_tol=1e-12)
    shown = run("search", collection, "heat transfer", "--explain", "-k", "1").out
    assert re.search(r"^     transfer +\d\.\d{4}  █+ ", shown, re.MULTILINE)
    total = re.search(r"^     sum +(\d\.\d{4})$", shown, re.MULTILINE)
    assert total is not None
    assert f"  1. {total.group(1)}  heat-1" in shown


def test_json_document(collection: Path) -> None:
    answer = run("search", collection, "heat", "-k", "1", "--json").json
    assert (answer["query"], answer["k"], answer["offset"], answer["filter"]) == ("heat", 1, 0, None)
    (hit,) = answer["hits"]
    assert set(hit) == {"rank", "score", "id", "title", "text", "metadata", "snippet", "passage"}
    start, end = hit["snippet"]["marks"][0]
    assert hit["snippet"]["text"][start:end].lower().startswith("heat")


def test_offset_is_the_next_page(collection: Path) -> None:
    whole = run("search", collection, "heat wing", "--json").json["hits"]
    rest = run("search", collection, "heat wing", "--offset", "1", "--json").json["hits"]
    assert whole[1:] == rest
    assert rest[0]["rank"] == 2


def test_totals_orders_and_one_hit_a_value(collection: Path) -> None:
    answer = run("search", collection, "heat wing", "--total", "--json").json
    assert answer["total"] == {"value": len(answer["hits"]), "relation": "exact"}
    outcome = run("search", collection, "heat wing", "--total", "-k", "1")
    assert outcome.out.splitlines()[-1] == f"{len(answer['hits'])} documents match"
    assert run("search", collection, "nothing here", "--total").out == "0 documents match\n"
    years = [hit["metadata"].get("year") for hit in answer["hits"]]
    for order, reverse in (("year", False), ("year:desc", True)):
        hits = run("search", collection, "heat wing", "--sort", order, "--json").json["hits"]
        known = sorted((year for year in years if year is not None), reverse=reverse)
        assert [hit["metadata"].get("year") for hit in hits] == known + [None] * (len(years) - len(known))
    one = run("search", collection, "heat wing", "--collapse", "year", "--json").json["hits"]
    assert len(one) == len(set(years))
    for option in ("--sort", "--collapse"):
        outcome = run("search", collection, "heat", option, "yaer")
        assert outcome.code == 2
        assert "'yaer'" in outcome.err
        assert "year" in outcome.err.split("hint:")[1]
    outcome = run("search", collection, "--queries", "x", "--sort", "year")
    assert (outcome.code, "--sort" in outcome.err) == (2, True)


def test_facets(collection: Path) -> None:
    every = {field["field"]: field for field in run("facets", collection, "--json").json["fields"]}
    assert every["year"]["kind"] == "number"
    found = run("search", collection, "heat wing", "--json").json["hits"]
    years = [hit["metadata"]["year"] for hit in found if "year" in hit["metadata"]]
    (year,) = run("facets", collection, "heat wing", "--field", "year", "--matching", "--json").json["fields"]
    assert {each["value"]: each["count"] for each in year["values"]} == {each: years.count(each) for each in years}
    assert run("facets", collection, "heat wing", "--field", "year", "--json").json["fields"] == [year]
    (few,) = run("facets", collection, "--filter", "year >= 1990", "--field", "year", "--json").json["fields"]
    assert few["min"] >= 1990
    shown = run("facets", collection, "--field", "year", "--limit", "1").out.splitlines()
    assert shown[0].startswith(f"year  {every['year']['documents']} documents, ")
    assert len(shown) == 2
    outcome = run("facets", collection, "--field", "yaer")
    assert (outcome.code, "did you mean" in outcome.err.lower()) == (2, True)
    assert run("facets", collection, "--matching").code == 2
    assert run("facets", collection, "zeppelins").err.strip() == "no document that counts has metadata"


def test_recall(collection: Path) -> None:
    exact = run("search", collection, "heat wing", "--json").json["hits"]
    assert run("search", collection, "heat wing", "--recall", "0.9", "--json").json["hits"] == exact, "it is so small"
    outcome = run("search", collection, "heat", "--recall", "1.5")
    assert outcome.code == 2
    assert "recall is 1.5; it must be above 0 and at most 1" in outcome.err


def test_filter(collection: Path) -> None:
    outcome = run("search", collection, "wing heat", "--filter", 'year >= 1990 and authors = "Bo"', "--json")
    assert ids_of(outcome.json["hits"]) == ["wing"]
    none = run("search", collection, "wing", "--filter", "year > 3000")
    assert (none.code, none.out) == (0, "")
    assert "the filter lets through" in none.err


def test_a_filter_that_does_not_parse_points_at_the_character(collection: Path) -> None:
    outcome = run("search", collection, "wing", "--filter", "year >= and lang")
    assert outcome.code == 2
    rows = outcome.err.splitlines()
    assert rows[0].startswith("error: filter, character 9")
    assert rows[1] == "  year >= and lang"
    assert rows[2] == "          ^"


def test_other_scripts(collection: Path) -> None:
    assert ids_of(run("search", collection, "الحرارة", "--json").json["hits"]) == ["ar"]
    answer = run("search", collection, "超音速", "--json").json
    assert ids_of(answer["hits"]) == ["zh"]
    snippet = answer["hits"][0]["snippet"]
    assert [snippet["text"][start:end] for start, end in snippet["marks"]] == ["超音速"]


def test_nothing_in_a_document_commands_the_terminal(collection: Path) -> None:
    for arguments in (("search", collection, "escape hatch"), ("get", collection, "evil")):
        shown = STYLE.sub("", run_on_terminal(*arguments).out)
        assert "escape" in shown
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
        piped = run(*arguments).out
        assert "\x1b" not in piped
        assert "\x07" not in piped


def test_queries_that_find_nothing(collection: Path) -> None:
    for query in ("", "zzzzz", b"\xff\xfe"):
        outcome = run("search", collection, query)
        assert (outcome.code, outcome.out) == (0, "")
        assert "nothing found" in outcome.err
        assert run("search", collection, query, "--json").json["hits"] == []
    assert run_process("search", collection, b"\xff\xfe", "--json").json["hits"] == []


def test_many_queries(collection: Path, tmp_path: Path) -> None:
    asked = lines({"_id": "q1", "text": "heat transfer"}, {"id": 2, "query": "zzzz"}) + b"\nwing\n"
    (tmp_path / "q.jsonl").write_bytes(asked)
    outcome = run("search", collection, "--queries", tmp_path / "q.jsonl", "-k", "2", "--json")
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    assert [answer["id"] for answer in answers] == ["q1", "2", "4"]
    single = run("search", collection, "heat transfer", "-k", "2", "--json").json["hits"]
    expected = [{"rank": hit["rank"], "id": hit["id"], "score": hit["score"]} for hit in single]
    assert answers[0]["hits"] == expected
    assert answers[1]["hits"] == []
    table = run("search", collection, "--queries", "-", stdin=asked).out.splitlines()
    assert table[0].split("\t")[:2] == ["q1", "1"]
    assert table[0].split("\t")[3] == "heat-1"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.jsonl", '{"topic_id": "t-1", "text": "heat"}\n{"topic_id": 7, "title": "wing"}\n'),
        ("q.jsonl", '{"queryid": "t-1", "text": "heat"}\n{"query-id": 7, "Question": "wing"}\n'),
        ("q.csv", 'Topic ID,Query\nt-1,"heat"\n7,wing\n'),
        ("q.tsv", "text\tqid\nheat\tt-1\nwing\t7\n"),
        ("q.tsv", "t-1\theat\n7\twing\n"),
        ("-", "t-1\theat\n7\twing\n"),
        ("q.txt", "<top>\n<num> Number: t-1\n<title> heat\n</top>\n<top><num> 7 <title> wing </top>\n"),
        ("-", "<top>\n<num> Number: t-1\n<title> heat\n</top>\n<top><num> 7 <title> wing </top>\n"),
    ],
)
def test_ids_of_queries_are_kept_in_every_format(collection: Path, tmp_path: Path, name: str, content: str) -> None:
    path = name if name == "-" else tmp_path / name
    if name != "-":
        (tmp_path / name).write_text(content)
    outcome = run("search", collection, "--queries", path, "--json", stdin=content.encode())
    assert outcome.code == 0, outcome.err
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(answer["id"], answer["query"]) for answer in answers] == [("t-1", "heat"), ("7", "wing")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"id": 1, "text": "a"}\n{"qid": "1", "text": "b"}\n', "query id '1' was there before"),
        ('{"text": "a", "their_id": "x"}\n', "no id: none of "),
        ('{"id": 1.5, "text": "a"}\n', "the query id is empty or holds a control character"),
        ("a\rb\n", "a carriage return in the middle of the line"),
        ("<topics>\n<topic number='1'>\n", "line 1: marked up, but not with the <top> of TREC topics"),
    ],
)
def test_queries_that_would_be_called_something_else_are_refused(collection: Path, content: str, says: str) -> None:
    outcome = run("search", collection, "--queries", "-", stdin=content.encode())
    assert outcome.code != 0
    assert says in outcome.err


def test_a_file_of_queries_that_is_cut_short_is_refused(collection: Path, tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"heat %d\n" % (number * 7919) for number in range(2000)))
    for size, says in ((len(whole), ""), (len(whole) * 3 // 4, "the gzip data is truncated")):
        (tmp_path / "q.txt.gz").write_bytes(whole[:size])
        outcome = run("search", collection, "--queries", tmp_path / "q.txt.gz", "--json")
        assert (outcome.code == 0) == (not says)
        assert says in outcome.err


def test_a_broken_line_among_many_queries(collection: Path) -> None:
    for line, says in [
        (b"{broken", "not JSON"),
        (b'{"id": 1}', "no query"),
        (b"\xff", "not UTF-8"),
        (b"a" * 100_000, "100,000 characters"),
    ]:
        outcome = run("search", collection, "--queries", "-", stdin=b"heat\n" + line + b"\n")
        assert outcome.code == 2
        assert says in outcome.err
        assert "standard input, line 2" in outcome.err


def test_a_reader_that_stops_early_is_no_failure(collection: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("heat wing\n" * 20_000, "utf-8")
    process = subprocess.Popen(
        [*COMMAND, "search", collection, "--queries", tmp_path / "q.txt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


def test_a_full_disk_behind_standard_output_is_a_failure(collection: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [*COMMAND, "search", collection, "heat"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
            timeout=60,
        )
    assert process.returncode == 1
    assert process.stderr == b"error: the disk is full\n  hint: Free some space, and try again\n"


def test_a_search_loads_neither_models_nor_scipy(collection: Path) -> None:
    program = (
        "import sys; from lexhound.serve.cli import main; code = main(sys.argv[1:]);"
        "loaded = {'torch', 'transformers', 'pyarrow', 'lark', 'rich', 'scipy.sparse', 'scipy.linalg', 'ir_measures'};"
        "print(sorted(loaded & set(sys.modules)), code, file=sys.stderr)"
    )
    command = [COMMAND[0], "-c", program, "search", str(collection), "heat"]
    done = subprocess.run(command, capture_output=True, env=environment(), check=True, timeout=60)
    assert done.stderr.decode().splitlines()[-1] == "[] 0"
