"""A folder in BEIR's layout: corpus.jsonl, queries.jsonl, qrels/<split>.tsv (each may be .gz or .zst)."""

from __future__ import annotations

from pathlib import Path

from lexhound.core.streams import COMPRESSIONS, find_compressed
from lexhound.eval.errors import DatasetError

from .dataset import Dataset, ProblemLog, build_dataset
from .qrels import read_qrels
from .topics import read_queries


def available_splits(folder: Path) -> list[str]:
    """Return the splits that a folder holds judgments for."""
    qrels = folder / "qrels"
    if not qrels.is_dir():
        return []
    suffixes = tuple(f".tsv{compression}" for compression in ("", *COMPRESSIONS))
    names = (entry.name for entry in qrels.iterdir() if entry.is_file())
    return sorted({name[: name.index(".tsv")] for name in names if name.endswith(suffixes)})


def is_beir_folder(folder: Path) -> bool:
    """Return whether the folder looks like a data set: it has queries or judgments where BEIR puts them."""
    return (folder / "qrels").is_dir() or find_compressed(folder / "queries.jsonl") is not None


def load_folder(folder: Path, split: str = "test", *, name: str | None = None, group: str | None = None) -> Dataset:
    """Read one split of a BEIR folder. The corpus is optional: a collection may stand for it.

    Raises:
        DatasetError: the folder, its queries or this split's judgments are missing (the message lists
            the splits that are there), or nothing in them could be used.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder", "Check the path.")
    splits = available_splits(folder)
    if not splits:
        raise DatasetError(
            f"{folder}: no judgments: there is no qrels/{split}.tsv",
            "An evaluation needs judged queries. Put them there as lines of query id, document id and "
            "relevance separated by tabs.",
        )
    judged = find_compressed(folder / "qrels" / f"{split}.tsv")
    if judged is None:
        raise DatasetError(
            f"{folder}: no judgments for the split {split!r}",
            f"This folder has {', '.join(splits)}: choose one of them (--split).",
        )
    queries_path = find_compressed(folder / "queries.jsonl")
    if queries_path is None:
        raise DatasetError(
            f"{folder}: there is no queries.jsonl",
            'Put it there, one query a line: {"_id": "1", "text": "…"}.',
        )
    broken_queries = ProblemLog()
    queries = read_queries(queries_path, broken_queries)
    judgments = read_qrels(judged)
    corpus = find_compressed(folder / "corpus.jsonl")
    return build_dataset(
        name=name or folder.resolve().name,
        split=split,
        queries=queries,
        judgments=judgments,
        broken_queries=broken_queries,
        corpus=corpus,
        files=(*((corpus,) if corpus else ()), queries_path, judged),
        group=group,
    )
