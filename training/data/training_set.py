"""From a recipe's texts to what a training run reads at every step: token ids, teachers, candidates."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.errors import TrainingError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.training.model import TrainableEncoder
from lexhound.training.recipe import Recipe, TeacherRecipe
from lexhound.training.scoring import PoolScores, VectorTeacher
from lexhound.training.teachers.models import CrossTeacher, DenseTeacher, TeacherSettings
from lexhound.training.teachers.terms import make_term_teacher

from .bm25_pool import LexicalPool
from .candidate_lists import ListTeacher, interleaved, led_by
from .cut_texts import cut_notice
from .examples import Teacher, TrainingSet
from .mining import dense_top
from .pool import Pool

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and how much there is."""

_Model: TypeAlias = DenseTeacher | CrossTeacher | LearnedEncoder

_WHOLE = ("bm25", "dense", "sparse")  # teachers that read the whole pool, and so find candidates
_DEPTH = 24  # candidates of each teacher for a seed
_BATCH = 1000
_LEAST_FOUND = 0.3  # a query without a document of its own is a seed only if a dense teacher finds something this near


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A teacher that has read the whole pool: best int32[queries, depth]; its vectors of documents, if dense, and how
    it makes more of them."""

    teacher: Teacher
    best: NDArray[np.int32]
    spread: PoolScores
    dense: NDArray[np.float32] | None = None
    encode: Callable[[list[str]], NDArray[np.float32]] | None = None


def prepare(
    recipe: Recipe,
    pool: Pool,
    model: TrainableEncoder,
    cache: Path,
    progress: Progress,
    *,
    device: str = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> TrainingSet:
    """Tokenise, let the teachers read everything, and find each seed query's candidates.

    What teachers with models say is kept in `cache` and read there the next time; they run on `device`. `say` is
    told how many texts are longer than the model or a teacher reads.

    Raises:
        EncoderError: a teacher cannot be loaded, or does not fit the model; or there are queries without candidates
            alone.
    """
    if not pool.queries:
        raise TrainingError(
            "the data holds no query", "Give pairs, triples or queries, or let pseudo make some of the corpora"
        )
    opened = [_open(teacher, recipe, model, device) for teacher in recipe.teachers]
    _tell_cut(recipe, pool, model, opened, say)
    token_ids = []
    for start in range(0, len(pool.documents), _BATCH):
        token_ids += model.token_ids(pool.documents[start : start + _BATCH])
        progress("tokenising", len(token_ids), len(pool.documents))
    query_token_ids = _query_token_ids(model, pool.queries, recipe.query.max_length)
    terms = [_distinct_terms(model, text_ids) for text_ids in query_token_ids]
    pool_teachers = [
        (teacher_recipe, reader)
        for teacher_recipe, reader in zip(recipe.teachers, opened, strict=True)
        if teacher_recipe.kind in _WHOLE
    ]
    heard = [_listen(teacher_recipe, reader, pool, cache, progress) for teacher_recipe, reader in pool_teachers]
    answers = np.array(pool.own, dtype=np.int32)
    seeds = _seeds(answers, terms, heard, pool.given)
    if not len(seeds):
        raise TrainingError(
            "no query has a document of its own or candidates to learn from",
            'Give pairs, triples or ids, or add a teacher that finds candidates: [[teachers]] with kind = "bm25"',
        )
    candidates = interleaved([each.best[seeds] for each in heard]) if heard else np.full((len(seeds), 0), -1, np.int32)
    named_counts = np.empty(0, np.int32)
    if pool.given:
        candidates, named_counts = led_by([pool.given.get(int(seed), ()) for seed in seeds], candidates)
    if not candidates.size and any(isinstance(reader, CrossTeacher) for reader in opened):
        raise TrainingError(
            "there is no teacher that finds candidates: a cross-encoder only reads those of others",
            'Add [[teachers]] with kind = "bm25", or give triples or ids',
        )
    teachers: list[tuple[Teacher, float]] = [
        (each.teacher, teacher_recipe.weight) for each, (teacher_recipe, _) in zip(heard, pool_teachers, strict=True)
    ]
    for number, teacher in enumerate(recipe.teachers):
        reader = opened[number]
        if isinstance(reader, CrossTeacher):
            lists = _cross_encoder(reader, teacher, pool, seeds, candidates, cache, progress)
            teachers.append((lists, teacher.weight))
        if teacher.kind == "scores":
            teachers.append((_scores(pool.scores[number], teacher.normalise), teacher.weight))
    read_token_ids = query_token_ids if recipe.query.kind == "model" or recipe.loss.hybrid else ()
    training = TrainingSet(
        token_ids, terms, answers, candidates, seeds, teachers, idf_of(token_ids, model), read_token_ids, named_counts
    )
    first = next((each for each in heard if each.dense is not None), None)
    if first is None or first.dense is None or first.encode is None:
        return training
    words = make_term_teacher(model.subwords, first.encode, first.dense) if recipe.loss.terms else None
    return replace(training, dense=first.dense, term_teacher=words)


def _tell_cut(
    recipe: Recipe, pool: Pool, model: TrainableEncoder, teachers: Sequence[_Model | None], say: Callable[[str], None]
) -> None:
    """Tell how many texts of the pool are not read to their end, and by whom."""
    queries = model.reader(recipe.query.max_length)
    notices = [
        cut_notice(model.reader(), pool.documents, "documents are", "model.max_length"),
        cut_notice(queries, pool.queries, "queries are", "query.max_length"),
    ]
    for number, teacher in enumerate(teachers):
        if teacher is not None:
            reader = teacher.document_reader() if isinstance(teacher, LearnedEncoder) else teacher.reader
            notices.append(
                cut_notice(reader, pool.documents, "documents are, for a teacher,", f"teachers.{number}.max_length")
            )
    for notice in notices:
        if notice is not None:
            say(notice)


def idf_of(token_ids: Sequence[NDArray[np.int32]], model: TrainableEncoder) -> NDArray[np.float32]:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)) of every term over the documents, float32[vocabulary]."""
    frequencies = np.zeros(model.vocabulary_size, dtype=np.float64)
    for text_ids in token_ids:
        frequencies[np.unique(text_ids)] += 1
    idf = np.log1p((len(token_ids) - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)
    idf[~model.terms] = 0.0
    return idf


def _query_token_ids(model: TrainableEncoder, queries: list[str], max_length: int) -> list[NDArray[np.int32]]:
    token_ids: list[NDArray[np.int32]] = []
    for start in range(0, len(queries), _BATCH):
        token_ids += model.token_ids(queries[start : start + _BATCH], max_length)
    return token_ids


def _distinct_terms(model: TrainableEncoder, text_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    distinct = np.unique(text_ids).astype(np.int32)
    return distinct[model.terms[distinct]]


def _open(teacher: TeacherRecipe, recipe: Recipe, model: TrainableEncoder, device: str) -> _Model | None:
    """Open a teacher's model, before anything slow is done: what is wrong with it is told now.

    A teacher's vocabulary need not be the student's: scores are compared, never terms. What it must have is one
    vocabulary for its own two encoders, and for `model.dense` vectors as wide as the student's states.
    """
    settings = TeacherSettings(max_length=teacher.max_length, device=device)
    if teacher.kind == "dense":
        dense = DenseTeacher(recipe.model_path(teacher.model), settings)
        first = next(each for each in recipe.teachers if each.kind == "dense")
        if recipe.model.dense and teacher is first and dense.width != model.width:
            raise TrainingError(
                f"model.dense cannot be followed: {teacher.model} gives vectors of {dense.width} dimensions, and the "
                f"states of {recipe.model.start} have {model.width}",
                "Leave model.dense out, or begin with a dense teacher as wide as the model",
            )
        return dense
    if teacher.kind == "cross-encoder":
        cross = CrossTeacher(recipe.model_path(teacher.model), settings)
        cross.prepare()
        return cross
    if teacher.kind == "sparse":
        encoder = LearnedEncoder(
            recipe.model_path(teacher.model), LearnedSettings(max_length=teacher.max_length, device=device)
        )
        encoder.prepare()
        return encoder
    return None


def _listen(teacher: TeacherRecipe, model: _Model | None, pool: Pool, cache: Path, progress: Progress) -> _Heard:
    """Let a teacher read the whole pool."""
    if isinstance(model, DenseTeacher):

        def encode(texts: list[str], name: str = "words") -> NDArray[np.float32]:
            def tell(done: int, total: int) -> None:
                progress(f"dense teacher, {name}", done, total)

            return model.encode(texts, queries=name != "documents", cache=cache, progress=tell)

        query_vectors, document_vectors = encode(pool.queries, "queries"), encode(pool.documents, "documents")
        best, spread = dense_top(query_vectors, document_vectors, _DEPTH)
        return _Heard(
            VectorTeacher(query_vectors, document_vectors, spread, teacher.normalise),
            best,
            spread,
            document_vectors,
            encode,
        )
    if isinstance(model, LearnedEncoder):
        documents = model.encode_documents(pool.documents)
        rows = model.encode_queries(pool.queries)
        starts = np.cumsum([0, *(len(ids) for ids, _ in rows)])
        ids, weights = (np.concatenate([row[position] for row in rows]) for position in (0, 1))
        queries = csr_array((weights, ids, starts), shape=(len(rows), documents.shape[1]))
        best, spread = _survey(queries, documents)
        return _Heard(VectorTeacher(queries, documents, spread, teacher.normalise), best, spread)
    progress("BM25", 0, len(pool.documents))
    lexical = LexicalPool(pool.documents)
    encoded = lexical.encode_queries(pool.queries)
    spread = lexical.scores_over_pool(encoded)
    best = lexical.search(encoded, _DEPTH)
    return _Heard(VectorTeacher(encoded.vectors, lexical.documents, spread, teacher.normalise), best, spread)


def _survey(queries: csr_array, documents: csr_array) -> tuple[NDArray[np.int32], PoolScores]:
    """Return each query's best documents and the spread of its scores, by products with the whole pool."""
    columns = documents.T.tocsr()
    best, figures = [], []
    for start in range(0, queries.shape[0], 256):
        scores = (queries[start : start + 256] @ columns).toarray()
        order = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH].astype(np.int32)
        order[np.take_along_axis(scores, order, axis=1) <= 0] = -1
        best.append(order)
        figures.append(np.stack([scores.min(1), scores.max(1), scores.mean(1), scores.std(1)]))
    return np.concatenate(best), PoolScores(*np.concatenate(figures, axis=1).astype(np.float32))


def _cross_encoder(
    model: CrossTeacher,
    teacher: TeacherRecipe,
    pool: Pool,
    seeds: NDArray[np.int64],
    candidates: NDArray[np.int32],
    cache: Path,
    progress: Progress,
) -> ListTeacher:
    """Read each seed query with each of its candidates."""
    rows, positions = np.nonzero(candidates >= 0)
    pairs = [
        (pool.queries[seeds[row]], pool.documents[candidates[row, position]])
        for row, position in zip(rows, positions, strict=True)
    ]
    scores = np.zeros(candidates.shape, dtype=np.float32)
    scores[rows, positions] = model.score(
        pairs, cache=cache, progress=lambda done, total: progress("cross-encoder", done, total)
    )
    return ListTeacher(seeds, candidates, scores, teacher.normalise)


def _scores(known: Mapping[int, Mapping[int, float]], normalise: str) -> ListTeacher:
    """Return a teacher that is a file."""
    queries = np.array(sorted(known), dtype=np.int64)
    depth = max(map(len, known.values()), default=0)
    documents = np.full((len(queries), depth), -1, dtype=np.int32)
    scores = np.zeros((len(queries), depth), dtype=np.float32)
    for row, query in enumerate(queries.tolist()):
        listed = known[query]
        documents[row, : len(listed)] = list(listed)
        scores[row, : len(listed)] = list(listed.values())
    return ListTeacher(queries, documents, scores, normalise)


def _seeds(
    answers: NDArray[np.int32], terms: list[NDArray[np.int32]], heard: Sequence[_Heard], named: Collection[int]
) -> NDArray[np.int64]:
    """Return the queries that steps are drawn from: those with a term, and with a document, candidates that the data
    names, or something near it."""
    useful = np.array([len(each) > 0 for each in terms], dtype=bool)
    cosines = [each.spread.high for each in heard if each.dense is not None]
    near = np.maximum.reduce(cosines) > _LEAST_FOUND if cosines else np.full_like(useful, bool(heard))
    near[list(named)] = True
    return np.flatnonzero(useful & ((answers >= 0) | near))
