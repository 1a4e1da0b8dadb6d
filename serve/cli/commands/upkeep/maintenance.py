"""`lexhound info`, `verify` and `compact`: looking after a collection."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from lexhound.serve.cli.interruption import stoppable
from lexhound.serve.cli.options import Directory, Json, Place, Tenant, confined
from lexhound.serve.cli.output import Output, tell
from lexhound.serve.cli.progress import counted, reporter, show

if TYPE_CHECKING:
    from lexhound.retrieval.collection.info import CollectionInfo
    from lexhound.retrieval.engines.protocol import EngineInfo
    from lexhound.retrieval.tenants.info import TenantInfo


def info(directory: Place, tenant: Tenant = None, json: Json = False) -> None:
    """Print what a collection holds: counts, sizes, encoder, quantisation loss.

    Example:
        lexhound info my.index
        lexhound info milvus://host:19530/my
        lexhound info shared.index --tenant acme
    """
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.retrieval.engines.protocol import EngineInfo
    from lexhound.retrieval.tenants.info import TenantInfo
    from lexhound.serve.engines import milvus_settings

    output = Output(json=json)
    with open_collection(directory, milvus=milvus_settings()) as collection:
        figures = confined(collection, tenant).info()
    if isinstance(figures, TenantInfo):
        _show_tenant(output, figures)
        return
    if isinstance(figures, EngineInfo):
        _show_engine(output, figures)
        return
    if json:
        output.document(_as_json(figures))
        return
    output.line((figures.path, "bold"))
    output.table(_rows(figures), indent=2)


def verify(directory: Directory, json: Json = False) -> None:
    """Check every file of a collection against its checksum and the database.

    The exit code is 0 if all is well, 1 if anything is wrong.

    Example:
        lexhound verify my.index
    """
    from lexhound.retrieval.collection.collection import Collection

    output = Output(json=json)
    with (
        stoppable(lambda: ("not all of it was checked", "the same command starts again")),
        Collection.open(directory) as collection,
        reporter("verifying") as progress,
    ):
        problems = collection.verify(show(progress.update))
        documents = collection.snapshot().n_documents
    if json:
        output.document({"ok": not problems, "documents": documents, "problems": [asdict(p) for p in problems]})
    elif problems:
        for problem in problems:
            output.line(("problem: ", "bold red"), f"{problem.where}: {problem.message}")
    else:
        output.line(f"all is well: {documents:,} documents, every file matches its checksum")
    if problems:
        raise typer.Exit(1)


def compact(directory: Directory, json: Json = False) -> None:
    """Merge a collection's segments, drop deleted documents, refresh statistics.

    Searches continue meanwhile.

    Example:
        lexhound compact my.index
    """
    from lexhound.retrieval.collection.collection import Collection

    output = Output(json=json)
    with (
        stoppable(lambda: ("the collection is as it was", "the same command starts again")),
        Collection.open(directory, writable=True) as collection,
        reporter("compacting") as progress,
    ):
        report = collection.compact(show(progress.update))
        notes = weight_notes(collection.info())
    if json:
        output.document(asdict(report) | {"notes": notes})
        return
    output.line(
        f"{report.documents:,} documents in {counted(report.segments_after, 'segment')} (there were "
        f"{report.segments_before:,}), {counted(report.dropped, 'deleted row')} dropped"
    )
    for note in notes:
        tell(note)


def weight_notes(info: CollectionInfo) -> list[str]:
    """Return what is amiss with a collection's weights, a sentence each."""
    notes = []
    if info.loss.clipped:
        notes.append(
            f"{counted(info.loss.clipped, 'weight')} were too large for their 8 bits and are clipped; index the corpus"
            " again to have them whole"
        )
    far = info.far_average
    if far is not None:
        notes.append(
            f"the weights of {counted(far.documents)} were made for an average length of {far.stored:,.1f} words, and"
            f" today's is {far.today:,.1f}: `lexhound compact` is due"
        )
    return notes


