"""`lexhound train`: a whole run, an interrupted one, several processes, and recipes that cannot be followed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from command import COMMAND, Outcome, environment, run
from repository import CRANFIELD
from safetensors.numpy import load_file
from tiny_checkpoints import build_tiny_embedding_model, build_tiny_masked_lm

RECIPE = """
name = "small"
seed = 3

[model]
start = "base"
max_length = 48
dense = 0.1

[data]
exclude = ["apart"]

[[data.corpora]]
path = "texts.jsonl"
pseudo = ["title", "sentence", "span", "keywords"]

[[data.pairs]]
path = "pairs.jsonl"

[[data.queries]]
path = "questions.jsonl"

[[teachers]]
kind = "bm25"

[[teachers]]
kind = "dense"
model = "dense"

[[teachers]]
kind = "sparse"
model = "base"
normalise = "z-score"

[query]
counted = true
prior = 40

[loss]
keep = 0.1
terms = 0.1
info_nce = 0.1

[sparsity]
frequent = 60
sampled = 60

[optimiser]
steps = 24
seeds = 3
candidates = 3

[validation]
sets = ["apart:dev"]
every = 12
documents = 30
queries = 5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with everything it names; the validation set is a piece of the sample."""
    place = tmp_path_factory.mktemp("training")
    build_tiny_masked_lm(place / "base", seed=1)
    build_tiny_embedding_model(place / "dense", seed=2)
    rows = [json.loads(line) for line in (CRANFIELD / "corpus.jsonl").read_text().splitlines()]
    texts = [row for row in rows[:60] if row["text"]]
    (place / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    pairs = [{"query": row["title"], "text": row["text"]} for row in rows[100:110]]
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    asked = [{"query": "what is a boundary layer", "source": "own"}, {"query": "heat in a wing", "source": "own"}]
    (place / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    apart = place / "apart"
    (apart / "qrels").mkdir(parents=True)
    (apart / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:40]))
    queries = [json.loads(line) for line in (CRANFIELD / "queries.jsonl").read_text().splitlines()][:5]
    (apart / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = "".join(f"{row['_id']}\t{number + 1}\t1\n" for number, row in enumerate(queries))
    (apart / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    (place / "recipe.toml").write_text(RECIPE)
    return place


def train(folder: Path, into: Path, *more: str, recipe: str = "recipe.toml") -> Outcome:
    """Train in this process, whose threads and random numbers are afterwards as they were."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            return run("train", folder / recipe, "--into", into, "--threads", "1", *more)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    into = folder / "finished"
    done = train(folder, into)
    assert done.code == 0, done.err
    assert "left out" in done.err  # documents of the set that is kept apart
    assert "step 12: apart dev" in done.err
    assert "step 24: apart dev" in done.err
    assert "24 steps, the best at step " in done.err
    return into


def test_what_was_trained_for_hybrid_searches_makes_them(folder: Path, tmp_path: Path) -> None:
    """Both sides of one pass, also where nothing else asks for dense vectors."""
    changes = ("steps=2", "validation.every=1", "loss.hybrid=1", "model.dense=0")
    done = train(folder, tmp_path / "run", *(part for change in changes for part in ("--set", change)))
    assert done.code == 0, done.err
    assert "apart dev, hybrid" in done.err
    encoder = tmp_path / "run" / "encoder"
    indexed = run(
        "index", CRANFIELD / "corpus.jsonl", "--into", tmp_path / "a.index", "--encoder", encoder, "--dense", encoder
    )
    assert indexed.code == 0, indexed.err
    found = run("search", tmp_path / "a.index", "boundary layer", "--mode", "hybrid", "--json")
    assert found.code == 0, found.err
    assert found.json["hits"]


def test_what_was_trained_indexes_and_answers(finished: Path, tmp_path: Path) -> None:
    indexed = run(
        "index", CRANFIELD / "corpus.jsonl", "--into", tmp_path / "a.index", "--encoder", finished / "encoder"
    )
    assert indexed.code == 0, indexed.err
    found = run("search", tmp_path / "a.index", "boundary layer", "--json")
    assert found.code == 0, found.err
    assert found.json["hits"]


