"""Every script of bench/ runs to its end on a tiny input, and names what is not installed."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import load_tool
import numpy as np
import pytest
from repository import ROOT
from scipy.sparse import csr_array
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.encoders.vector_files import Maker, write_npz
from lexhound.retrieval import Collection, Document

BENCH = ROOT / "bench"
SCRIPTS = sorted(path.stem for path in BENCH.glob("run_*.py"))
WORDS = ["wing", "heat", "flow", "shock", "plate", "layer", "drag", "lift", "fuel", "boundary", "transfer", "pressure"]
RECIPE = """
[model]
start = "sparse"
max_length = 24
[data]
[[data.corpora]]
path = "data/corpus.jsonl"
pseudo = ["title", "sentence"]
[[teachers]]
kind = "bm25"
[sparsity]
frequent = 20
sampled = 20
[optimiser]
steps = 1
seeds = 2
candidates = 2
[validation]
sets = ["data:dev"]
every = 1
documents = 10
queries = 3
"""


@dataclass(frozen=True)
class Inputs:
    """Files for the scripts: a BEIR folder `data`, collections `bm25` and `both`, vectors as `.npz` and `.npy`."""

    folder: Path

    def __getattr__(self, name: str) -> str:
        return str(self.folder / name.replace("_", "."))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS, 12)) for _ in range(60)]
    data = folder / "data"
    (data / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{number}", "title": text[:8], "text": text} for number, text in enumerate(texts)]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": f"q{number}", "text": " ".join(rng.choice(WORDS, 3))} for number in range(6)]
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    judged = "".join(f"q{number}\td{number}\t1\n" for number in range(6))
    for split in ("dev", "test"):
        (data / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    documents = [Document(row["_id"], row["text"], title=row["title"]) for row in rows]
    sparse, dense = build_tiny_masked_lm(folder / "sparse"), build_tiny_embedding_model(folder / "dense")
    for name, options in (("bm25", {}), ("both", {"encoder": str(sparse), "dense": str(dense)})):
        with Collection.create(folder / name, **options) as collection:
            collection.add(documents)
            collection.compact()
    maker = Maker("made up", "f", "v")
    for name, count in (("passages", 60), ("queries", 12)):
        matrix = csr_array(np.where(rng.random((count, 50)) < 0.2, rng.random((count, 50)), 0).astype(np.float32))
        write_npz(folder / f"{name}.npz", [str(number) for number in range(count)], matrix, maker)
    for name, count in (("passages", 450), ("queries", 60)):
        vectors = rng.standard_normal((count, 16)).astype(np.float32)
        np.save(folder / f"{name}.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    (folder / "recipe.toml").write_text(RECIPE)
    return Inputs(folder)


@pytest.fixture
def script(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Runs a script of bench/ as `python bench/NAME.py ARGUMENTS` would; returns what it printed.

    In this process, as most of the time would go into importing torch and compiled kernels; with `apart` in one of its
    own without kernels, which those need that start processes with an empty cache of them.
    """
    monkeypatch.setenv("LEXHOUND_PRECISION", "float32")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)

    def run(name: str, *arguments: object, apart: bool = False) -> str:
        command = [str(BENCH / f"{name}.py"), *map(str, arguments)]
        if apart:
            environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
            done = subprocess.run(
                [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(command[0], run_name="__main__")
        return capsys.readouterr().out

    yield run
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(BENCH)):
            del sys.modules[name]


Run = Callable[..., str]


def ablation(run: Run, inputs: Inputs) -> None:
    told = run("run_ablation", inputs.recipe_toml, "--into", "out", "--only", "no training", "--only", "the recipe")
    assert "cut to the FLOPS" in told
    assert told.count("nDCG@10") == 2


def backends(run: Run, inputs: Inputs) -> None:
    told = run("run_backends", "--collection", inputs.both, "--dataset", inputs.data, "--questions", 2, "--rounds", 1)
    assert told.count("100.0% |") == 2 * 3  # sparse, dense, hybrid; told twice


def codes(run: Run, inputs: Inputs) -> None:
    told = run("run_codes", "--vectors", inputs.passages_npy, "--queries", inputs.queries_npy, "--count", 300)
    assert told.count("\n| ") >= 5


def dense(run: Run, inputs: Inputs) -> None:
    paths = ("--vectors", inputs.passages_npy, "--queries", inputs.queries_npy, "--count", 450, "--asked", 20)
    told = run("run_dense", *paths, "--only", "lexhound", "hnswlib", "diskann")
    assert "| lexhound | recall=0.95 |" in told
    for system, package in (("hnswlib", "hnswlib"), ("diskann", "diskannpy")):
        assert (f"Missing: {system} " in told) == (find_spec(package) is None)


def densified(run: Run, inputs: Inputs) -> None:
    told = run("run_densified", "--collection", inputs.both, "--dataset", inputs.data, "--width", 32, "--depth", 20)
    assert "| 32 slices + dense, all scored |" in told


def encoders(run: Run, inputs: Inputs) -> None:
    small = ("--texts", 2, "--tokens", 16, "--threads", 1)
    told = run("run_encoders", *small, "--repeats", 1, "--ways", "float32")
    assert "\nfloat32 " in told
    folder = ROOT / "encoders" / "models" / "lexhound-mini"
    for way in ("float32", *(["sentence-transformers"] if find_spec("sentence_transformers") else [])):
        run("run_encoders", "--one", way, "--folder", folder, "--out", "one.npz", *small)
        with np.load("one.npz") as found:
            assert (found["first"] > 0).any()


def filters(run: Run, inputs: Inputs) -> None:
    (place,) = Path(inputs.both, "segments").iterdir()
    told = run("run_filters", "--index", place / "sparse", "--queries", inputs.queries_npz, "--rounds", 1)
    assert told.count("a filter keeps") == 4


def fusions(run: Run, inputs: Inputs) -> None:
    told = run("run_fusions", "--lexical", inputs.bm25, "--both", inputs.both, "--dataset", inputs.data)
    assert "| all three |" in told


def growth(run: Run, inputs: Inputs) -> None:
    paths = ("--vectors", inputs.passages_npz, "--queries", f"free={inputs.queries_npz}")
    told = run("run_growth", *paths, "--sizes", 30, 80, "--n-queries", 12, "--rounds", 1, "--cold", apart=True)
    assert "| free | slope of log p50" in told
    assert told.count("| full |") == 2


def head(run: Run, inputs: Inputs) -> None:
    if find_spec("triton") is None:
        with pytest.raises(SystemExit, match="triton is not installed"):
            run("run_head", "--interpret")
    else:
        assert run("run_head", "--interpret").count("distance of") == 4


def late(run: Run, inputs: Inputs) -> None:
    rows = Path(inputs.data, "corpus.jsonl").read_text().splitlines()[:8]
    Path("few.jsonl").write_text("\n".join(rows) + "\n")
    with Collection.create("late.index", encoder="lexhound-mini", dense="lexhound-mini", late=True) as made:
        made.add(Document(row["_id"], row["text"]) for row in map(json.loads, rows))
    told = run("run_late", "--collection", "late.index", "--dataset", inputs.data, "--split", "dev")
    assert len(re.findall(r"^\| [01]\.[0-9] \| 0\.[0-9]+", told, re.MULTILINE)) == 9


def lexical(run: Run, inputs: Inputs) -> None:
    paths = ("--corpus", inputs.data, "--questions", inputs.data)
    told = run("run_lexical", *paths, "--queries", 5, "--rounds", 1, "--processes", 1, 1, apart=True)
    assert "| 60 |" in told
    assert ("bm25s is not installed" in told) == (find_spec("bm25s") is None)


def passages(run: Run, inputs: Inputs) -> None:
    small = ("--dataset", inputs.data, "--documents", 6, "--ways", "cut", "16/4", "windows")
    told = run("run_passages", *small)
    assert told.count("\n| passages 16/4 | ") == 10
    assert told.count(", shipped | ") == 2
    assert "| windows, max-pooled | sparse, best | 6 |" in told


def serve(run: Run, inputs: Inputs) -> None:
    paths = ("--index", inputs.bm25, "--questions", inputs.data)
    told = run("run_serve", *paths, "--queries", 3, "--seconds", 1, apart=True)
    assert told.count("\n| 32 |") == 2


def sparse(run: Run, inputs: Inputs) -> None:
    paths = ("--vectors", inputs.passages_npz, "--queries", inputs.queries_npz)
    told = run("run_sparse", *paths, "--rounds", 1, "--work", "work", apart=True)
    assert "| lexhound | {} |" in told
    for name in ("pisa", "bmp", "qdrant", "lucene", "seismic"):
        assert f"missing: {name} (not given)" in told


def stalls(run: Run, inputs: Inputs) -> None:
    told = run("run_stalls", "--documents", 300, "--seconds", 0.01, apart=True)
    # Without kernels a batch of four may meet its deadline.
    answers = re.findall(r"^\| [^|]+ \| [14] \| ([^|]+) \|", told, re.MULTILINE)
    assert len(answers) == 24
    assert all(re.fullmatch(r"\d+ x (200|504)", one) for answer in answers for one in answer.split(", "))
    assert told.count("\n| nothing |") == 2


def start(run: Run, inputs: Inputs) -> None:
    told = run("run_start", "--rounds", 1, "--encoders", "bm25", apart=True)
    assert re.search(r"^\| search, bm25 \| [0-9.]+ \|", told, re.MULTILINE)
    assert "| index 1,400 abstracts, bm25 |" in told


def tenants(run: Run, inputs: Inputs) -> None:
    told = run("run_tenants", "--passages", 400, "--tenants", 20, "--queries", 1, "--width", 8)
    lines = [json.loads(line) for line in told.splitlines()]
    assert lines[0]["largest"] == max(line.get("rows", 0) for line in lines)
    assert all(line["sparse"]["alone"] > 0 for line in lines if "rows" in line)


def tenant_queries(run: Run, inputs: Inputs) -> None:
    told = run("run_tenant_queries", "--passages", 300, "--tenants", 12, "--queries", 1)
    lines = [json.loads(line) for line in told.splitlines()]
    assert all(line["alone"] > 0 for line in lines if "rows" in line)
    assert [line["tenants"] for line in lines if "tenants" in line] == [False, True]


def tenant_frequencies(run: Run, inputs: Inputs) -> None:
    told = run("run_tenant_frequencies", f"{inputs.data}:dev", "--tenants", 3)
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["dealt by"] for line in lines] == ["chance", "topic"]
    assert all(0 <= line["own"] <= 1 and line["asked"] == 6 for line in lines)


