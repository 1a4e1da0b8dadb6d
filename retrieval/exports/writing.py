"""Writing an export: aside, and given its name when it is complete."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lexhound.core.atomic_files import neighbour, replace_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.lock import Claim
from lexhound.core.progress import OnStep
from lexhound.core.version import made_by
from lexhound.index.inverted.quantization import MAX_IMPACT, QuantisationLoss, requantisation_loss
from lexhound.index.inverted.scales import RowRanges, choose_scale, stored_ranges
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.query.confined import detached
from lexhound.retrieval.collection.query.snapshot import Snapshot
from lexhound.retrieval.collection.recovery import recover_claimed
from lexhound.retrieval.collection.verification import refuse_damaged
from lexhound.retrieval.errors import ExportError

from .anserini import AnseriniForm
from .base import Form, Source, slug
from .ciff import CiffForm
from .header import FORMATS, FREQUENCIES, HEADER, IMPACTS, ExportHeader, read_header
from .opensearch import OpenSearchForm
from .parquet import ParquetForm
from .passages import NAME as PASSAGES
from .passages import write_passages
from .qdrant import QdrantForm
from .terms import TERMS, write_terms

README = "README.md"
_DETACHED = ".tenant"  # a tenant's postings by themselves, while an export of it is written
_FORMS: dict[str, Callable[[], Form]] = {
    "anserini": AnseriniForm,
    "opensearch": OpenSearchForm,
    "qdrant": QdrantForm,
    "ciff": CiffForm,
    "parquet": ParquetForm,
}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What a finished export holds, and where; `bytes` of all its files."""

    path: str
    header: ExportHeader
    bytes: int


def export_collection(
    collection: Collection,
    out: str | Path,
    format: str,
    *,
    tenant: str | None = None,
    overwrite: bool = False,
    progress: OnStep | None = None,
) -> ExportReport:
    """Write all live documents with their vectors into a folder, in the form of another engine.

    The collection is read as it is at this moment, and checked against its checksums first. Memory does not grow with
    it. The folder appears when it is complete; until then nothing is at `out`, or what was there before.

    Args:
        format: one of FORMATS.
        tenant: write that tenant's documents alone, under their own ids, as a collection of them would be written
            (docs/tenants.md). Without it, those of all tenants, under their keys.
        overwrite: replace an export that is at `out`. Anything else there is never replaced.
        progress: told of the stages (`core.progress`): those of `Collection.verify`, then `writing` and its kin.

    Raises:
        ExportError: the format is unknown, something is at `out`, or the engine could not take what is stored.
        TenantError, UnknownTenantError: as for a search (`Collection.for_tenant`).
        CollectionLockedError: another run is writing at `out`.
        CorruptCollectionError: the collection is damaged; says where.
        StorageFullError, ReadOnlyError: the folder cannot be written; nothing is left of it.
        EncoderError: the tokens of the encoder cannot be read.
    """
    if format not in _FORMS:
        raise ExportError(f"there is no format {format!r}", hint=f"give one of {', '.join(FORMATS)}")
    folder = Path(out).absolute()
    with Claim(folder) as claim:
        recover_claimed(claim)
        _require_room(folder, overwrite=overwrite)
        whose = None if tenant is None else collection.for_tenant(tenant)
        snapshot = collection.snapshot(hold=True) if whose is None else whose.snapshot(hold=True)
        refuse_damaged(collection.verify(progress), "exported")
        with storage_errors(folder), replace_directory(folder, neighbour(folder, "exporting")) as aside:
            own = detached(snapshot, aside / _DETACHED)
            report = _export(collection, own, aside, folder.name, format, tenant, progress)
            shutil.rmtree(aside / _DETACHED, ignore_errors=True)
        return replace(report, path=str(out))


def _export(
    collection: Collection,
    snapshot: Snapshot,
    folder: Path,
    name: str,
    format: str,
    tenant: str | None,
    progress: OnStep | None,
) -> ExportReport:
    """Write an export into a folder that is there; `name` is that of the folder that it becomes."""
    header = _header(collection, snapshot, format)
    if tenant is not None:  # ids are its own, and no keys
        header = replace(header, tenant_field=None)
    source = Source(snapshot, collection.sparse_field, header, slug(name))
    form = _FORMS[format]()
    files = form.write(source, folder, progress)
    write_terms(folder, snapshot, collection.sparse_field)
    write_passages(folder, snapshot, texts=format != "ciff")
    header = replace(source.header, files=files)
    (folder / README).write_text(_readme(source, form, header, tenant), encoding="utf-8")
    (folder / HEADER).write_bytes(header.to_json())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and _DETACHED not in path.parts)
    return ExportReport(name, header, size)