def test_an_encoder_whose_model_reads_queries(folder: Path, tmp_path: Path) -> None:
    changes = ("query.kind=model", "query.prior=0", "query.counted=false", "optimiser.steps=4", "validation.every=4")
    done = train(folder, tmp_path / "run", *(part for change in changes for part in ("--set", change)))
    assert done.code == 0, done.err
    assert "step 4: apart dev" in done.err
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(record["query_active"] > 0 for record in records if "loss" in record)
    shown = run("inspect", tmp_path / "run" / "encoder", "boundary layer", "--query", "--json")
    assert shown.code == 0, shown.err
    refused = train(folder, tmp_path / "other", "--set", "query.kind=model", "--set", "query.prior=5")
    assert refused.code != 0
    assert "query.counted, prior, common and surface_match are for a table" in refused.err


def test_the_run_leaves_a_log_and_a_page_of_curves(finished: Path) -> None:
    records = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, 25))
    assert sum("validation apart dev" in record for record in records) == 2
    page = (finished / "curves.html").read_text()
    assert page.count("<svg") >= 5
    assert "http" not in page  # nothing from outside


def test_an_interrupted_run_goes_on_and_ends_alike(folder: Path, finished: Path) -> None:
    into = folder / "parts"
    process = subprocess.Popen(
        [*COMMAND, "train", str(folder / "recipe.toml"), "--into", str(into), "--threads", "1"],
        stderr=subprocess.PIPE,
        env=environment(),
    )
    deadline = time.monotonic() + 100
    while not (into / "log.jsonl").is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told.decode()
    assert "the same command goes on from there" in told.decode().lower()
    assert not (into / "encoder").exists()
    again = train(folder, into)
    assert again.code == 0, again.err
    for path in sorted((finished / "encoder").rglob("*")):
        if path.is_file():
            assert (into / path.relative_to(finished)).read_bytes() == path.read_bytes(), path.name


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_learn_what_one_learns(folder: Path, tmp_path: Path) -> None:
    """By gloo on the CPU, with queries that the model reads: the same log and weights to rounding, and one voice."""
    small = ("optimiser.steps=3", "validation.every=3", "query.kind=model", "query.prior=0", "query.counted=false")
    changes = [part for change in small for part in ("--set", change)]
    alone = train(folder, tmp_path / "alone", "--device", "cpu", *changes)
    assert alone.code == 0, alone.err
    together = subprocess.run(
        [*TORCHRUN, *COMMAND[1:], "train", folder / "recipe.toml", "--into", tmp_path / "both", "--device", "cpu",
         "--threads", "1", *changes],
        capture_output=True, text=True, env=environment(), timeout=500, check=False,
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    assert together.stderr.count("step 3: apart dev") == 1
    assert together.stderr.count("left out") == alone.err.count("left out") > 0
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("alone", "both")
    ]
    assert [len(log) for log in logs] == [4, 4]
    for one, two in zip(*logs, strict=True):
        for name in one.keys() - {"seconds"}:
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-4), name
    states = [load_file(tmp_path / name / "state.safetensors") for name in ("alone", "both")]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        if not name.startswith("optimiser."):
            np.testing.assert_allclose(states[1][name], value, atol=5e-4, err_msg=name)
    assert (tmp_path / "both" / "encoder").is_dir()


LABELLED = """
name = "labelled"

[model]
start = "base"
max_length = 48

[[data.corpora]]
path = "texts.jsonl"

[[data.triples]]
path = "triples.jsonl"

[[data.ids]]
path = "ids.tsv"

[[data.queries]]
path = "asked.jsonl"

[[teachers]]
kind = "scores"
path = "scores.tsv"

[loss]
kl = 0.5
info_nce = 1.0

[optimiser]
steps = 4
seeds = 2
candidates = 3
"""


