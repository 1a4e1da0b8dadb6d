"""A recipe: everything a training run does, as a TOML file of tables with fixed keys.

Paths are relative to the recipe's own folder. docs/training.md explains each key; unknown ones are refused, with the
nearest that there is. This module needs no torch: a wrong recipe is told before anything heavy is imported.
"""

from __future__ import annotations

import difflib
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.sparse.exact_terms import WrittenWords
from lexhound.encoders.sparse.settings import ACTIVATIONS

PSEUDO_KINDS = ("title", "sentence", "span", "keywords")
TEACHER_KINDS = ("bm25", "dense", "sparse", "cross-encoder", "scores")
QUERY_KINDS = ("idf", "learned", "model")
REGULARISERS = ("flops", "idf-flops", "df-flops", "l1")
OPTIMISERS = ("adamw", "adafactor")
NORMALISATIONS = ("min-max", "z-score", "none")


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """The document side.

    Attributes:
        start: folder or hub name of the checkpoint to start from: a masked language model, or a body without a head.
        max_length: longest document in tokens while training.
        activation: from logits to weights.
        frozen_layers: how many of the lowest layers stay as they are; each makes a step cheaper.
        own: of a head solved in closed form, how far a document's own tokens lie above the threshold, in logits.
        absent_quantile: of a head solved in closed form, the share of documents that leave out a term they lack.
        top_k: how many terms a document keeps where the encoder is used; 0 for all.
        dense: keep the mean-pooled vector of the same pass near the first dense teacher's, with this weight; 0 for not.
    """

    start: str
    max_length: int = 128
    activation: str = "log1p_relu"
    frozen_layers: int = 0
    own: float = 5.0
    absent_quantile: float = 0.98
    dense: float = 0.0
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class QueryRecipe:
    """The query side: a table of one weight a token, or the document side's own model.

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
        shares: how many documents of the pool are encoded at the end to tell how often terms are written where vectors
            hold them (`lexhound.encoders.sparse.exact_terms`); 0 to take vectors for what is written. Needs a prior.
        prior: how many documents the table counts for beside a collection's own frequencies, in validation and in use
            (`lexhound.encoders.sparse.live_idf`); 0 for the table as it stands.
    """

    kind: str = "idf"
    sparsity: float = 0.1
    learning_rate: float = 0.05
    max_length: int = 64
    counted: bool = False
    power: float = 1.0
    common: float = 0.0
    prior: int = 0
    shares: int = 0


@dataclass(frozen=True, slots=True)
class WrittenRecipe:
    """What a document's own words weigh beside what the model says of them (`encoders.sparse.exact_terms`), in
    training, validation and use.

    Attributes:
        weight: of BM25's term-frequency part; 0 for none. k1, b, length: its constants.
    """

    weight: float = 0.0
    k1: float = 2.5
    b: float = 0.75
    length: int = 150

    @property
    def rule(self) -> WrittenWords | None:
        """What encoders take."""
        return WrittenWords(self.weight, self.k1, self.b, self.length) if self.weight else None


@dataclass(frozen=True, slots=True)
class CorpusRecipe:
    """Documents of the pool.

    Attributes:
        path: JSON Lines with `text` and optionally `id` and `title`.
        limit: how many are drawn at random; 0 for all.
        pseudo: kinds of queries made of them.
        per_document: how many of those a document at most.
    """

    path: str
    limit: int = 0
    pseudo: tuple[str, ...] = ()
    per_document: int = 2


@dataclass(frozen=True, slots=True)
class PairsRecipe:
    """Queries with the text that answers them; the texts join the pool.

    Attributes:
        path: JSON Lines with a query and a text.
        limit: how many are drawn at random; 0 for all.
        pseudo, per_document: as of a corpus.
    """

    path: str
    limit: int = 0
    pseudo: tuple[str, ...] = ()
    per_document: int = 2


@dataclass(frozen=True, slots=True)
class TriplesRecipe:
    """Queries with the text that answers them and others that do not; all of the texts join the pool.

    Attributes:
        path: rows with a query, a text and one or more negatives, which a step takes before other candidates.
        limit: how many are drawn at random; 0 for all.
    """

    path: str
    limit: int = 0


@dataclass(frozen=True, slots=True)
class IdsRecipe:
    """Which documents of the corpora answer which of the queries.

    Attributes:
        path: rows with a query's id and ids of documents: the answer first, then others that a step takes before other
            candidates.
        limit: how many are drawn at random; 0 for all.
    """

    path: str
    limit: int = 0


