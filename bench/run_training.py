"""How fast encoders are trained, and in how much memory, beside sentence-transformers' SparseEncoderTrainer.

    pip install 'sentence-transformers[train]'
    python bench/run_training.py --steps 3

Every system begins with the same checkpoint (`lexhound-mini`, the size of MiniLM) and takes steps of the same shape: so
many queries, each with one positive and hard negatives, documents of exactly `--tokens` tokens, InfoNCE over all of the
step's documents plus FLOPS, AdamW, float32, no dropout. Each runs in a process of its own; the first step warms up and
is left out. Memory is the largest resident set of the process, libraries included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from common.machine import describe_machine
from common.processes import run_process

SAMPLE = Path(__file__).parents[1] / "samples" / "cranfield"
START = "lexhound-mini"
SYSTEMS = {
    "lexhound, inference-free, sampled columns": ("ours", "idf", False),
    "lexhound, inference-free, all columns": ("ours", "idf", True),
    "sentence-transformers, inference-free": ("theirs", "idf", True),
    "lexhound, SPLADE": ("ours", "model", True),
    "sentence-transformers, SPLADE": ("theirs", "model", True),
}
PEER = ("sentence_transformers", "datasets", "accelerate")  # what sentence-transformers needs to train
_WEIGHT = 0.05  # of FLOPS


def texts_of(model: Any, count: int, tokens: int) -> list[str]:
    """Return documents of exactly so many tokens, special ones included, made of the sample's; none twice."""
    rows = [json.loads(line) for line in (SAMPLE / "corpus.jsonl").read_text().splitlines()]
    words = " ".join(row["text"] for row in rows).split()
    found: list[str] = []
    place = 0
    while len(found) < count:
        own = words[place : place + tokens]
        place += tokens
        if len(own) < tokens:
            raise SystemExit("the sample is too small for so many steps")
        if len(model.ids(" ".join(own))) >= tokens - 2:  # cut to the limit when it is read
            found.append(" ".join(own))
    return found


def queries_of(documents: list[str]) -> list[str]:
    """Return eight words of each document."""
    return [" ".join(text.split()[5:13]) for text in documents]