def training(run: Run, inputs: Inputs) -> None:
    small = ("--steps", 1, "--queries", 2, "--documents", 2, "--tokens", 16, "--threads", 1)
    names = ("lexhound, inference-free, sampled columns", "sentence-transformers, SPLADE")
    only = [part for name in names for part in ("--only", name)]
    peer = all(map(find_spec, ("sentence_transformers", "datasets", "accelerate")))
    told = run("run_training", *small, *(only if not peer else only[:2]))
    assert f"| {names[0]} |" in told
    assert " GiB |" in told
    if not peer:
        assert f"| {names[1]} | missing: " in told
    for name in ("lexhound, inference-free, all columns", "lexhound, SPLADE", *(names[1:] if peer else ())):
        found: dict[str, Any] = json.loads(run("run_training", "--one", name, *small).splitlines()[-1])
        assert len(found["seconds"]) == 2


RUNS: dict[str, Callable[[Run, Inputs], None]] = {
    f"run_{run.__name__}": run
    for run in (
        ablation, backends, codes, dense, densified, encoders, filters, fusions, growth, head, late, lexical, passages,
        serve, sparse, stalls, start, tenant_frequencies, tenant_queries, tenants, training,
    )
}  # fmt: skip


def test_every_script_is_run_here() -> None:
    assert sorted(RUNS) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_to_its_end(
    name: str, script: Run, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "run_serve" and shutil.which("wrk") is None:
        with pytest.raises(SystemExit) as refused:
            script(name)
        assert refused.value.code == 2
        tool = tmp_path / "bin" / "wrk"
        tool.parent.mkdir()
        tool.write_text(load_tool.SCRIPT.format(python=sys.executable, path=load_tool.__file__))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    RUNS[name](script, inputs)
