"""Judged sets that tell a training run how good its model has become: small enough to be encoded every few minutes.

Scores are exact products of vectors, without an index. A set may be cut to some documents, the judged ones first: its
figures then tell checkpoints apart, and are not to be compared with those of the whole set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.runtime.token_pooling import unit
from lexhound.encoders.sparse.live_idf import live_idf
from lexhound.retrieval.collection.query.fusion import FieldScores, fuse
from lexhound.retrieval.collection.request import Fusion
from lexhound.retrieval.corpus import BadRow, open_corpus

from .datasets import Dataset, open_dataset
from .errors import DatasetError
from .measures import score_run
from .runs import Run

if TYPE_CHECKING:
    from lexhound.encoders.latent.autoencoder import Autoencoder
    from lexhound.encoders.sparse.exact_terms import ExactTermBoost
    from lexhound.training.latents.loop import Validate as Latents
    from lexhound.training.latents.recipe import LatentRecipe
    from lexhound.training.latents.vectors import FrozenModel
    from lexhound.training.loop import Encode, Validate
    from lexhound.training.model import TrainableEncoder
    from lexhound.training.recipe import Recipe

MEASURE = "nDCG@10"
_DEPTH = 100
_RELEVANT = 0.6  # of the documents of a cut set, at most

EncodeQueries = Callable[["ValidationSet", csr_array], tuple[csr_array, "NDArray[np.float32] | None"]]
"""A set, and the vectors of its documents, on which weights may depend -> float32[queries, vocabulary], and their mean
states, float32[queries, width], where hybrid searches are to be measured too."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSet:
    """One judged set in memory.

    Attributes:
        name: what figures are called by.
        document_ids, documents: aligned.
        queries: query id -> text, the judged ones.
        qrels: query id -> document id -> relevance, of the documents that are kept.
    """

    name: str
    document_ids: list[str]
    documents: list[str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    def measure(self, documents: csr_array, queries: csr_array) -> float:
        """Return nDCG@10 of the products of vectors.

        Args:
            documents: sparse[documents, vocabulary]; queries: sparse[queries, vocabulary], in the order of `queries`.
        """
        scores: NDArray[np.float32] = (queries @ documents.T).toarray()
        rankings = {}
        for query, row in zip(self.queries, scores, strict=True):
            order = np.argsort(-row, kind="stable")[:_DEPTH]
            rankings[query] = [
                (self.document_ids[position], float(row[position])) for position in order if row[position] > 0
            ]
        return self._measured(rankings)

    def measure_hybrid(
        self,
        documents: csr_array,
        queries: csr_array,
        document_states: NDArray[np.float32],
        query_states: NDArray[np.float32],
    ) -> float:
        """Return nDCG@10 of both fused, as a hybrid search does by default.

        Args:
            documents, queries: as of `measure`; document_states, query_states: float32[documents and queries, width],
                whose cosines are the dense side.
        """
        sparse = (queries @ documents.T).toarray().astype(np.float64)
        dense = (unit(query_states) @ unit(document_states).T).astype(np.float64)
        fusion = Fusion()
        rankings = {}
        for query, terms, cosines in zip(self.queries, sparse, dense, strict=True):
            found = np.argsort(-terms, kind="stable")[: fusion.depth]
            near = np.argsort(-cosines, kind="stable")[: fusion.depth]
            candidates = np.union1d(found[terms[found] > 0], near)
            sides = [
                FieldScores("sparse", terms[candidates], terms[candidates] > 0, float(terms.max(initial=0.0))),
                FieldScores("dense", cosines[candidates], np.ones(len(candidates), bool), 1.0),
            ]
            scores, _ = fuse(fusion, sides)
            order = np.argsort(-scores, kind="stable")[:_DEPTH]
            rankings[query] = [(self.document_ids[candidates[place]], float(scores[place])) for place in order]
        return self._measured(rankings)

    def _measured(self, rankings: dict[str, list[tuple[str, float]]]) -> float:
        return score_run(Run("model", rankings), self.qrels, [MEASURE])[0].mean


def open_validation_set(name: str, documents: int, queries: int, seed: int = 0) -> ValidationSet:
    """Read a set named as "folder:split".

    Args:
        documents: how many are kept, drawn at random, at most six tenths of them relevant to a kept query; 0 for all.
        queries: how many are drawn at random; 0 for all.

    Raises:
        DatasetError: it cannot be read; or it is a test split, which may not choose anything.
    """
    folder, _, split = name.rpartition(":")
    if not folder:
        hint = "Write it as folder:split, such as scifact:train"
        raise DatasetError(f"the validation set {name} names no split", hint)
    if split in ("", "test"):
        raise DatasetError(f"{name} is a test split", "Choose settings on train or dev; test is for reporting")
    (dataset,) = open_dataset(folder, split=split)
    random = np.random.default_rng(seed)
    judged = [query for query in dataset.qrels if any(value > 0 for value in dataset.qrels[query].values())]
    judged = _drawn(judged, queries or len(judged), random)
    relevant = {key for query in judged for key, value in dataset.qrels[query].items() if value > 0}
    texts = _texts(dataset)
    count = documents or len(texts)
    # Some documents must be beside the point, however many are relevant.
    sample = set(_drawn([key for key in texts if key in relevant], max(1, round(_RELEVANT * count)), random))
    sample |= set(_drawn([key for key in texts if key not in relevant], count - len(sample), random))
    qrels = {query: {key: value for key, value in dataset.qrels[query].items() if key in sample} for query in judged}
    qrels = {query: grades for query, grades in qrels.items() if any(value > 0 for value in grades.values())}
    listed = sorted(sample)
    return ValidationSet(
        f"{Path(folder).name} {split}",
        listed,
        [texts[key] for key in listed],
        {query: dataset.queries[query] for query in qrels},
        qrels,
    )


def _drawn(items: list[str], count: int, random: np.random.Generator) -> list[str]:
    """Return `count` of the items, drawn at random, in their order; all where there are no more."""
    if count >= len(items):
        return items
    return [items[position] for position in sorted(random.choice(len(items), max(0, count), replace=False).tolist())]


def _texts(dataset: Dataset) -> dict[str, str]:
    """Return every document's title and text as encoders see them."""
    texts = {}
    for row in open_corpus(dataset.require_corpus()):
        if isinstance(row, BadRow):
            raise DatasetError(f"{row.where}: {row.reason}", row.hint)
        texts[row.id] = row.encoded_text
    return texts


def validate(
    sets: Sequence[ValidationSet],
    encode: Encode,
    encode_queries: EncodeQueries,
    max_length: int,
) -> dict[str, float]:
    """Return each set's nDCG@10, and that of hybrid searches where queries have states."""
    measured = {}
    for each in sets:
        documents, document_states = encode(each.documents, max_length)
        queries, query_states = encode_queries(each, documents)
        measured[each.name] = each.measure(documents, queries)
        if query_states is not None:
            found = each.measure_hybrid(documents, queries, document_states, query_states)
            measured[f"{each.name}, hybrid"] = found
    return measured


def validator(sets: Sequence[ValidationSet], model: TrainableEncoder, recipe: Recipe) -> Validate:
    """Return what a training run calls to measure its model: queries are made as the recipe says they are in use."""
    rule, length = recipe.exact_terms.boost, recipe.validation.max_length

    def run(encode: Encode, table: NDArray[np.float32]) -> dict[str, float]:
        def documents(texts: list[str], max_length: int) -> tuple[csr_array, NDArray[np.float32]]:
            vectors, states = encode(texts, max_length)
            if rule is not None:
                vectors = with_exact_terms(vectors, model.token_ids(texts, max_length), rule)
            return vectors, states

        def queries(each: ValidationSet, vectors: csr_array) -> tuple[csr_array, NDArray[np.float32] | None]:
            asked = query_vectors(each, vectors, model, recipe, table)
            if not recipe.loss.hybrid:
                return asked, None
            return asked, encode([*each.queries.values()], recipe.query.max_length)[1]

        return validate(sets, documents, queries, length)

    return run


def query_vectors(
    each: ValidationSet, documents: csr_array, model: TrainableEncoder, recipe: Recipe, table: NDArray[np.float32]
) -> csr_array:
    """Return a set's queries as the recipe says they are in use, float32[queries, vocabulary].

    Args:
        documents: the vectors that are searched. table: float32[vocabulary], the query side's weights.
    """
    settings, texts = recipe.query, list(each.queries.values())
    if settings.kind == "model":
        return model.encode(model.token_ids(texts, settings.max_length))
    rows = [np.unique(text_ids, return_counts=True) for text_ids in model.token_ids(texts, settings.max_length)]
    starts = np.concatenate([[0], np.cumsum([len(row) for row, _ in rows])])
    terms, counts = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
    weights = table[terms]
    if settings.prior:
        # Written words themselves where the encoder will estimate how many documents have them.
        token_ids = [np.unique(text_ids) for text_ids in model.token_ids(each.documents, recipe.validation.max_length)]
        document_terms = (
            np.concatenate([np.empty(0, np.int32), *token_ids]) if settings.surface_match else documents.indices
        )
        held = np.bincount(document_terms, minlength=len(table))[terms]
        known = weights > 0
        weights[known] = live_idf(weights[known], held[known], documents.shape[0], settings.prior)
    if settings.common:
        weights = _without_common(weights, starts, -math.log(settings.common))
    if settings.counted:
        weights = weights * counts**settings.power
    vectors = csr_array((weights.astype(np.float32), terms, starts), shape=(len(texts), len(table)))
    vectors.eliminate_zeros()
    return vectors


def with_exact_terms(vectors: csr_array, token_ids: list[NDArray[np.int32]], rule: ExactTermBoost) -> csr_array:
    """Return documents' vectors with the weights of their own words added."""
    boosts = [rule.weights(text_ids) for text_ids in token_ids]
    starts = np.concatenate([[0], np.cumsum([len(terms) for terms, _ in boosts])])
    terms, weights = (np.concatenate([np.empty(0), *(row[part] for row in boosts)]) for part in (0, 1))
    return csr_array(
        vectors + csr_array((weights.astype(np.float32), terms.astype(np.int32), starts), shape=vectors.shape)
    )


def _without_common(weights: NDArray[np.float32], starts: NDArray[np.int64], least: float) -> NDArray[np.float32]:
    """Return weights with those below `least` put to 0, but for queries that have no others."""
    remaining = weights.copy()
    for start, end in itertools.pairwise(starts.tolist()):
        row = remaining[start:end]
        if (row > least).any():
            row[row <= least] = 0.0
    return remaining


def latent_validator(sets: Sequence[ValidationSet], model: FrozenModel, recipe: LatentRecipe, cache: Path) -> Latents:
    """Return what a run of latents calls to measure its autoencoder, for each k that it is trained for.

    Args:
        model: whose vectors of the sets are computed once; cache: the folder in which they are kept.
    """
    from lexhound.encoders.latent.autoencoder import LatentActivations
    from lexhound.encoders.vector_files import stacked

    documents = [model.documents.encode(each.documents, cache=cache) for each in sets]
    queries = [model.queries.encode([*each.queries.values()], cache=cache) for each in sets]

    def run(autoencoder: Autoencoder) -> dict[str, float]:
        latents, measured = LatentActivations(autoencoder), {}
        for each, *sides in zip(sets, documents, queries, strict=True):
            for k in sorted(set(recipe.latents.k)):
                found = [stacked(latents.largest(side, k), autoencoder.latents) for side in sides]
                measured[f"{each.name}, {k} latents"] = each.measure(*found)
        return measured

    return run


def latent_terms_validator(
    sets: Sequence[ValidationSet], model: FrozenModel, recipe: LatentRecipe, cache: Path
) -> Latents:
    """Return what a run of latents of tokens calls to measure its autoencoder, for each k that it is trained for.

    Documents and queries keep as many latents as the recipe says; idf is the set's own.

    Args:
        model: whose states of the sets' tokens are computed once; cache: the folder in which they are kept.
    """
    from lexhound.encoders.latent.autoencoder import LatentActivations
    from lexhound.encoders.latent.token_latents import LatentSaturation, summed_latents
    from lexhound.encoders.runtime.int16.kernels import available
    from lexhound.encoders.sparse.pruning import prune
    from lexhound.encoders.vector_files import stacked

    documents = [model.states(each.documents, cache) for each in sets]
    queries = [model.states([*each.queries.values()], cache) for each in sets]

    def run(autoencoder: Autoencoder) -> dict[str, float]:
        latents, measured = LatentActivations(autoencoder, integers=available()), {}
        for each, *sides in zip(sets, documents, queries, strict=True):
            for k in sorted(set(recipe.latents.k)):
                kept = [
                    [
                        prune(*vector, most, 0.0)
                        for vector in summed_latents(latents, side.states, side.lengths.tolist(), k)
                    ]
                    for side, most in zip(
                        sides, (recipe.latents.document_terms, recipe.latents.query_terms), strict=True
                    )
                ]
                length = float(np.mean([weights.sum() for _, weights in kept[0]]))
                found = [(ids, LatentSaturation(length).weights(weights)) for ids, weights in kept[0]]
                rows = stacked(found, autoencoder.latents)
                frequencies = np.bincount(rows.indices, minlength=autoencoder.latents)
                idf = -np.log((frequencies + 0.5) / (rows.shape[0] + 1)).astype(np.float32)
                asked = stacked([(ids, weights * idf[ids]) for ids, weights in kept[1]], autoencoder.latents)
                measured[f"{each.name}, {k} latents a token"] = each.measure(rows, asked)
        return measured

    return run