@pytest.fixture(scope="module")
def labelled(folder: Path) -> Path:
    """A recipe of labels alone: triples, ids and a file of scores."""
    rows = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    triples = [{"query": "heat of a wing", "positive": rows[0]["text"], "negatives": [rows[1]["text"], "a cat"]}]
    (folder / "triples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in triples))
    asked = [{"_id": f"q{number}", "text": rows[number]["title"]} for number in range(3)]
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    names = [row["_id"] for row in rows]
    (folder / "ids.tsv").write_text("".join(f"q{place}\t{names[place]}\t{names[place + 5]}\n" for place in range(2)))
    scores = [f"q{query}\t{names[place]}\t{place % 4}" for query in range(3) for place in range(query, 9)]
    (folder / "scores.tsv").write_text("\n".join(scores))
    (folder / "bad.tsv").write_text(f"q0\t{names[0]}\nq1\tnowhere\n")
    (folder / "labelled.toml").write_text(LABELLED)
    return folder


def test_labels_alone_train(labelled: Path, tmp_path: Path) -> None:
    done = train(labelled, tmp_path / "run", recipe="labelled.toml")
    assert done.code == 0, done.err
    assert "1 triple, 1 question, 2 ids" in done.err
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(records) == 4
    assert any(record["info_nce"] > 0 for record in records)
    assert all(record["kl"] > 0 for record in records)
    assert (tmp_path / "run" / "encoder").is_dir()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.ids.0.path=bad.tsv", "bad.tsv, line 2: there is no document 'nowhere'"),
        ("teachers.0.path=empty.tsv", "empty.tsv is empty"),
        ('teachers=[{kind="cross-encoder", model="base"}]', "is not a cross-encoder"),
    ],
)
def test_labels_that_cannot_be_followed(labelled: Path, tmp_path: Path, change: str, said: str) -> None:
    (labelled / "empty.tsv").write_text("")
    done = train(labelled, tmp_path / "run", "--set", change, recipe="labelled.toml")
    assert done.code == 1
    assert said in done.err
    assert "traceback" not in done.err.lower()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--set", "optimiser.step=3"), "did you mean 'steps'"),
        (("--set", "data.corpora.0.path=none.jsonl"), "none.jsonl"),
        (("--set", "data.corpora.0.path=empty.jsonl"), "is empty: it holds not one row"),
        (("--set", "data.corpora.0.path=broken.jsonl"), "line 2"),
        (("--set", "data.pairs.0.path=texts.jsonl"), "has no query"),
        (("--set", 'validation.sets=["apart:test"]'), "is a test split"),
        (("--set", "model.start=nowhere/at all"), "there is no folder"),
        (("--set", "model.start=dense", "--set", "query.kind=lerned"), "did you mean 'learned'"),
    ],
)
def test_what_cannot_be_followed_is_told_before_training(
    folder: Path, tmp_path: Path, change: tuple[str, ...], said: str
) -> None:
    (folder / "empty.jsonl").write_text("")
    (folder / "broken.jsonl").write_text('{"text": "one"}\n{"text": \n')
    done = train(folder, tmp_path / "run", *change)
    assert done.code in {1, 2}
    assert said in done.err.lower()
    assert "traceback" not in done.err.lower()
    assert len(done.err.strip().splitlines()) <= 4
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_a_run_of_another_recipe_is_not_continued(folder: Path, finished: Path) -> None:
    done = train(folder, finished, "--set", "loss.scale=20")
    assert done.code == 1
    assert "another recipe" in done.err


LATENTS = """
name = "latents"
[model]
start = "dense"
max_length = 48
[latents]
count = 48
k = [4, 8]
[[data.corpora]]
path = "texts.jsonl"
pseudo = ["title", "keywords"]
[optimiser]
steps = 12
batch = 16
[validation]
sets = ["apart:dev"]
every = 6
documents = 30
queries = 5
"""


def test_latents_of_a_dense_model(folder: Path, tmp_path: Path) -> None:
    (folder / "latents.toml").write_text(LATENTS)
    done = train(folder, tmp_path / "run", recipe="latents.toml")
    assert done.code == 0, done.err
    assert "step 6: apart dev, 4 latents" in done.err
    assert "12 steps, the best at step " in done.err
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, 13))
    assert all(record["active"] <= 8 for record in records if "loss" in record)
    assert (tmp_path / "run" / "curves.html").read_text().count("<svg") >= 4
    again = train(folder, tmp_path / "run", recipe="latents.toml")  # nothing is left to do, and the encoder is the same
    assert again.code == 0, again.err
    index = ("index", CRANFIELD / "corpus.jsonl", "--into", tmp_path / "a.index", "--dense", "none")
    indexed = run(*index, "--encoder", tmp_path / "run" / "encoder")
    assert indexed.code == 0, indexed.err
    found = run("search", tmp_path / "a.index", "boundary layer", "--json", "--explain")
    assert found.code == 0, found.err
    assert "latent:" in json.dumps(found.json["hits"][0])
    torchrun = run("train", folder / "latents.toml", "--set", "latents.kk=1")
    assert torchrun.code != 0
    assert "did you mean 'k'" in torchrun.err.lower()