@dataclass(frozen=True, slots=True)
class QueriesRecipe:
    """Queries without documents; teachers find theirs in the pool, or `ids` name them.

    Attributes:
        path: JSON Lines with a query, and an id where others name it.
        limit: how many are drawn at random; 0 for all.
        leave_out: rows whose `source` starts with one of these are not read.
    """

    path: str
    limit: int = 0
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """What is trained on.

    Attributes:
        exclude: BEIR folders whose queries, and documents of the same title, are kept out of training.
    """

    corpora: tuple[CorpusRecipe, ...] = ()
    pairs: tuple[PairsRecipe, ...] = ()
    triples: tuple[TriplesRecipe, ...] = ()
    ids: tuple[IdsRecipe, ...] = ()
    queries: tuple[QueriesRecipe, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
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

    kind: str
    model: str = ""
    path: str = ""
    weight: float = 1.0
    normalise: str = "min-max"
    max_length: int = 128


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """Weights of the losses, each over a query's scores of the step's documents.

    Attributes:
        kl: distillation of the teachers' distribution.
        margin_mse: distillation of their margins.
        info_nce: contrast of the query's own document with the others, likely other answers left out.
        scale: what teachers' averaged scores, in [0, 1], are multiplied by before the softmax.
        keep: weight of the penalty on a document's own terms that fall below `margin`, by idf.
        margin: in logits.
        terms: weight of the first dense teacher's own idea of which terms belong to a document, found by reading every
            word of the vocabulary as a query; `terms_above`, in standard deviations, is from where on a word belongs,
            and `terms_strength` the logit that it should have for each deviation more.
        false_negative: a document whose teachers' score exceeds the own document's less this is no negative.
    """

    kl: float = 1.0
    margin_mse: float = 0.0
    info_nce: float = 0.0
    scale: float = 30.0
    keep: float = 0.0
    margin: float = 1.0
    terms: float = 0.0
    terms_above: float = 3.0
    terms_strength: float = 0.3
    false_negative: float = 0.1


@dataclass(frozen=True, slots=True)
class SparsityRecipe:
    """What keeps vectors small.

    Attributes:
        kind: see `lexhound.training.regularization`.
        weight: at the end of the ramp.
        ramp: share of the steps over which the weight grows, by the square of the time.
        free_terms: documents with no more terms than this are not penalised; 0 for all are.
        frequent, sampled: how many of the most used terms, and how many others at random, each step estimates it from;
            together at least the vocabulary for no estimate.
    """

    kind: str = "idf-flops"
    weight: float = 0.1
    ramp: float = 0.33
    free_terms: int = 0
    frequent: int = 2048
    sampled: int = 2048


@dataclass(frozen=True, slots=True)
class OptimiserRecipe:
    """Steps and rates.

    Attributes:
        steps: 0 to change no weight, for an encoder of the same model with other settings of queries and words.
        seeds: queries a step whose candidates make up its documents.
        candidates: documents a seed.
        own_queries: further queries of each of those documents; without a model on the query side they cost nothing.
        body, head, bias: learning rates.
        warmup: share of the steps with a rising rate; floor: share of the rate left at the end.
        average: decay of the exponential average of weights that is validated and saved; 0 for none.
        clip: largest norm of a step's gradient.
        accumulate: parts that a step's documents are encoded in, so that memory suffices (gradient caching).
    """

    kind: str = "adamw"
    steps: int = 1000
    seeds: int = 8
    candidates: int = 8
    own_queries: int = 3
    body: float = 1e-4
    head: float = 3e-4
    bias: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    floor: float = 0.1
    average: float = 0.98
    clip: float = 5.0
    accumulate: int = 1


@dataclass(frozen=True, slots=True)
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
    every: int = 100
    documents: int = 1500
    queries: int = 300
    max_length: int = 256
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole run. `folder` is where the recipe lies, from which its paths are read."""

    model: ModelRecipe
    data: DataRecipe
    teachers: tuple[TeacherRecipe, ...]
    query: QueryRecipe = field(default_factory=QueryRecipe)
    written: WrittenRecipe = field(default_factory=WrittenRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    sparsity: SparsityRecipe = field(default_factory=SparsityRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)
    validation: ValidationRecipe = field(default_factory=ValidationRecipe)
    name: str = "model"
    seed: int = 1
    folder: str = "."

    def path(self, name: str) -> Path:
        """Return a path of the recipe, from where the recipe lies."""
        return Path(self.folder) / name

    def model_path(self, name: str) -> str:
        """Return a folder of the recipe, or the name as it is where there is no such folder: a hub's."""
        path = self.path(name)
        return str(path) if path.is_dir() else name

    def as_dict(self) -> dict[str, Any]:
        """Return what identifies the run, as plain values: everything but where the recipe lies."""
        values = asdict(self)
        del values["folder"]
        return values


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with `table.key=value` overrides applied.

    Raises:
        SettingsError: it cannot be read, has an unknown key or a value out of its range, or lacks something.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"there is no recipe {path}", "Give the path of a TOML file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "It must be a TOML file (docs/training.md)") from error
    for each in overrides:
        _override(values, each)
    values["folder"] = str(path.parent)
    recipe = _build(Recipe, values, str(path), "")
    _check(recipe, str(path))
    return recipe  # type: ignore[no-any-return]


def same_run(recipe: Recipe, stored: Mapping[str, Any]) -> bool:
    """Whether what a run stored (`Recipe.as_dict`) is of this recipe; keys that came later count as unset."""
    try:
        return bool(_build(Recipe, {**stored, "folder": ""}, "", "").as_dict() == recipe.as_dict())
    except SettingsError:
        return False


def _override(values: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"--set {text} has no value", "Write it as table.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string: quotes are a nuisance in a shell
    place: Any = values
    *tables, key = name.strip().split(".")
    if not tables:
        tables = _table_of(key, text)
    elif tables == ["data"] and key in _FILES and isinstance(parsed, str):
        parsed = [{"path": parsed}]  # one file, all of it
    for table in tables:
        if isinstance(place, list):
            if not table.isdigit() or int(table) >= len(place):
                raise SettingsError(f"--set {text}: there is no entry {table}", f"It has {len(place)}, from 0")
            place = place[int(table)]
        else:
            place = place.setdefault(table, {})
        if not isinstance(place, dict | list):
            raise SettingsError(f"--set {text}: {table} is a value, not a table", "See docs/training.md for the keys")
    if isinstance(place, list):
        raise SettingsError(f"--set {text}: {name} is a list", "Number its entries: data.corpora.0.limit=1000")
    place[key] = parsed


_FILES = ("corpora", "pairs", "triples", "ids", "queries")


def _table_of(key: str, text: str) -> list[str]:
    """Return the table of a key that came without one; none where the recipe itself has it, or nothing has."""
    hints = get_type_hints(Recipe)
    if key in hints:
        return []
    tables = [
        table for table, hint in hints.items() if is_dataclass(hint) and key in {each.name for each in fields(hint)}
    ]
    if len(tables) > 1:
        raise SettingsError(
            f"--set {text}: {key!r} is a key of several tables",
            f"Write {' or '.join(f'{table}.{key}' for table in tables)}",
        )
    return tables


def _build(family: Any, values: Any, where: str, table: str) -> Any:
    """Return the dataclass `family` made of a TOML table."""
    called = f"[{table}]" if table else "the recipe"
    if not isinstance(values, Mapping):
        raise SettingsError(f"{where}: {called} is {values!r}", "It must be a table")
    hints = get_type_hints(family)
    known = {each.name: each for each in fields(family)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)
            raise SettingsError(f"{where}: {called} has the unknown key {name!r}", f"Did you mean {near[0]!r}?")
    missing = [each.name for each in known.values() if _required(each) and each.name not in values]
    if missing:
        raise SettingsError(f"{where}: {called} lacks {missing[0]!r}", "docs/training.md shows a whole recipe")
    return family(
        **{
            name: _value(hints[name], value, where, f"{table}.{name}" if table else name)
            for name, value in values.items()
        }
    )


def _required(each: Any) -> bool:
    from dataclasses import MISSING

    return each.default is MISSING and each.default_factory is MISSING


def _value(hint: Any, value: Any, where: str, name: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where, name)
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        if not isinstance(value, list):
            raise SettingsError(f"{where}: {name} is {value!r}", "It must be a list")
        return tuple(_value(inner, each, where, f"{name}.{number}") for number, each in enumerate(value))
    if isinstance(hint, types.UnionType):  # pragma: no cover - none today
        hint = get_args(hint)[0]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise SettingsError(f"{where}: {name} is {value!r}", f"It must be {words[hint]}")
    return value


_CHOICES = (
    ("model", "activation", ACTIVATIONS),
    ("query", "kind", QUERY_KINDS),
    ("sparsity", "kind", REGULARISERS),
    ("optimiser", "kind", OPTIMISERS),
)
_SHARES = (
    ("query", "power"), ("query", "common"), ("written", "b"),
    ("sparsity", "ramp"), ("optimiser", "warmup"), ("optimiser", "floor"), ("optimiser", "average"),
)  # fmt: skip
_LEAST = (
    ("model", "max_length", 8), ("model", "top_k", 0), ("query", "max_length", 1), ("query", "prior", 0),
    ("query", "shares", 0), ("written", "weight", 0), ("written", "k1", 0), ("written", "length", 1),
    ("query", "sparsity", 0),
    ("optimiser", "steps", 0), ("optimiser", "seeds", 1),
    ("optimiser", "candidates", 2), ("optimiser", "own_queries", 0), ("optimiser", "accumulate", 1),
    ("validation", "every", 1), ("validation", "documents", 0), ("validation", "queries", 0),
    ("sparsity", "weight", 0), ("sparsity", "frequent", 0), ("sparsity", "sampled", 0), ("sparsity", "free_terms", 0),
    ("loss", "kl", 0), ("loss", "margin_mse", 0), ("loss", "info_nce", 0), ("loss", "keep", 0),
    ("loss", "terms", 0), ("loss", "terms_strength", 0), ("model", "dense", 0), ("model", "frozen_layers", 0),
)  # fmt: skip


def _check(recipe: Recipe, where: str) -> None:
    for table, key, allowed in _CHOICES:
        _one_of(getattr(getattr(recipe, table), key), allowed, where, f"{table}.{key}")
    for number, teacher in enumerate(recipe.teachers):
        _one_of(teacher.kind, TEACHER_KINDS, where, f"teachers.{number}.kind")
        _one_of(teacher.normalise, NORMALISATIONS, where, f"teachers.{number}.normalise")
        needed = {"bm25": None, "scores": "path"}.get(teacher.kind, "model")
        for key, hint in (("model", "Name its folder or hub name"), ("path", "Name its file of scores")):
            if needed == key and not getattr(teacher, key):
                raise SettingsError(f"{where}: teachers.{number} has no {key}", hint)
            if needed != key and getattr(teacher, key):
                raise SettingsError(
                    f"{where}: teachers.{number}.{key} is not for a teacher of the kind {teacher.kind}", "Leave it out"
                )
        if teacher.weight <= 0:
            raise SettingsError(f"{where}: teachers.{number}.weight is {teacher.weight}", "It must be above 0")
    sources: list[CorpusRecipe | PairsRecipe] = [*recipe.data.corpora, *recipe.data.pairs]
    for source in sources:
        for kind in source.pseudo:
            _one_of(kind, PSEUDO_KINDS, where, "pseudo")
    for table, key in _SHARES:
        value = getattr(getattr(recipe, table), key)
        if not 0 <= value <= 1:
            raise SettingsError(f"{where}: {table}.{key} is {value}", "It must be from 0 to 1")
    for table, key, least in _LEAST:
        value = getattr(getattr(recipe, table), key)
        if value < least:
            raise SettingsError(f"{where}: {table}.{key} is {value}", f"It must be at least {least}")
    data = recipe.data
    if not (data.corpora or data.pairs or data.triples):
        raise SettingsError(f"{where}: [data] has no documents", "Give corpora, pairs or triples")
    scored = any(teacher.kind == "scores" for teacher in recipe.teachers)
    if (data.ids or scored) and not (data.corpora and data.queries):
        who = "[[data.ids]]" if data.ids else 'a teacher of the kind "scores"'
        raise SettingsError(
            f"{where}: {who} needs documents and queries to name",
            "Give the files that the ids belong to as [[data.corpora]] and [[data.queries]]",
        )
    loss = recipe.loss
    if not (loss.kl or loss.margin_mse or loss.info_nce):
        raise SettingsError(f"{where}: every loss has the weight 0", "Give kl, margin_mse or info_nce a weight")
    for name, weight in (("loss.terms", loss.terms), ("model.dense", recipe.model.dense)):
        if weight and all(teacher.kind != "dense" for teacher in recipe.teachers):
            raise SettingsError(f"{where}: {name} needs a dense teacher", 'Add [[teachers]] with kind = "dense"')
    query = recipe.query
    if query.kind == "model" and (query.counted or query.prior or query.common or query.shares):
        raise SettingsError(
            f"{where}: query.counted, prior, common and shares are for a table of weights, and query.kind is 'model'",
            'Leave them out, or take the kind "idf" or "learned"',
        )
    if query.kind == "model" and recipe.written.weight:
        raise SettingsError(
            f"{where}: written words weigh something in documents alone, and query.kind is 'model'",
            'Leave [written] out, or take the kind "idf" or "learned"',
        )
    if query.shares and not query.prior:
        raise SettingsError(f"{where}: query.shares is for idf that follows a collection", "Give query.prior too")
    if (loss.kl or loss.margin_mse) and not recipe.teachers:
        raise SettingsError(f"{where}: there is no teacher to distil from", "Add [[teachers]], or train by info_nce")


def _one_of(value: str, allowed: Sequence[str], where: str, name: str) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1, 0.0)[0]
        raise SettingsError(
            f"{where}: {name} is {value!r}", f"It must be one of {', '.join(allowed)}; did you mean {near!r}?"
        )