def _require_room(folder: Path, *, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise ExportError(
            "something is here already",
            where=str(folder),
            hint="give another path, or replace an export with overwrite=True",
            cli_hint="give another path, or replace an export with --overwrite",
        )
    try:
        read_header(folder)
    except ExportError as error:
        if (folder / HEADER).is_file():
            return  # a damaged export, or one of a later version
        raise ExportError(
            f"not an export (it has no {HEADER}), so it is not overwritten",
            where=str(folder),
            hint="give another path, or remove what is there yourself",
        ) from error


def _header(collection: Collection, snapshot: Snapshot, format: str) -> ExportHeader:
    scale, loss = _scale(snapshot)
    average = None
    if collection.sparse_field.frequencies:
        average = _average_length(snapshot)
    return ExportHeader(
        format=format,
        created_by=made_by(),
        documents=snapshot.n_documents,
        postings=_live_postings(snapshot),
        encoder=collection.manifest.encoder,
        dense=collection.manifest.dense,
        values=FREQUENCIES if average is not None and format == "ciff" else IMPACTS,
        scale=scale,
        relative_error=loss.relative_error,
        largest_error=loss.max_absolute_error,
        average_length=average,
        clipped=loss.clipped,
        rows=snapshot.n_rows,
        passages=collection.manifest.passages,
        tenant_field=collection.manifest.tenant_field,
    )


def _scale(snapshot: Snapshot) -> tuple[float, QuantisationLoss]:
    """Return the one scale of an export, and what rounding to it has cost in all: engines know no more than one."""
    indexes = [view.segment.index for view in snapshot.segments]
    loss = QuantisationLoss()
    for index in indexes:
        loss = loss.merge(index.loss)
    scales = {index.scale for index in indexes if index.n_postings}
    if len(scales) <= 1:
        return (scales.pop() if scales else 1.0), loss
    ranges = [stored_ranges(index) for index in indexes]
    live = [
        view_ranges if view.live is None else view_ranges.of(view.live)
        for view_ranges, view in zip(ranges, snapshot.segments, strict=True)
    ]
    scale = math.ldexp(1.0, choose_scale(RowRanges.joined(live)))
    for index in indexes:
        counts = np.bincount(index.postings.impacts, minlength=MAX_IMPACT + 1)
        loss = loss.merge(requantisation_loss(counts, index.scale, scale))
    return scale, loss


def _average_length(snapshot: Snapshot) -> float:
    """Return the average that the weights were made with; where segments differ, that of new weights, for all."""
    averages = {view.segment.index.mean_length or snapshot.legacy_average for view in snapshot.segments}
    known = {average for average in averages if average is not None}
    return known.pop() if len(known) == 1 else snapshot.average_length or 1.0


def _live_postings(snapshot: Snapshot) -> int:
    total = 0
    for view in snapshot.segments:
        index = view.segment.index
        total += int(index.document_frequencies(index.postings.terms.astype("int32"), view.live).sum())
    return total


def _kind_of_impacts(source: Source, header: ExportHeader) -> str:
    snapshot = source.snapshot
    indexes = [view.segment.index for view in snapshot.segments if view.segment.index.n_postings]
    if header.average_length is not None and any(
        (index.mean_length or snapshot.legacy_average) not in (None, header.average_length) for index in indexes
    ):
        return (
            "The values are whole numbers from 1 to 255, computed again for the export: the weights of the collection's"
            " segments were made with different average lengths."
        )
    if all(index.scale == header.scale for index in indexes):
        return (
            "The values are the collection's own impacts, unchanged: whole numbers from 1 to 255, with which its own"
            " searches compute too."
        )
    return (
        "The values are whole numbers from 1 to 255: the collection's own impacts, whose segments have scales of their"
        " own, rounded to one scale for all."
    )


def _readme(source: Source, form: Form, header: ExportHeader, tenant: str | None) -> str:
    encoder = header.encoder
    if header.values == FREQUENCIES:
        numbers = "The values are term frequencies, exact up to 255."
    else:
        numbers = (
            f"{_kind_of_impacts(source, header)} An impact of 1 stands for a weight of {header.scale!r}: weight ≈"
            f" impact × scale. Rounding the weights to impacts moved {header.relative_error:.2%} of their sum,"
            f" {header.largest_error:.3g} at most at once."
        )
        if header.clipped:
            numbers += f" {header.clipped:,} weights were too large for 255 steps and are clipped."
    if source.lexical and header.values == IMPACTS:
        numbers += (
            " They are the document side of BM25 (saturated term frequencies) without idf, for an average length of"
            f" {header.average_length!r} words. A query's weights are count × ln(1 + (N - df + 0.5) / (df + 0.5)), with"
            f" N = {header.rows} and each term's df from `{TERMS}`."
        )
    split = ""
    if header.rows != header.documents:
        split = (
            f"\n\n{header.documents:,} documents have {header.rows:,} rows: those that are split have one a passage,"
            " named `ID#NUMBER`, and a document's score is that of its best row."
            f" `{PASSAGES}` has their whole texts and where each passage begins and ends."
        )
    dense = (
        "" if header.dense is None else f"\nDense vectors: {header.dense.encoder.name}, {header.dense.width} values."
    )
    whose = "" if tenant is None else f"\nThe documents of the tenant {tenant!r} alone."
    return f"""\
# {source.name}

{header.documents:,} documents and {header.postings:,} postings, written by {header.created_by} as {header.format}.
Encoder: {encoder.name} ({encoder.kind}).{dense}{whose}{split}

## The numbers

{numbers}

`{TERMS}` lists the terms that occur: id, text, and the number of documents. `{HEADER}` says the same as this page for
programs.

{form.readme(source)}
"""