def run_ours(kind: str, every_column: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Train some steps; returns the seconds of each."""
    from lexhound.training.data.examples import TrainingSet
    from lexhound.training.data.training_set import idf_of
    from lexhound.training.loop import Trainer
    from lexhound.training.model import ModelSettings, TrainableEncoder
    from lexhound.training.recipe import (
        DataRecipe,
        LossRecipe,
        ModelRecipe,
        OptimiserRecipe,
        QueryRecipe,
        Recipe,
        SparsityRecipe,
    )

    model = TrainableEncoder(ModelSettings(START, options.tokens))
    seeds = options.queries * (options.steps + 1)
    documents = texts_of(model.subwords, seeds * options.documents, options.tokens)
    token_ids = model.token_ids(documents)
    own = np.arange(seeds, dtype=np.int32) * options.documents
    asked = model.token_ids(queries_of([documents[place] for place in own]), 64)
    terms = [np.unique(text_ids)[model.terms[np.unique(text_ids)]].astype(np.int32) for text_ids in asked]
    candidates = own[:, None] + np.arange(options.documents, dtype=np.int32)[None]
    training = TrainingSet(
        token_ids,
        terms,
        own,
        candidates,
        np.arange(seeds),
        [],
        idf_of(token_ids, model),
        asked if kind == "model" else (),
    )
    columns = model.vocabulary_size if every_column else SparsityRecipe().frequent
    recipe = Recipe(
        ModelRecipe(START, options.tokens),
        DataRecipe(),
        (),
        query=QueryRecipe(kind, sparsity=_WEIGHT),
        loss=LossRecipe(kl=0.0, info_nce=1.0),
        sparsity=SparsityRecipe(weight=_WEIGHT, frequent=columns),
        optimiser=OptimiserRecipe(
            steps=options.steps + 1, seeds=options.queries, candidates=options.documents, own_queries=0
        ),
    )
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, average=0.0))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, training, recipe, Path(folder))
        trainer.run(save_every=1e9)
        records = trainer.log.read()
    return {"seconds": [record["seconds"] for record in records], "active": records[-1]["active"]}


def run_theirs(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """The same with sentence-transformers."""
    import torch
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
    from transformers import TrainerCallback

    from lexhound.encoders.checkpoints.hub import locate
    from lexhound.encoders.text.subwords import Subwords

    folder = locate(START).folder
    inner = next(folder.rglob("document_0_MLMTransformer"), None) or next(folder.rglob("model.safetensors")).parent
    if kind == "idf":
        model = SparseEncoder(str(folder), device="cpu")
    else:
        model = SparseEncoder(modules=[MLMTransformer(str(inner)), SpladePooling("max")], device="cpu")
    model.float()
    model.max_seq_length = options.tokens
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    seeds = options.queries * (options.steps + 1)
    documents = texts_of(Subwords.open(inner), seeds * options.documents, options.tokens)
    firsts = documents[:: options.documents]
    columns = {"query": queries_of(firsts), "positive": firsts}
    for number in range(1, options.documents):
        columns[f"negative_{number}"] = documents[number :: options.documents]
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(perf_counter() - self.started)

    # With a fingerprint of its own: computing one fails with some versions of pyarrow.
    rows = Dataset(InMemoryTable.from_pydict(columns), fingerprint="benchmark")
    routes = {name: "query" if name == "query" else "document" for name in columns}
    with tempfile.TemporaryDirectory() as place:
        arguments = SparseEncoderTrainingArguments(
            place,
            max_steps=options.steps + 1,
            per_device_train_batch_size=options.queries,
            learning_rate=1e-5,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            router_mapping=routes if kind == "idf" else {},
        )
        inference_free = kind == "idf"
        loss = SpladeLoss(
            model,
            SparseMultipleNegativesRankingLoss(model),
            document_regularizer_weight=_WEIGHT,
            query_regularizer_weight=None if inference_free else _WEIGHT,
            use_document_regularizer_only=inference_free,
        )
        SparseEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=loss, callbacks=[Clock()]).train()
    return {"seconds": seconds, "lengths": model.max_seq_length}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="after the one that warms up")
    parser.add_argument("--queries", type=int, default=4, help="a step")
    parser.add_argument("--documents", type=int, default=8, help="of each query: one positive, the others negatives")
    parser.add_argument("--tokens", type=int, default=128, help="of a document")
    parser.add_argument("--threads", type=int, default=0, help="0 for all cores")
    parser.add_argument("--only", action="append", choices=list(SYSTEMS))
    parser.add_argument("--one", choices=list(SYSTEMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        import torch

        torch.manual_seed(1)
        if options.threads:
            torch.set_num_threads(options.threads)
        who, kind, every_column = SYSTEMS[options.one]
        print(json.dumps(run_ours(kind, every_column, options) if who == "ours" else run_theirs(kind, options)))
        return
    passages = options.queries * options.documents
    machine = describe_machine()
    print(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.1f} at the start\n", flush=True)
    print(
        f"{options.queries} queries and {passages} documents of {options.tokens} tokens a step, {options.steps} steps\n"
    )
    print("| system | passages/s | seconds a step, from, to | peak memory |\n| --- | --- | --- | --- |", flush=True)
    for name in options.only or SYSTEMS:
        given = [f"--{key}={getattr(options, key)}" for key in ("steps", "queries", "documents", "tokens", "threads")]
        absent = [package for package in PEER if SYSTEMS[name][0] == "theirs" and find_spec(package) is None]
        if absent:
            print(f"| {name} | missing: {', '.join(absent)} | | |", flush=True)
            continue
        cost = run_process([sys.executable, __file__, "--one", name, *given])
        seconds = json.loads(cost.output.splitlines()[-1])["seconds"][1:]
        each = f"{median(seconds):.2f} s, {min(seconds):.2f}, {max(seconds):.2f}"
        print(f"| {name} | {passages / median(seconds):.1f} | {each} | {cost.peak_bytes / 2**30:.2f} GiB |", flush=True)


if __name__ == "__main__":
    main()
