"""`lexhound encode --ray`: on a real Ray of this machine, with workers that are killed, equal to `lexhound encode`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="needs the extra tokens")

from command import COMMAND, Outcome, environment, lines, run
from page_server import free_port

from lexhound.core.errors import MissingExtraError
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.vector_files import read_npz
from lexhound.retrieval.bulk_encode import cluster, shards
from lexhound.retrieval.bulk_encode.cluster import RaySettings
from lexhound.retrieval.bulk_encode.encoding import EncodingOptions, encode_corpus, in_shard, shard_of
from lexhound.retrieval.bulk_encode.partial import Counts
from lexhound.retrieval.bulk_encode.ray import ShardTask, encode_shard
from lexhound.retrieval.bulk_encode.shards import (
    ShardProgress,
    Texts,
    finished_shards,
    merge_shards,
    prepare_shards,
    shard_folder,
)
from lexhound.retrieval.documents.passages import PassageSettings
from lexhound.retrieval.errors import ClusterError
from lexhound.serve.cli import encode_options

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the package ray (the extra ray)")
WORDS = ["heat", "flow", "wing", "shock", "wave", "layer", "plate", "cone", "river", "mat", "cat", "world", "year"]
PATIENCE = 600.0
# So many that there is work left when the first shard is done and Ctrl-C has had its time.
DOCUMENTS, SHARDS = 60_000, 8
# Two workers, however many processors there are.
WORKERS = ("--ray-processors", str(max(1, (os.cpu_count() or 2) // 2)))
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_DEDUP_LOGS": "0", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "texts.jsonl"
    rows = (
        {"id": f"d{n}", "text": " ".join(WORDS[(n * 7 + place * 3) % len(WORDS)] for place in range(n % 37))}
        for n in range(DOCUMENTS)
    )
    path.write_bytes(lines(*rows))
    return path


def start(texts: Path, model: Path | str, out: Path, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own, over a Ray of its own."""
    given = [texts, "--encoder", model, "--out", out, "--ray", "--ray-address", "local", *WORKERS, *more]
    return subprocess.Popen(
        [*COMMAND, "encode", *map(os.fspath, given)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(**QUIET), start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> Outcome:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return Outcome(process.returncode, out, err)


def interrupt(process: subprocess.Popen[str]) -> Outcome:
    """Ctrl-C, and again where it came at a moment at which Ray drops it: that happens once in a long while."""
    for _ in range(5):
        os.kill(process.pid, signal.SIGINT)
        try:
            process.wait(4)
            break
        except subprocess.TimeoutExpired:
            continue
    return finish(process)


def wait_for(condition: Any, process: subprocess.Popen[str]) -> Any:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def at_work(out: Path, left: set[str]) -> int | None:
    """The process of a worker that has kept a part of a shard; `left` are the files of workers that are gone."""
    for notes in shard_folder(out).glob("*.partial.json"):
        if notes.name not in left:
            return int(notes.name.split(".")[-5])
    return None


@needs_ray
@pytest.mark.slow
def test_two_workers_of_which_one_is_killed(texts: Path) -> None:
    """Stopped by Ctrl-C, gone on with, a worker killed on the way: the file is that of one process, to the byte.

    Queries of lexhound-mini are looked up in a table: nothing depends on which texts are encoded together.
    """
    plain, out = texts.with_name("plain.jsonl"), texts.with_name("shared.jsonl")
    alone = run("encode", texts, "--encoder", "lexhound-mini", "--queries", "--out", plain)
    assert alone.code == 0, alone.err
    given = (texts, "lexhound-mini", out, "--queries")
    stopped = start(*given, "--ray-shards", str(SHARDS))
    wait_for(lambda: finished_shards(out)[0], stopped)
    told = interrupt(stopped)
    assert (told.code, f"of {SHARDS} shards kept" in told.err, "Traceback" in told.err) == (130, True, False), told
    kept = finished_shards(out)[0]
    assert 1 <= kept < SHARDS, "there is nothing left to kill: make the corpus longer"
    assert not out.exists()
    before = {path.name: path.stat().st_mtime_ns for path in shard_folder(out).glob(f"*-of-{SHARDS}.jsonl")}
    left = {path.name for path in shard_folder(out).iterdir()}

    process = start(*given, "--json")
    worker = wait_for(lambda: at_work(out, left), process)
    os.kill(worker, signal.SIGKILL)
    assert {name: (shard_folder(out) / name).stat().st_mtime_ns for name in before} == before, "done once"
    outcome = finish(process)
    assert outcome.code == 0, outcome.err
    report = outcome.json
    assert (report["vectors"], report["rejected"]) == (DOCUMENTS, 0)
    assert (report["shards"], report["resumed_shards"]) == (SHARDS, kept)
    assert not shard_folder(out).exists()
    assert out.read_bytes() == plain.read_bytes()


@needs_ray
@pytest.mark.slow
def test_documents_bad_rows_and_other_forms(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra neural")
    pytest.importorskip("transformers", reason="needs the extra neural")
    from tiny_checkpoints import build_tiny_masked_lm

    model = build_tiny_masked_lm(tmp_path / "model")
    rows = [{"id": f"d{n}", "text": f"heat flow {'wing ' * (n % 9)}"} for n in range(40)]
    texts = tmp_path / "texts.jsonl"
    texts.write_bytes(lines(*rows[:20]) + b"nonsense\n" + lines(*rows[20:], rows[3]))
    (tmp_path / "work").mkdir()
    out, plain = tmp_path / "work" / "v.npz", tmp_path / "plain.npz"
    exact = ("--device", "cpu", "--precision", "float32")

    refused = finish(start(texts, model, out, *exact, "--ray-shards", "2"))
    assert (refused.code, refused.err.count("error:")) == (1, 1), refused.err
    assert f"{texts}" in refused.err
    assert "Traceback" not in refused.err

    skipped = finish(start(texts, model, out, *exact, "--on-error", "skip", "--json"))
    assert skipped.code == 0, skipped.err
    report = skipped.json
    assert (report["vectors"], report["rejected"], report["shards"]) == (40, 2, 2), "each bad row is listed once"
    assert len(Path(report["rejects"]).read_text().splitlines()) == 2
    assert sorted(path.name for path in out.parent.iterdir()) == ["v.npz", "v.npz.rejects.jsonl"]
    alone = run("encode", texts, "--encoder", model, "--out", plain, *exact, "--on-error", "skip")
    assert alone.code == 0, alone.err
    found, expected = read_npz(out), read_npz(plain)
    assert found.ids == expected.ids == [row["id"] for row in rows]
    assert found.maker.fingerprint == expected.maker.fingerprint
    np.testing.assert_allclose(found.vectors.toarray(), expected.vectors.toarray(), rtol=0, atol=1e-5)


def test_what_another_run_left_is_not_mixed_with_this_one(tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    folder, made, prepare = shard_folder(out), {"encoder": "one", "source": "here"}, prepare_shards
    assert prepare(folder, made, 3, 8, start_over=False) == 3
    assert finished_shards(out) == (0, 3)
    (folder / "1-of-3.jsonl").write_bytes(b"")
    assert finished_shards(out) == (0, 3), "its notes come first"
    (folder / "1-of-3.json").write_text('{"lines": 0, "digest": "", "tokens": 0}')
    assert finished_shards(out) == (1, 3)
    assert prepare(folder, made, None, 8, start_over=False) == 3, "as many as it was begun with"
    for other, wanted in ((made, 5), (made | {"encoder": "other"}, None)):
        with pytest.raises(VectorFileError, match="an unfinished run of another"):
            prepare(folder, other, wanted, 8, start_over=False)
    assert finished_shards(out) == (1, 3)
    (folder / "2-of-3.host.77.abcdef01.jsonl.partial").write_bytes(b"left by a worker that died")
    assert prepare(folder, made, 3, 8, start_over=False) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["1-of-3.json", "1-of-3.jsonl", "run.json"]
    assert prepare(folder, made, None, 2, start_over=True) == 2 * shards.SHARDS_A_SLOT
    assert finished_shards(out) == (0, 8)


def test_a_shard_that_is_done_twice_and_texts_that_have_changed(tmp_path: Path) -> None:
    """The tasks themselves, in this process: two attempts at a shard write the same, and changed texts are noticed."""
    path, out = tmp_path / "texts.jsonl", tmp_path / "v.jsonl"
    rows = [{"id": f"d{n}", "text": f"{WORDS[n % 13]} {WORDS[n % 7]}"} for n in range(50)]
    path.write_bytes(lines(*rows))
    given = Texts(str(path))
    encoder = LearnedEncoder("lexhound-mini")
    prepare_shards(shard_folder(out), {}, 2, 1, start_over=False)

    def task(number: int, fingerprint: str = encoder.identity.fingerprint) -> ShardTask:
        options = EncodingOptions("here", queries=True, shard=(number, 2))
        return ShardTask(given, "lexhound-mini", None, fingerprint, options, False, str(shard_folder(out)))

    for number in (1, 2):
        encode_shard(task(number))
    first = (shard_folder(out) / "2-of-2.jsonl").read_bytes()
    encode_shard(task(2))
    assert (shard_folder(out) / "2-of-2.jsonl").read_bytes() == first
    assert finished_shards(out) == (2, 2)
    assert len(list(shard_folder(out).iterdir())) == 5, "nothing else is left"
    progress = ShardProgress(shard_folder(out), 2, Counts(), None)
    for changed in (rows[:-1], [*rows[:-1], {"id": "d49", "text": "another"}], [rows[1], rows[0], *rows[2:]]):
        path.write_bytes(lines(*changed))
        if changed[0] is rows[1] and shard_of("d0", 2) != shard_of("d1", 2):
            continue  # of two shards each keeps its order
        with pytest.raises(VectorFileError, match="no longer those"):
            merge_shards(given, shard_folder(out), 2, out, encoder, None, progress)
        assert not out.exists()
    path.write_bytes(lines(*rows))
    report = merge_shards(given, shard_folder(out), 2, out, encoder, None, progress)
    assert report.vectors == 50
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == [row["id"] for row in rows]
    with pytest.raises(ClusterError, match="another encoder"):
        encode_shard(task(1, "0" * 32))


def test_passages_of_shards_are_put_together_in_their_order(tmp_path: Path) -> None:
    path, out = tmp_path / "texts.jsonl", tmp_path / "v.jsonl"
    rows = [{"id": f"d{n}", "text": " ".join(WORDS * (n % 4))} for n in range(12)]
    path.write_bytes(lines(*rows, {"id": "d3#1", "text": "heat"}))
    encoder, sizes = LearnedEncoder("lexhound-mini"), PassageSettings(20, 4)
    prepare_shards(shard_folder(out), {}, 3, 1, start_over=False)
    for number in (1, 2, 3):
        options = EncodingOptions("here", shard=(number, 3), passages=sizes)
        task = ShardTask(
            Texts(str(path)),
            "lexhound-mini",
            None,
            encoder.identity.fingerprint,
            options,
            False,
            str(shard_folder(out)),
        )
        encode_shard(task)
    progress = ShardProgress(shard_folder(out), 3, Counts(), None)
    merged = merge_shards(Texts(str(path)), shard_folder(out), 3, out, encoder, None, progress, passages=True)
    plain = tmp_path / "plain.jsonl"
    report = encode_corpus(Texts(str(path)).open(), encoder, plain, EncodingOptions("here", passages=sizes))
    assert merged.counts == report.counts
    assert report.counts.split > 0

    def places(file: Path) -> list[tuple[object, ...]]:
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        return [tuple(row[name] for name in ("id", "document", "passage", "start", "end")) for row in rows]

    assert places(out) == places(plain)


def test_shards_are_those_of_the_option() -> None:
    for identifier in ("a", "é", "d17", "x" * 300):
        for count in (1, 2, 7):
            (number,) = [each for each in range(1, count + 1) if in_shard(identifier, each, count)]
            assert shard_of(identifier, count) == number
    assert shards.MOST_SHARDS == encode_options.MOST_SHARDS


def test_without_the_package_one_message_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"lexhound\[ray\]"):
        cluster.import_ray()


def test_an_address_where_nobody_answers_is_told_at_once() -> None:
    for address, says in (
        (f"127.0.0.1:{free_port()}", "no Ray cluster answers"),
        (f"ray://127.0.0.1:{free_port()}", "no Ray cluster answers"),
        ("somewhere", "not an address"),
    ):
        with pytest.raises(ClusterError, match=says) as caught:
            cluster._check_answers(address)
        assert caught.value.hint
    with (
        pytest.raises(ClusterError, match="no Ray cluster answers"),
        cluster.Cluster(None, RaySettings(f"127.0.0.1:{free_port()}")),
    ):
        pass


def test_options_that_contradict_each_other(texts: Path, tmp_path: Path) -> None:
    base = (texts, "--encoder", "lexhound-mini", "--out", tmp_path / "v.jsonl")
    for more, says in (
        (("--ray-shards", "2"), "--ray"),
        (("--ray-address", "auto"), "--ray"),
        (("--ray", "--shard", "1/2"), "--shard"),
    ):
        outcome = run("encode", *base, *more)
        assert (outcome.code, says in outcome.err) == (2, True), outcome.err
    piped = run("encode", "-", *base[1:], "--ray")
    assert (piped.code, "standard input" in piped.err) == (2, True)
