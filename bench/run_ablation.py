"""What each part of a training recipe brings: short runs that differ in one thing, over the same data, in one process.

    python bench/run_ablation.py recipe.toml --into ablation --set optimiser.steps=60

Every run starts from the same closed-form head and draws the same batches. The figures are those of the recipe's
validation sets (never a test split); so that vectors of different density can be compared, every run's vectors are also
cut to the same FLOPS: each document keeps its heaviest terms, as many as bring the mean to that of the sparsest run.
Runs of some dozens of steps tell parts apart only where they differ by more than repeated runs do; the first variant is
run twice, with other batches, to show by how much.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from lexhound.encoders.sparse.pruning import prune
from lexhound.encoders.vector_files import stacked
from lexhound.eval.validation import ValidationSet, open_validation_set, query_vectors, with_exact_terms
from lexhound.training.data.examples import TrainingSet
from lexhound.training.data.pool import read_pool
from lexhound.training.data.training_set import prepare
from lexhound.training.initialization import solve_head
from lexhound.training.loop import Trainer
from lexhound.training.model import ModelSettings, TrainableEncoder
from lexhound.training.recipe import ExactTermRecipe, QueryRecipe, Recipe
from lexhound.training.recipe_file import read_recipe

Change = Callable[[Recipe], Recipe]


def variants() -> dict[str, Change]:
    """Each variant's name and what it changes of the recipe."""

    def sparsity(kind: str) -> Change:
        return lambda recipe: replace(recipe, sparsity=replace(recipe.sparsity, kind=kind))

    def loss(**values: float) -> Change:
        return lambda recipe: replace(recipe, loss=replace(recipe.loss, **values))

    return {
        "the recipe": lambda recipe: recipe,
        "the recipe, other batches": lambda recipe: replace(recipe, seed=recipe.seed + 1),
        "plain FLOPS": sparsity("flops"),
        "BM25 as the only teacher": lambda recipe: recipe,
        "the dense teacher alone": lambda recipe: recipe,
        "InfoNCE, no teachers": loss(kl=0.0, margin_mse=0.0, info_nce=1.0),
        "without the dense teacher's terms": loss(terms=0.0),
        "without keeping a document's own terms": loss(keep=0.0),
        "learned idf": lambda recipe: replace(recipe, query=replace(recipe.query, kind="learned")),
        "without the boost of exact terms": lambda recipe: replace(recipe, exact_terms=ExactTermRecipe()),
        "queries by the table alone": lambda recipe: replace(recipe, query=QueryRecipe(counted=recipe.query.counted)),
    }


def teachers_of(name: str, training: TrainingSet, recipe: Recipe) -> TrainingSet:
    """Return the training set with the teachers that a variant hears."""
    kind = {"BM25 as the only teacher": "bm25", "the dense teacher alone": "dense"}.get(name)
    if kind is None:
        return training
    teachers = [heard for heard, told in zip(training.teachers, recipe.teachers, strict=True) if told.kind == kind]
    return replace(training, teachers=teachers)


def density(vectors: csr_array, queries: csr_array) -> tuple[float, float]:
    """Return active terms a document, and FLOPS: the sum over terms of the shares of documents and queries with it."""
    held = np.bincount(vectors.indices, minlength=vectors.shape[1]) / vectors.shape[0]
    asked = np.bincount(queries.indices, minlength=queries.shape[1]) / queries.shape[0]
    return vectors.nnz / vectors.shape[0], float(held @ asked)


def cut(vectors: csr_array, top_k: int) -> csr_array:
    """Keep every document's heaviest terms."""
    bounds = zip(vectors.indptr[:-1], vectors.indptr[1:], strict=True)
    rows = [prune(vectors.indices[a:b].astype(np.int32), vectors.data[a:b], top_k, 0.0) for a, b in bounds]
    return stacked(rows, vectors.shape[1])


class Measured:
    """Keeps the vectors that a validation makes, so that they can be measured again after being cut."""

    def __init__(self, sets: list[ValidationSet], model: TrainableEncoder, recipe: Recipe, table: Any) -> None:
        self._sets, self._model, self._recipe, self._table = sets, model, recipe, table
        self.vectors: dict[str, csr_array] = {}

    def encode(self) -> None:
        for each in self._sets:
            token_ids = self._model.token_ids(each.documents, self._recipe.validation.max_length)
            vectors = self._model.encode(token_ids)
            rule = self._recipe.exact_terms.boost
            self.vectors[each.name] = vectors if rule is None else with_exact_terms(vectors, token_ids, rule)

    def figures(self, top_k: int | None = None) -> dict[str, tuple[float, float, float]]:
        """Return each set's nDCG@10, active terms and FLOPS."""
        found = {}
        for each in self._sets:
            vectors = self.vectors[each.name]
            kept = vectors if top_k is None else cut(vectors, top_k)

            queries = query_vectors(each, kept, self._model, self._recipe, self._table)
            found[each.name] = (each.measure(kept, queries), *density(kept, queries))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--into", type=Path, default=Path("ablation"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", action="append", help="a variant by name; may be repeated")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe, arguments.set)
    validation = recipe.validation
    sets = [
        open_validation_set(f"{recipe.path(folder)}:{split}", validation.documents, validation.queries, recipe.seed)
        for folder, _, split in (name.rpartition(":") for name in validation.sets)
    ]
    torch.manual_seed(recipe.seed)
    settings = ModelSettings(recipe.model_path(recipe.model.start), recipe.model.max_length, recipe.model.activation)
    model = TrainableEncoder(settings)
    training = prepare(recipe, read_pool(recipe), model, arguments.into / "teachers", lambda *_: None)
    if not model.has_head:
        documents = training.documents
        solve_head(
            model,
            documents[:: max(1, len(documents) // 1500)][:1500],
            own=recipe.model.own,
            absent_quantile=recipe.model.absent_quantile,
        )
    start = copy.deepcopy(model.state_dict())
    arguments.into.mkdir(parents=True, exist_ok=True)
    report = arguments.into / "ablation.jsonl"
    measured: dict[str, Measured] = {}
    for name, change in {"no training": lambda recipe: recipe, **variants()}.items():
        if arguments.only and name not in arguments.only:
            continue
        model.load_state_dict(start)
        changed = change(recipe)
        own = teachers_of(name, training, recipe)
        folder = arguments.into / name.replace(" ", "-").replace(",", "").replace("'", "")
        trainer = Trainer(model, own, changed, folder)
        if name != "no training":
            trainer.run()
        measured[name] = Measured(sets, model, changed, trainer.table())
        measured[name].encode()
        figures = measured[name].figures()
        print(name, {key: [round(value, 4) for value in values] for key, values in figures.items()}, flush=True)
        with report.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"variant": name, "figures": figures}) + "\n")
    print("\ncut to the FLOPS of the sparsest")
    for each in sets:
        wanted = min(one.figures()[each.name][2] for one in measured.values())
        for name, one in measured.items():
            low, high = 1, max(1, int(np.diff(one.vectors[each.name].indptr).max()))
            while low < high:
                middle = (low + high + 1) // 2
                if one.figures(middle)[each.name][2] <= wanted * 1.001:
                    low = middle
                else:
                    high = middle - 1
            value, active, flops = one.figures(low)[each.name]
            print(f"{each.name:20} {name:40} nDCG@10 {value:.4f}  active {active:.0f}  FLOPS {flops:.2f}", flush=True)


if __name__ == "__main__":
    main()