def _show_tenant(output: Output, info: TenantInfo) -> None:
    """Show what a tenant is told of a collection."""
    dense = None if info.dense is None else {"encoder": info.dense.encoder.as_dict(), "width": info.dense.width}
    if output.json:
        values = {"tenant": info.tenant, "documents": info.documents, "encoder": info.encoder.as_dict()}
        output.document(values | {"dense": dense, "modes": list(info.modes)})
        return
    rows = [("documents", f"{info.documents:,}"), ("encoder", info.encoder.name)]
    if info.dense is not None:
        rows.append(("dense", f"{info.dense.encoder.name}, vectors of {info.dense.width:,} values"))
    output.line((info.tenant, "bold"))
    output.table([*rows, ("modes", ", ".join(info.modes))], indent=2)


def _show_engine(output: Output, info: EngineInfo) -> None:
    """Show a collection in another engine: what it holds, and what the engine refuses."""
    if output.json:
        values = {name: getattr(info, name) for name in info.__dataclass_fields__}
        dense = None
        if info.dense is not None:
            dense = {"encoder": info.dense.encoder.as_dict(), "width": info.dense.width}
        output.document(values | {"encoder": info.encoder.as_dict(), "dense": dense, "settings": dict(info.settings)})
        return
    rows = [("engine", info.engine), ("documents", f"{info.documents:,}"), ("encoder", info.encoder.name)]
    if info.dense is not None:
        rows.append(("dense", f"{info.dense.encoder.name}, vectors of {info.dense.width:,} values"))
    rows += _passage_rows(info)
    if info.terms is not None:
        rows.append(("terms", f"{info.terms:,}"))
    if info.postings is not None:
        rows.append(("postings", f"{info.postings:,}"))
    if info.index_bytes is not None:
        rows.append(("bytes", _size(info.index_bytes)))
    rows += [(name, str(value)) for name, value in info.settings.items()]
    rows.append(("made by", info.created_by))
    rows += [("" if number else "refused", sentence) for number, sentence in enumerate(info.refused)]
    output.line((info.address, "bold"))
    output.table(rows, indent=2)


def _rows(info: CollectionInfo) -> list[tuple[str, str]]:
    counts = [
        ("documents", f"{info.documents:,}"),
        ("deleted", f"{info.deleted:,} rows that `lexhound compact` would drop"),
        ("waiting", f"{info.pending:,} documents that are in no segment yet"),
    ]
    rows = [row for row in counts if not row[1].startswith("0 ")]
    rows += _unfinished_rows(info)
    if info.tenant_field is not None:
        rows.append(("tenants", f"{info.tenants or 0:,}, by the field {info.tenant_field}"))
    rows += [("damaged", f"{problem.where}: {problem.message}") for problem in info.damage]
    rows += _encoder_rows(info)
    rows += _dense_rows(info)
    if info.late_bytes is not None:
        rows.append(("late", f"vectors of tokens for late interaction, {_size(info.late_bytes)} in the database"))
    rows += _passage_rows(info)
    if info.fusion is not None:
        rows.append(("fusion", f"{info.fusion.method}, dense weight {info.fusion.dense_weight:g} (kept here)"))
    rows += _weight_rows(info)
    rows += [("note", note) for note in weight_notes(info)]
    return [
        *rows,
        ("segments", f"{len(info.segments):,}"),
        ("index", _size(info.index_bytes)),
        ("documents and metadata", _size(info.database_bytes)),
        ("", f"{_size(info.log_bytes)} of it in the log"),
        ("format", f"{info.format}, made by {info.created_by}"),
    ]


def _unfinished_rows(info: CollectionInfo) -> list[tuple[str, str]]:
    """Return an ingest job that runs, or one that was interrupted and how it goes on."""
    job = info.unfinished
    if job is None:
        return []
    if job.running is not None:
        process = f"process {job.running.pid} since {job.running.clock}"
        return [("running", f"an ingest job over {job.source}, by {process}; {counted(job.documents)} so far")]
    again = f"lexhound add {shlex.quote(info.path)} --discard-unfinished"
    return [
        (
            "unfinished",
            f"an ingest job over {job.source} was interrupted; it holds {counted(job.documents)}, not yet visible",
        ),
        ("", f"the same command finishes it, {again} drops it"),
    ]


