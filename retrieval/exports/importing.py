"""A collection made of an export: the same documents, the same impacts, nothing encoded again.

For BM25 an import counts the terms of the texts again, which gives the same, and computes weights with the same average
length. On request it counts by this version's rules and the installed libraries, and computes weights anew.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock

import numpy as np

from lexhound.core.atomic_files import neighbour, replace_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.lock import Claim, WriterLock
from lexhound.core.progress import OnStep, Stage
from lexhound.core.version import made_by
from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.bm25.encoder import KIND, LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.retrieval.collection.building import require_collection
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.fields.opening import load_field
from lexhound.retrieval.collection.fields.sparse_field import SparseField
from lexhound.retrieval.collection.recovery import recover_claimed
from lexhound.retrieval.collection.store.manifest import Manifest, write_manifest
from lexhound.retrieval.collection.store.passage_table import CREATE
from lexhound.retrieval.collection.store.schema import connect, create_database, keep_log
from lexhound.retrieval.collection.store.segment import open_segment
from lexhound.retrieval.collection.store.vocabulary import SqliteVocabulary
from lexhound.retrieval.collection.write.compaction import merge
from lexhound.retrieval.collection.write.rows import PUBLISHED
from lexhound.retrieval.collection.write.writer import Writer
from lexhound.retrieval.errors import CollectionExistsError, ExportError

from .header import FREQUENCIES, ExportHeader, read_header
from .reassembly import ImportedDocument, read_documents

_CHUNK = 512
_WITHOUT_DENSE = ("anserini", "ciff")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import made; `lost` says what the format had no place for, in words."""

    documents: int
    postings: int
    lost: tuple[str, ...]


def import_export(
    source: str | Path,
    path: str | Path,
    *,
    overwrite: bool = False,
    reanalyse: bool = False,
    progress: OnStep | None = None,
) -> ImportReport:
    """Make a collection of a folder that `export_collection` wrote.

    The collection appears when it is complete; an interrupted import leaves nothing.

    Args:
        overwrite: replace a collection that is at `path`, when the new one is complete.
        reanalyse: read the texts of a collection of bm25 with the tokeniser of this version and the libraries that are
            installed, whatever those were that made its vectors; same settings.
        progress: told of the stages (`core.progress`).

    Raises:
        ExportError: the folder is no export, or damaged, or holds too little to make a collection of.
        CollectionExistsError: something is at `path`, and `overwrite` is not set.
        NotACollectionError: with `overwrite`, what is at `path` is no collection.
        EncoderError: the encoder is not here, or no longer the same.
        StorageFullError, ReadOnlyError: the collection cannot be written.
    """
    folder, directory = Path(source), Path(path)
    header = read_header(folder)
    if header.values == FREQUENCIES:
        raise ExportError(
            "an export of bm25 as CIFF holds no texts, and a collection of bm25 is made of texts",
            where=str(folder),
            hint="export as anserini, opensearch, qdrant or parquet",
        )
    if reanalyse:
        header = replace(header, encoder=_analysed_now(header, folder), average_length=None)
    lost = _lost(header)
    if header.format in _WITHOUT_DENSE:
        header = replace(header, dense=None)
    with Claim(directory) as claim:
        recover_claimed(claim)
        if not os.path.lexists(directory):
            return replace(_build(folder, header, directory, progress), lost=lost)
        if not overwrite:
            raise CollectionExistsError(
                "something is here already",
                where=str(directory),
                hint="give another path, or replace it with overwrite=True",
                cli_hint="give another path, or replace it with --overwrite",
            )
        require_collection(directory)
        with WriterLock(directory):  # what others write now would be lost with the old collection
            return replace(_build(folder, header, directory, progress), lost=lost)


def _analysed_now(header: ExportHeader, folder: Path) -> EncoderIdentity:
    if header.encoder.kind != KIND:
        raise ExportError(
            f"its vectors were made by {header.encoder.name}: only those of {KIND} are made of texts by an import",
            where=str(folder),
            hint="leave `reanalyse` out",
            cli_hint="leave --reanalyse out",
        )
    return LexicalEncoder(LexicalSettings(**header.encoder.settings), MemoryVocabulary()).identity