def test_latents_of_the_tokens_of_a_dense_model(folder: Path, tmp_path: Path) -> None:
    text = LATENTS.replace("[latents]", '[latents]\nof = "tokens"\ndocument_terms = 30\nquery_terms = 10')
    (folder / "latent_terms.toml").write_text(text)
    done = train(folder, tmp_path / "run", recipe="latent_terms.toml")
    assert done.code == 0, done.err
    assert "token states, " in done.err
    assert "step 6: apart dev, 4 latents a token" in done.err
    described = json.loads((tmp_path / "run" / "encoder" / "lexhound_encoder.json").read_text())
    assert described["document"]["top_k"] == 30
    assert described["document"]["saturation"]["length"] > 0
    assert described["query"]["query_top_k"] == 10
    index = ("index", CRANFIELD / "corpus.jsonl", "--into", tmp_path / "a.index", "--dense", "none")
    indexed = run(*index, "--encoder", tmp_path / "run" / "encoder")
    assert indexed.code == 0, indexed.err
    found = run("search", tmp_path / "a.index", "boundary layer", "--json", "--explain")
    assert found.code == 0, found.err
    (first, *_) = found.json["hits"][0]["contributions"]
    assert first["term"].startswith("latent:")
    assert len(first["term"].split()) > 1  # the words that excite it
    assert "(latent of both)" in run("search", tmp_path / "a.index", "boundary layer", "--explain").out


def test_latents_beside_the_words_of_a_sparse_encoder(folder: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(folder / "base", tmp_path / "base"))
    described = {
        "format": 1,
        "document": {"kind": "mlm", "dense": "mean"},
        "query": {"kind": "table", "weights": "idf.json"},
    }
    (base / "lexhound_encoder.json").write_text(json.dumps(described))
    (base / "idf.json").write_text(json.dumps({"boundary": 2.0, "layer": 1.5, "flow": 1.0}))
    text = LATENTS.replace("[latents]", '[latents]\nof = "tokens"\nwords = true\nweight = 0.5\ndocument_terms = 30')
    text = text.replace('start = "dense"', f'start = "{base}"')
    (folder / "beside.toml").write_text(text)
    done = train(folder, tmp_path / "run", recipe="beside.toml")
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "run" / "encoder" / "lexhound_encoder.json").read_text())
    assert written["document"]["kind"] == "mlm"
    assert written["query"]["latent_weight"] == 0.5
    index = ("index", CRANFIELD / "corpus.jsonl", "--into", tmp_path / "a.index")
    indexed = run(*index, "--encoder", tmp_path / "run" / "encoder", "--dense", tmp_path / "run" / "encoder")
    assert indexed.code == 0, indexed.err
    found = run("search", tmp_path / "a.index", "boundary layer", "--mode", "sparse", "--json", "--explain")
    assert found.code == 0, found.err
    terms = {each["term"].split()[0] for hit in found.json["hits"] for each in hit["contributions"]}
    assert "boundary" in terms
    assert any(term.startswith("latent:") for term in terms)
    alone = run("train", folder / "beside.toml", "--set", "latents.of=texts", "--into", tmp_path / "other")
    assert alone.code != 0
    assert "latents.words is of latents of tokens" in alone.err
    wordless = run("train", folder / "beside.toml", "--set", "model.start=dense", "--into", tmp_path / "other")
    assert wordless.code != 0
    assert "has no words to keep beside latents" in wordless.err


@pytest.mark.parametrize("recipe", ["recipe.toml", "latents.toml"])
def test_without_torch_the_extra_is_named(folder: Path, tmp_path: Path, recipe: str) -> None:
    (folder / "latents.toml").write_text(LATENTS)
    script = (
        "import sys; sys.modules['torch'] = None; from lexhound.serve.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "train", folder / recipe, "--into", tmp_path / "run"],
        capture_output=True, text=True, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'lexhound[neural]'" in done.stderr
    assert "fault" not in done.stderr