def _encoder_rows(info: CollectionInfo) -> list[tuple[str, str]]:
    from lexhound.encoders.bm25.encoder import KIND as BM25
    from lexhound.encoders.libraries import describe_libraries

    encoder = info.encoder
    settings = ", ".join(
        f"{name} {_plain(value)}" for name, value in sorted(encoder.settings.items()) if value is not None
    )
    rows = [("encoder", f"{encoder.name} ({settings})" if settings else encoder.name)]
    if encoder.libraries:
        rows.append(("", f"made with {describe_libraries(encoder)}"))
    elif encoder.kind == BM25:
        rows.append(("", "made by a version that did not note its libraries, which read Hangul by whole words"))
    return rows


def _dense_rows(info: CollectionInfo) -> list[tuple[str, str]]:
    dense = info.dense
    if dense is None:
        return []
    rows = [
        ("dense", f"{dense.encoder.name}, {dense.vectors:,} vectors of {dense.width:,} values"),
        ("", f"{_size(dense.bytes)} in segments"),
    ]
    if dense.clustered:
        tables = f"{_size(dense.resident_bytes)} of tables in memory"
        rows.append(("", f"{dense.clustered:,} of them in clustered segments; {tables}"))
    elif dense.index != "auto":
        rows.append(("", f"index {dense.index}"))
    if dense.queries == "table":
        rows.append(("", "queries by a table of tokens, without the model"))
    return rows


def _passage_rows(info: CollectionInfo | EngineInfo) -> list[tuple[str, str]]:
    """Return how long texts are split, and how many texts that, or a model's limit, concerns."""
    rows = []
    if info.passages is not None:
        tokens, _, overlap = info.passages.partition("/")
        told = f"of {tokens} tokens, overlapping by {overlap}"
        rows.append(
            ("passages", f"{told}; {counted(info.split or 0, 'text')} split, {counted(info.rows or 0, 'row')} in all")
        )
    if info.cut:
        rows.append(("" if rows else "cut", f"{counted(info.cut, 'text')} longer than the model reads"))
    return rows


def _weight_rows(info: CollectionInfo) -> list[tuple[str, str]]:
    """Return terms and postings, the average length, and what 8-bit impacts lose."""
    rows = [("terms", f"{info.terms:,}"), ("postings", f"{info.postings:,}")]
    if info.rows + info.deleted:
        unit = "a document" if info.rows == info.documents else "a passage"
        rows.append(("", f"{info.postings / (info.rows + info.deleted):,.1f} {unit}"))
    if info.average_length is not None:
        rows.append(("average length", f"{info.average_length:,.1f} words"))
    loss = info.loss
    if loss.count:
        lost = f"{loss.relative_error:.2%} of the weight lost, at most {loss.max_absolute_error:.2g} at once"
        rows.append(("quantisation", f"8 bits; {lost}"))
    if len(info.impact_scales) > 1:
        rows.append(("", f"{len(info.impact_scales)} scales, as weights differ widely or came at different times"))
    return rows


def _as_json(info: CollectionInfo) -> dict[str, Any]:
    values = {name: getattr(info, name) for name in info.__dataclass_fields__}
    values["encoder"] = info.encoder.as_dict()
    values["dense"] = None
    if info.dense is not None:
        values["dense"] = asdict(info.dense) | {"encoder": info.dense.encoder.as_dict()}
    values["fusion"] = None if info.fusion is None else asdict(info.fusion)
    values["segments"] = [asdict(segment) for segment in info.segments]
    values["unfinished"] = None
    if info.unfinished is not None:
        values["unfinished"] = asdict(info.unfinished)
    values["damage"] = [asdict(problem) for problem in info.damage]
    values["far_average"] = None if info.far_average is None else asdict(info.far_average)
    values["loss"] = asdict(info.loss) | {
        "mean_absolute_error": info.loss.mean_absolute_error,
        "relative_error": info.loss.relative_error,
    }
    return values


def _plain(value: object) -> str:
    return {True: "on", False: "off"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _size(number: int) -> str:
    size = float(number)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.2f} GiB"