def _lost(header: ExportHeader) -> tuple[str, ...]:
    lost = []
    if header.format == "ciff":
        lost.append("texts, titles and metadata")
    if header.dense is not None and header.format in _WITHOUT_DENSE:
        lost.append("dense vectors")
    return tuple(lost)


def _build(folder: Path, header: ExportHeader, directory: Path, progress: OnStep | None) -> ImportReport:
    try:
        with storage_errors(directory), replace_directory(directory, neighbour(directory, "importing")) as aside:
            manifest = Manifest.new(made_by(), header.encoder, header.dense, header.passages, header.tenant_field)
            create_database(aside, dense=header.dense is not None, more=CREATE if manifest.tells_passages else "")
            write_manifest(aside, manifest)
            return _fill(aside, folder, header, progress)
    except FileExistsError as error:
        raise CollectionExistsError(
            "something was made here meanwhile", where=str(directory), hint="give another path"
        ) from error


def _fill(directory: Path, folder: Path, header: ExportHeader, progress: OnStep | None) -> ImportReport:
    connection = connect(directory, writable=True)
    try:
        sparse_field = load_field(header.encoder, SqliteVocabulary(connection))
        dense = None if header.dense is None else DenseField(header.dense.encoder, header.dense.width)
        policy = "flat" if header.dense is None else header.dense.index
        writer = Writer(directory, connection, RLock(), sparse_field, dense, policy, tenant_field=header.tenant_field)
        anew = sparse_field.frequencies and header.average_length is None
        # With the average and the scale of the exported collection every weight becomes the impact that it was.
        writer.average_length, writer.scale = header.average_length, header.scale
        chunk: list[ImportedDocument] = []
        held = done = postings = 0
        stage = Stage(progress, "importing", header.documents)
        for document in read_documents(folder, header):
            chunk.append(document)
            held += len(document.rows)
            postings += sum(len(row.terms) for row in document.rows)
            if held >= _CHUNK:
                done += _store(writer, sparse_field, header, chunk, folder)
                stage.add(len(chunk))
                chunk, held = [], 0
        done += _store(writer, sparse_field, header, chunk, folder)
        stage.add(len(chunk))
        writer.flush()
        names = [name for (name,) in connection.execute("SELECT name FROM segments ORDER BY first_seq")]
        if len(names) > 1:
            merge(writer, names, PUBLISHED, average=header.average_length, progress=progress)
        n_postings = _postings(directory, connection, sparse_field)
        if n_postings != postings and not anew:
            raise ExportError(
                "the texts no longer have the terms that were exported",
                where=str(folder),
                hint="export the collection again, or index its texts",
            )
        return ImportReport(done, n_postings, ())
    finally:
        connection.close()
        keep_log(directory)


def _postings(directory: Path, connection: sqlite3.Connection, sparse_field: SparseField) -> int:
    names = connection.execute("SELECT name FROM segments").fetchall()
    return sum(open_segment(directory, name, sparse_field.name).index.n_postings for (name,) in names)


def _store(
    writer: Writer, sparse_field: SparseField, header: ExportHeader, documents: list[ImportedDocument], folder: Path
) -> int:
    if not documents:
        return 0
    chunk = [row for document in documents for row in document.rows]
    dense = None
    if header.dense is not None:
        none = np.zeros(header.dense.width, np.float32)
        dense = np.stack([none if row.dense is None else row.dense for row in chunk])
    sparse = None  # bm25's are counted again
    if not sparse_field.frequencies:
        from scipy.sparse import csr_array

        indptr = np.concatenate([[0], np.cumsum([len(row.terms) for row in chunk], dtype=np.int64)])
        weights = np.concatenate([row.impacts for row in chunk]).astype(np.float64) * header.scale
        terms = np.concatenate([row.terms for row in chunk])
        shape = (len(chunk), header.encoder.vocabulary_size or 1)
        sparse = csr_array((weights.astype(np.float32), terms, indptr), shape=shape)
    split = [each.split for each in documents]
    twice = writer.store_encoded([each.document for each in documents], sparse, dense, split)
    if twice is not None:
        raise ExportError(f"the id {twice!r} occurs twice", where=str(folder), hint="export the collection again")
    return len(documents)
