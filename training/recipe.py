"""A recipe: everything a training run does, as a TOML file of tables with fixed keys.

docs/training.md explains each key. Types and ranges stand beside the keys; `recipe_file` reads the file and turns what
they refuse into messages. This module needs no torch: a wrong recipe is told before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass

from lexhound.encoders.sparse.exact_terms import ExactTermBoost

from .recipe_folder import InFolder

Whole = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(ge=1)]
Number = Annotated[float, Strict()]
Weight = Annotated[float, Strict(), Field(ge=0)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
Flag = Annotated[bool, Strict()]
PseudoKind = Literal["title", "sentence", "span", "keywords"]

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, config=_CONFIG)
class ModelRecipe:
    """The document encoder.

    Attributes:
        start: folder or hub name of a checkpoint: a masked language model, or a backbone without a head.
        max_length: longest document in tokens while training.
        activation: from logits to weights.
        frozen_layers: how many of the lowest layers stay as they are; each makes a step cheaper.
        own: of a head solved in closed form, how far a document's own tokens lie above the threshold, in logits.
        absent_quantile: of a head solved in closed form, the share of documents that leave out a term they lack.
        top_k: how many terms a document keeps where the encoder is used; 0 for all.
        dense: keep the mean-pooled vector of the same pass near the first dense teacher's, with this weight; 0 for not.
    """

    start: str
    max_length: Annotated[int, Strict(), Field(ge=8)] = 128
    activation: Literal["relu", "log1p_relu", "log1p_log1p_relu", "sqrt_relu"] = "log1p_relu"
    frozen_layers: Whole = 0
    own: Number = 5.0
    absent_quantile: Share = 0.98
    dense: Weight = 0.0
    top_k: Whole = 0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class QueryRecipe:
    """The query encoder: a table of one weight a token, or the document encoder's own model.

    Attributes:
        kind: "idf", a fixed table; "learned", a table that starts from it; or "model", queries that are read by the
            model that reads documents and become terms as these do (SPLADE).
        sparsity: of "model", the weight of the FLOPS of queries at the end of the ramp.
        learning_rate: of a learned table; far higher than a model's, as each weight is seen in few steps.
        max_length: longest query in tokens.
        counted: whether a token that occurs n times in a query weighs n**power times as much, in validation and in use.
        power: see `counted`.
        common: leave tokens that more than this share of documents hold out of a query, where a rarer one remains, in
            validation and in use; 0 for all tokens.
        surface_match: how many documents of the pool are encoded at the end to measure each term's surface-match ratio
            (`lexhound.encoders.sparse.exact_terms`); 0 for not. Needs a prior. Called `shares` in older recipes.
        prior: how many documents the table counts for beside a collection's own frequencies, in validation and in use
            (`lexhound.encoders.sparse.live_idf`); 0 for the table as it stands.
    """

    kind: Literal["idf", "learned", "model"] = "idf"
    sparsity: Weight = 0.1
    learning_rate: Number = 0.05
    max_length: Positive = 64
    counted: Flag = False
    power: Share = 1.0
    common: Share = 0.0
    prior: Whole = 0
    surface_match: Whole = 0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class ExactTermRecipe:
    """The BM25 boost of a document's exact terms beside the model's weights (`encoders.sparse.exact_terms`), in
    training, validation and use. Called `[written]` in older recipes.

    Attributes:
        weight: of BM25's term-frequency part; 0 for none. k1, b, length: its constants.
    """

    weight: Weight = 0.0
    k1: Weight = 2.5
    b: Share = 0.75
    length: Positive = 150

    @property
    def boost(self) -> ExactTermBoost | None:
        """The boost as encoders take it; None for none."""
        return ExactTermBoost(self.weight, self.k1, self.b, self.length) if self.weight else None


@dataclass(frozen=True, slots=True, config=_CONFIG)
class CorpusRecipe:
    """Documents of the pool.

    Attributes:
        path: JSON Lines with `text` and optionally `id` and `title`.
        limit: how many are drawn at random; 0 for all.
        pseudo: kinds of queries made of them.
        per_document: how many of those a document at most.
    """

    path: str
    limit: Whole = 0
    pseudo: tuple[PseudoKind, ...] = ()
    per_document: Positive = 2


@dataclass(frozen=True, slots=True, config=_CONFIG)
class PairsRecipe:
    """Queries with the text that answers them; the texts join the pool.

    Attributes:
        path: JSON Lines with a query and a text.
        limit: how many are drawn at random; 0 for all.
        pseudo, per_document: as of a corpus.
    """

    path: str
    limit: Whole = 0
    pseudo: tuple[PseudoKind, ...] = ()
    per_document: Positive = 2


@dataclass(frozen=True, slots=True, config=_CONFIG)
class TriplesRecipe:
    """Queries with the text that answers them and others that do not; all of the texts join the pool.

    Attributes:
        path: rows with a query, a text and one or more negatives, which a step takes before other candidates.
        limit: how many are drawn at random; 0 for all.
    """

    path: str
    limit: Whole = 0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class IdsRecipe:
    """Documents of the corpora that answer the queries.

    Attributes:
        path: rows with a query's id and ids of documents: the answer first, then others that a step takes before other
            candidates.
        limit: how many are drawn at random; 0 for all.
    """

    path: str
    limit: Whole = 0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class QueriesRecipe:
    """Queries without documents; teachers find theirs in the pool, or `ids` name them.

    Attributes:
        path: JSON Lines with a query, and an id where others name it.
        limit: how many are drawn at random; 0 for all.
        leave_out: rows whose `source` starts with one of these are not read.
    """

    path: str
    limit: Whole = 0
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, config=_CONFIG)
class DataRecipe:
    """The data of a run.

    Attributes:
        exclude: BEIR folders whose queries, and documents of the same title, are kept out of training.
    """

    corpora: tuple[CorpusRecipe, ...] = ()
    pairs: tuple[PairsRecipe, ...] = ()
    triples: tuple[TriplesRecipe, ...] = ()
    ids: tuple[IdsRecipe, ...] = ()
    queries: tuple[QueriesRecipe, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, config=_CONFIG)
class TeacherRecipe:
    """One member of the ensemble (Nguyen et al. and Geng et al., SIGIR 2025: heterogeneous ensemble distillation).

    Attributes:
        kind: "bm25", "dense", "sparse", "cross-encoder", or "scores" that stand in a file.
        model: folder or hub name of those that have one.
        path: of "scores", rows with a query's id, ids of documents and their scores.
        weight: share in the average.
        normalise: what makes its scores comparable, per query.
        max_length: longest text in tokens that it reads.
    """

    kind: Literal["bm25", "dense", "sparse", "cross-encoder", "scores"]
    model: str = ""
    path: str = ""
    weight: Annotated[float, Strict(), Field(gt=0)] = 1.0
    normalise: Literal["min-max", "z-score", "none"] = "min-max"
    max_length: Positive = 128


@dataclass(frozen=True, slots=True, config=_CONFIG)
class LossRecipe:
    """Weights of the losses, each over a query's scores of the step's documents.

    Attributes:
        kl: distillation of the teachers' distribution.
        margin_mse: distillation of their margins.
        info_nce: contrast of the query's own document with the others, likely other answers left out.
        hybrid: distillation of the teachers' distribution into the fused score, sparse and dense together; queries then
            go through the model for their mean states, whatever `query.kind` is.
        scale: what teachers' averaged scores, in [0, 1], are multiplied by before the softmax.
        keep: weight of the penalty on a document's own terms that fall below `margin`, by idf.
        margin: in logits.
        terms: weight of the first dense teacher's own idea of which terms belong to a document, found by reading every
            word of the vocabulary as a query (`lexhound.training.teachers.terms`).
        false_negative: a document whose teachers' score exceeds the own document's less this is no negative.
    """

    kl: Weight = 1.0
    margin_mse: Weight = 0.0
    info_nce: Weight = 0.0
    hybrid: Weight = 0.0
    scale: Number = 30.0
    keep: Weight = 0.0
    margin: Number = 1.0
    terms: Weight = 0.0
    false_negative: Number = 0.1


@dataclass(frozen=True, slots=True, config=_CONFIG)
class SparsityRecipe:
    """The penalty that keeps vectors small.

    Attributes:
        kind: see `lexhound.training.regularization`.
        weight: at the end of the ramp.
        ramp: share of the steps over which the weight grows, by the square of the time.
        frequent, sampled: how many of the most used terms, and how many others at random, each step estimates it from;
            together at least the vocabulary for no estimate.
    """

    kind: Literal["flops", "idf-flops", "df-flops", "l1"] = "idf-flops"
    weight: Weight = 0.1
    ramp: Share = 0.33
    frequent: Whole = 2048
    sampled: Whole = 2048


@dataclass(frozen=True, slots=True, config=_CONFIG)
class OptimiserRecipe:
    """Steps and rates.

    Attributes:
        steps: 0 to change no weight, for an encoder of the same model with other settings of queries and words.
        seeds: queries a step whose candidates make up its documents.
        candidates: documents a seed.
        own_queries: further queries of each of those documents; without a model on the query encoder they cost nothing.
        body, head, bias: learning rates.
        warmup: share of the steps with a rising rate; floor: share of the rate left at the end.
        average: decay of the exponential average of weights that is validated and saved; 0 for none.
        clip: largest norm of a step's gradient.
        accumulate: parts that a step's documents are encoded in, so that memory suffices (gradient caching).
    """

    steps: Whole = 1000
    seeds: Positive = 8
    candidates: Annotated[int, Strict(), Field(ge=2)] = 8
    own_queries: Whole = 3
    body: Number = 1e-4
    head: Number = 3e-4
    bias: Number = 1e-3
    weight_decay: Number = 0.01
    warmup: Share = 0.05
    floor: Share = 0.1
    average: Share = 0.98
    clip: Number = 5.0
    accumulate: Positive = 1


@dataclass(frozen=True, slots=True, config=_CONFIG)
class ValidationRecipe:
    """Judged sets that choose the checkpoint; never a test split.

    Attributes:
        sets: "folder:split" of BEIR folders.
        every: steps between two validations.
        documents: how many of each set are kept, drawn at random, at most six tenths of them relevant; 0 for all.
        queries: how many queries of each set; 0 for all.
        max_length: longest document in tokens.
        patience: validations without a better one after which training stops; 0 for never.
    """

    sets: tuple[str, ...] = ()
    every: Positive = 100
    documents: Whole = 1500
    queries: Whole = 300
    max_length: Positive = 256
    patience: Whole = 0


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Recipe(InFolder):
    """A whole run. `folder` is where the recipe lies, from which its paths are read."""

    model: ModelRecipe
    data: DataRecipe
    teachers: tuple[TeacherRecipe, ...]
    query: QueryRecipe = field(default_factory=QueryRecipe)
    exact_terms: ExactTermRecipe = field(default_factory=ExactTermRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    sparsity: SparsityRecipe = field(default_factory=SparsityRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    name: str = "model"
    seed: Annotated[int, Strict()] = 1
    folder: str = "."
