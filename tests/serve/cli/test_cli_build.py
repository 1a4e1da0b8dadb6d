"""`lexhound index`, `add`, `delete`, `get`: documents in and out, interrupted or not."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import COMMAND, environment, ids_of, lines, run, run_on_terminal, run_process

from lexhound.retrieval import Collection


def many(count: int, word: str = "alpha", start: int = 0) -> bytes:
    numbers = range(start, start + count)
    return lines(*({"id": f"d{number}", "text": f"{word} number {number}"} for number in numbers))


def test_index_says_what_it_did_and_what_comes_next(corpus: Path, tmp_path: Path) -> None:
    outcome = run_process("index", corpus, "--into", "my.index", cwd=tmp_path)
    assert outcome.code == 0
    first, second = outcome.out.splitlines()
    assert first.startswith("6 documents in ")
    assert first.endswith("/s) → my.index")
    assert second == 'next: lexhound search my.index "what you are looking for"'
    assert outcome.err == ""


def test_index_as_json(corpus: Path, tmp_path: Path) -> None:
    outcome = run("index", corpus, "--into", tmp_path / "x", "--json")
    assert outcome.json["documents"] == outcome.json["added"] == 6
    assert outcome.json["rejected"] == 0
    assert outcome.json["collection"] == str(tmp_path / "x")


def test_settings_reach_the_encoder(corpus: Path, tmp_path: Path) -> None:
    settings = ("--k1", "1.2", "--b", "0.75", "--language", "german", "--no-stemming", "--no-stop-words")
    assert run("index", corpus, "--into", tmp_path / "x", *settings).code == 0
    assert run("info", tmp_path / "x", "--json").json["encoder"]["settings"] == {
        "k1": 1.2,
        "b": 0.75,
        "language": "german",
        "stemming": False,
        "stop_words": False,
    }


def test_fields_and_format(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("number;x\n", "utf-8")
    (tmp_path / "corpus.data").write_text("number,words,head\n7,heat flow,About heat\n", "utf-8")
    fields = ("--format", "csv", "--id-field", "number", "--text-field", "words", "--title-field", "head")
    assert run("index", tmp_path / "corpus.data", "--into", tmp_path / "x", *fields).code == 0
    document = run("get", tmp_path / "x", "7", "--json").json
    assert document == {"id": "7", "title": "About heat", "text": "heat flow", "metadata": {}}


def test_standard_input(tmp_path: Path) -> None:
    assert run_process("index", "-", "--into", tmp_path / "x", stdin=many(3)).code == 0
    assert run_process("info", tmp_path / "x", "--json").json["documents"] == 3


def test_a_finished_collection_is_not_touched(copy: Path, corpus: Path) -> None:
    outcome = run("index", corpus, "--into", copy)
    assert outcome.code == 1
    assert "a collection is here already" in outcome.err
    assert "lexhound add" in outcome.err
    assert "--overwrite" in outcome.err


def test_overwrite_swaps_when_the_new_one_is_complete(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(many(3) + b"not json\n")
    (tmp_path / "good.jsonl").write_bytes(many(5))
    failed = run("index", tmp_path / "bad.jsonl", "--into", copy, "--overwrite")
    assert failed.code == 1
    assert "bad.jsonl, line 4" in failed.err
    assert run("info", copy, "--json").json["documents"] == 6
    assert run("index", tmp_path / "good.jsonl", "--into", copy, "--overwrite").code == 0
    assert run("info", copy, "--json").json["documents"] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl", "my.index"]


def test_overwrite_leaves_alone_what_is_no_collection(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", "utf-8")
    outcome = run("index", corpus, "--into", tmp_path / "thesis", "--overwrite")
    assert outcome.code == 1
    assert "not overwritten" in outcome.err
    assert (tmp_path / "thesis" / "chapter.txt").read_text("utf-8") == "years of work"


def test_bad_row_stops_and_the_mended_corpus_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "c.jsonl"
    source.write_bytes(many(3) + b'{"id": 4}\n' + lines({"id": "last", "text": "omega"}))
    outcome = run("index", source, "--into", tmp_path / "x", "--json")
    assert outcome.code == 1
    assert outcome.json["error"]["code"] == "bad_row"
    assert outcome.json["error"]["where"] == f"{source}, line 4"
    assert run("search", tmp_path / "x", "alpha", "--json").json["hits"] == []
    assert "holds 3 documents" in run("info", tmp_path / "x").out
    source.write_bytes(many(3) + lines({"id": "4", "text": "alpha"}, {"id": "last", "text": "omega"}))
    outcome = run("index", source, "--into", tmp_path / "x", "--json")
    assert (outcome.json["documents"], outcome.json["resumed"]) == (5, 3)


def test_unfinished_collection_of_another_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(many(3) + b"broken\n")
    (tmp_path / "b.jsonl").write_bytes(many(2))
    assert run("index", tmp_path / "a.jsonl", "--into", tmp_path / "x").code == 1
    outcome = run("index", tmp_path / "b.jsonl", "--into", tmp_path / "x")
    assert outcome.code == 1
    assert "unfinished collection of" in outcome.err
    assert "a.jsonl" in outcome.err
    outcome = run("index", tmp_path / "a.jsonl", "--into", tmp_path / "x", "--k1", "2")
    assert "other settings" in outcome.err
    assert run("index", tmp_path / "b.jsonl", "--into", tmp_path / "x", "--overwrite").code == 0
    assert run("info", tmp_path / "x", "--json").json["documents"] == 2


def test_lost_lines_and_merged_rows_of_csv_are_told(tmp_path: Path) -> None:
    """One quote too many costs its line; a record of several lines that is bad says how many; merged rows are told."""
    bad = b'id,text\n1,"never closed\n2,two\n"3","three\nmore",x\n4,"four\n5,five"\n6,six\n'
    (tmp_path / "c.csv").write_bytes(bad)
    assert run("index", "c.csv", "--into", "x", cwd=tmp_path).code == 1
    outcome = run("index", "c.csv", "--into", "x", "--on-error", "skip", "--overwrite", cwd=tmp_path)
    assert outcome.code == 0
    assert outcome.out.startswith("3 documents in ")
    assert "skipped: c.csv, line 4: 3 fields where the header has 2 (2 lines)" in outcome.err
    assert "2 bad rows (3 lines) skipped, listed in x.rejects.jsonl" in outcome.err
    assert "c.csv: 1 record spans lines that look like rows themselves (line 6): is a quote missing" in outcome.err
    listed = [json.loads(line) for line in (tmp_path / "x.rejects.jsonl").read_text().splitlines()]
    assert [(row["line"], row.get("lines", 1)) for row in listed] == [(2, 1), (4, 2)]


def test_skip_lists_the_rejects(tmp_path: Path) -> None:
    rows = many(2) + b"broken\n" + lines({"id": "d0", "text": "again"}) + b"\xff\xfe\n" + lines({"text": "no id"})
    (tmp_path / "c.jsonl").write_bytes(rows)
    outcome = run("index", "c.jsonl", "--into", "x", "--on-error", "skip", "--json", cwd=tmp_path)
    assert outcome.code == 0
    assert (outcome.json["documents"], outcome.json["rejected"]) == (2, 4)
    assert "4 bad rows skipped, listed in x.rejects.jsonl" in outcome.err
    import json

    listed = [json.loads(line) for line in (tmp_path / "x.rejects.jsonl").read_text("utf-8").splitlines()]
    assert sorted(entry["line"] for entry in listed) == [3, 4, 5, 6]
    assert {entry["raw"] for entry in listed if entry["line"] in (3, 5)} == {"broken", "\\xff\\xfe"}
    assert all(entry["reason"] and entry["file"] == "c.jsonl" for entry in listed)


def test_nothing_is_left_behind_where_nothing_was_staged(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "bad.jsonl").write_bytes(b"broken\n")
    (tmp_path / "folder").mkdir()
    for source, says in [
        ("empty.jsonl", "the corpus is empty"),
        ("bad.jsonl", "bad.jsonl, line 1"),
        ("missing.jsonl", "no such file or folder"),
        ("folder", "holds nothing to read"),
    ]:
        outcome = run("index", source, "--into", "x", cwd=tmp_path)
        assert outcome.code == 1
        assert says in outcome.err
        assert not (tmp_path / "x").exists()
    assert run("index", "bad.jsonl", "--into", "x", "--on-error", "skip", cwd=tmp_path).code == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "x.rejects.jsonl") == [
        "bad.jsonl",
        "empty.jsonl",
        "folder",
    ]


def test_add_replaces_and_reports(copy: Path, tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "one.jsonl").write_bytes(lines({"id": "wing", "text": "another wing"}, {"id": "new", "text": "new"}))
    outcome = run("add", copy, tmp_path / "one.jsonl", corpus, "--json")
    assert outcome.code == 0
    first, second = outcome.json["runs"]
    assert (first["added"], first["replaced"]) == (1, 1)
    assert (second["added"], second["replaced"], second["unchanged"]) == (0, 1, 5)
    assert outcome.json["documents"] == 7
    assert "my.index has 7 documents" in run("add", copy, corpus).out


def test_add_keeps_what_was_finished_when_a_later_source_fails(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_bytes(many(2))
    outcome = run("add", copy, tmp_path / "one.jsonl", tmp_path / "missing.jsonl")
    assert outcome.code == 1
    assert "2 added" in outcome.out
    assert "missing.jsonl" in outcome.err
    assert run("info", copy, "--json").json["documents"] == 8


def test_discard_unfinished(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(many(3) + b"broken\n")
    (tmp_path / "good.jsonl").write_bytes(many(4, "beta"))
    assert run("add", copy, tmp_path / "bad.jsonl").code == 1
    blocked = run("add", copy, tmp_path / "good.jsonl")
    assert blocked.code == 1
    assert "--discard-unfinished" in blocked.err
    outcome = run("add", copy, tmp_path / "good.jsonl", "--discard-unfinished", "--json")
    assert outcome.json["discarded"] == 3
    assert outcome.json["documents"] == 10


def test_a_run_that_kept_nothing_leaves_no_trace(copy: Path, tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b"broken\n" + many(3))
    (tmp_path / "good.jsonl").write_bytes(many(4, "beta"))
    failed = run("add", copy, tmp_path / "bad.jsonl")
    assert failed.code == 1
    assert "Nothing of this ingest job has been kept" in failed.err
    assert "--discard-unfinished" not in failed.err
    assert run("info", copy, "--json").json["unfinished"] is None
    assert run("add", copy, tmp_path / "good.jsonl", "--json").json["documents"] == 10
    # All unchanged, then a bad row: nothing of that has been put aside either.
    (tmp_path / "same.jsonl").write_bytes(many(4, "beta") + b"broken\n")
    assert run("add", copy, tmp_path / "same.jsonl").code == 1
    assert run("add", copy, corpus).code == 0
    # The fields are wrong; the corrected command is another run.
    assert run("add", copy, tmp_path / "good.jsonl", "--text-field", "nowhere").code == 1
    assert run("add", copy, tmp_path / "good.jsonl", "--text-field", "text").code == 0
    # What a process that was killed left before it kept anything.
    with Collection.open(copy, writable=True) as collection:
        with collection._writing().transaction() as connection:
            connection.execute("INSERT INTO runs(source, first_seq) VALUES ('other', 1000)")
        assert collection.info().unfinished is None
    assert run("add", copy, corpus).code == 0


def test_both_ways_on_are_offered_where_something_was_kept(copy: Path, tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(many(3) + b"broken\n")
    for told in (run("add", copy, tmp_path / "bad.jsonl").err, run("add", copy, corpus).err, run("info", copy).out):
        whole = " ".join(told.split())
        assert "3 documents" in whole
        assert (
            f"lexhound add {copy} --discard-unfinished" in whole.replace("- ", "-") or "--discard-unfinished" in whole
        )
    assert run("info", copy, "--json").json["unfinished"] == {
        "source": str(tmp_path / "bad.jsonl"),
        "documents": 3,
        "running": None,
    }


def test_a_run_that_goes_on_is_not_called_interrupted(tmp_path: Path, corpus: Path) -> None:
    into = tmp_path / "x"
    command = [*COMMAND, "index", "-", "--into", into, "--encoder", "bm25"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(many(40_000))  # more than it reads ahead
            process.stdin.flush()
            for _ in range(100):
                told = (run("info", into, "--json").json if into.exists() else {}).get("unfinished") or {"documents": 0}
                if told["documents"]:
                    break
                time.sleep(0.1)
            assert told["running"]["pid"] == process.pid
            assert told["documents"] % 4096 == 0
            assert abs(told["running"]["since"] - time.time()) < 600
            assert f"process {process.pid} since" in run("info", into).out
            found = run("search", into, "alpha")
            assert f"is running (process {process.pid}, since" in found.err
            assert "interrupted" not in found.err
            refused = run("add", into, corpus)
            assert refused.code == 1
            assert f"pid {process.pid}, since" in refused.err
        finally:
            process.kill()
    assert run("info", into, "--json").json["unfinished"]["running"] is None
    stopped = run("search", into, "alpha").err
    assert "interrupted" in stopped
    assert "--discard-unfinished" in stopped


def test_a_corrected_command_simply_runs(copy: Path, tmp_path: Path) -> None:
    """A job that was stopped does not stand in the way of the same corpus, read with other options or mended."""
    before = run("info", copy, "--json").json["documents"]
    source = tmp_path / "more.jsonl"
    source.write_bytes(many(100) + lines({"number": "z", "text": "zulu"}))
    assert "--discard-unfinished" in run("add", copy, source).err
    nothing = run("search", copy, "zulu")
    assert "has none of the query's words; the ingest job over" in nothing.err
    other = run("add", copy, tmp_path.joinpath("x.jsonl"), "--on-error", "skip")
    assert other.code == 1
    tmp_path.joinpath("x.jsonl").write_bytes(lines({"id": "x", "text": "xray"}))
    other = run("add", copy, tmp_path / "x.jsonl")
    assert f"finish it with `lexhound add {copy} {source}`" in other.err.replace("Finish", "finish")
    assert f"`lexhound add {copy} --discard-unfinished`" in other.err
    # Other options: what is read alike is kept, the rest read anew.
    source.write_bytes(many(50) + lines(*({"number": f"n{n}", "id": f"n{n}", "text": "zulu"} for n in range(30))))
    outcome = run("add", copy, source, "--id-field", "id", "--json")
    assert outcome.code == 0, outcome.err
    assert run("info", copy, "--json").json["documents"] == before + 80
    assert run("info", copy, "--json").json["unfinished"] is None
    # Another column for the ids: nothing is read alike, and what is kept is not dropped unasked.
    rows = [{"id": f"a{n}", "number": f"b{n}", "text": "yankee"} for n in range(20)]
    source.write_bytes(lines(*rows) + b"broken\n")
    assert run("add", copy, source).code == 1
    source.write_bytes(lines(*rows))
    refused = run("add", copy, source, "--id-field", "number")
    assert (refused.code, "holds 20 documents" in refused.err) == (1, True)
    assert f"`lexhound add {copy} --discard-unfinished`" in refused.err
    assert run("info", copy, "--json").json["unfinished"]["documents"] == 20
    assert run("add", copy, "--discard-unfinished").code == 0
    assert run("add", copy, source, "--id-field", "number").code == 0
    assert run("info", copy, "--json").json["documents"] == before + 100
    assert {hit["id"][0] for hit in run("search", copy, "yankee", "--json").json["hits"]} == {"b"}


def test_delete_and_get(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("wing\r\n\nmissing\n", "utf-8")
    outcome = run("delete", copy, "heat-1", "--ids-from", tmp_path / "ids.txt", "--json")
    assert outcome.code == 0
    assert outcome.json == {"deleted": ["heat-1", "wing"], "missing": ["missing"]}
    again = run("delete", copy, "heat-1", "wing")
    assert again.code == 1
    assert "not in the collection: 'heat-1', 'wing'" in again.err
    assert ids_of(run("search", copy, "wing heat", "--json").json["hits"]) == ["heat-2"]
    gone = run("get", copy, "wing", "--json")
    assert gone.code == 1
    assert gone.json["error"]["code"] == "not_found"
    kept = run("get", copy, "heat-2")
    assert kept.out.splitlines()[0] == "Heating"
    assert "year  1990" in kept.out
    assert "Heating of a wing in a slipstream." in kept.out
    assert run("delete", copy, "--ids-from", "-", stdin=b"heat-2\n").code == 0


def test_get_and_delete_by_filter(copy: Path) -> None:
    listed = run("get", copy, "--filter", "year >= 1990 and lang = 'en'")
    assert listed.out == "heat-2\tHeating\nwing\tA wing in a slipstream.\n"
    one = run("get", copy, "--filter", "year >= 1990", "--limit", "1", "--json")
    assert [json.loads(line)["id"] for line in one.out.splitlines()] == ["heat-2"]
    assert "3 more pass" in one.err
    assert run("get", copy, "--filter", "year > 3000").err == "no document passes the filter\n"
    for arguments in ((), ("wing", "--filter", "year > 1")):
        assert run("get", copy, *arguments).code == 2
    assert "Did you mean year?" in run("get", copy, "--filter", "yaer > 1").err
    assert run("delete", copy, "wing", "--filter", "year > 1").code == 2
    assert run("delete", copy, "--filter", "year > 3000").code == 1
    assert run("delete", copy, "--filter", "year >= 1990 and lang = 'en'", "--json").json == {
        "deleted": ["heat-2", "wing"], "missing": [],
    }  # fmt: skip
    assert run("get", copy, "wing").code == 1


def test_compact_drops_the_deleted(copy: Path) -> None:
    assert run("delete", copy, "wing").code == 0
    assert run("info", copy, "--json").json["deleted"] == 1
    outcome = run("compact", copy, "--json")
    assert outcome.json["documents"] == 5
    assert outcome.json["dropped"] == 1
    assert run("info", copy, "--json").json["deleted"] == 0
    assert "all is well: 5 documents" in run("verify", copy).out


def test_ctrl_c_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "index", "-", "--into", "x"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    written = 0
    while _held(tmp_path / "x") == 0 and written < 500_000:
        process.stdin.write(many(2000, start=written))
        process.stdin.flush()
        written += 2000
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    held = _held(tmp_path / "x")
    assert held > 0
    assert err.decode().splitlines() == [
        f"interrupted: {held:,} documents kept for x, not yet visible",
        "  hint: The same command goes on from there",
    ]
    outcome = run("index", "-", "--into", "x", "--json", stdin=many(written), cwd=tmp_path)
    assert (outcome.json["documents"], outcome.json["resumed"]) == (written, held)


def _held(path: Path) -> int:
    if not path.exists():
        return 0
    with Collection.open(path) as collection:
        unfinished = collection.info().unfinished
    return 0 if unfinished is None else unfinished.documents


def test_ctrl_c_before_anything_is_kept(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "index", "-", "--into", "x"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "x").exists():
        time.sleep(0.05)
    time.sleep(0.3)  # until it waits for input, which nothing can be seen by
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"nothing kept for x" in err
    assert not (tmp_path / "x").exists()


def test_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(many(9000))
    outcome = run_on_terminal("index", tmp_path / "c.jsonl", "--into", tmp_path / "x", columns=140)
    assert outcome.code == 0
    assert "documents" in outcome.out
    assert "/s" in outcome.out
    assert "%" in outcome.out
    assert "9,000 documents" in outcome.out


def test_ctrl_c_in_a_command_that_changes_nothing(copy: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "search", copy, "--queries", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"heat\n" * 5000)  # more than one batch, so that an answer comes
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"interrupted\n"


def test_a_model_as_encoder(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra lexhound[neural]")
    from tiny_checkpoints import build_tiny_masked_lm

    build_tiny_masked_lm(tmp_path / "model")
    (tmp_path / "c.jsonl").write_bytes(lines({"id": "1", "text": "heat flow"}, {"id": "2", "text": "a wing"}))
    outcome = run("index", "c.jsonl", "--into", "x", "--encoder", "model", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    answer = run("search", tmp_path / "x", "heat", "--explain", "--json").json
    assert len(answer["hits"]) == 2
    for hit in answer["hits"]:
        assert sum(entry["score"] for entry in hit["contributions"]) == hit["score"]
    assert run("info", tmp_path / "x", "--json").json["encoder"]["kind"] == "splade"
