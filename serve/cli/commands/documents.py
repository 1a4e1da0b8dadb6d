"""`lexhound get` and `lexhound delete`: documents by their ids."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexhound.serve.cli.options import AllowUnknownFields, Filter, Json, Place, Tenant, as_text, confined
from lexhound.serve.cli.output import Output, tell

if TYPE_CHECKING:
    from lexhound.retrieval.documents.document import Document
    from lexhound.retrieval.engines.protocol import Backend

_NAMED = 10
_SHOWN_CHARACTERS = 80


def get(
    directory: Place,
    identifier: Annotated[
        str | None, typer.Argument(metavar="ID", help="The document's id.", show_default=False)
    ] = None,
    filter: Filter = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="With --filter: how many documents at most.")] = 100,
    allow_unknown_fields: AllowUnknownFields = False,
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """Print one document, or list those that pass a filter.

    A list has a line a document: id and title, or with --json the whole document.

    Example:
        lexhound get my.index doc17
        lexhound get my.index doc17 --json
        lexhound get my.index --filter 'year < 1990' --limit 20
    """
    from lexhound.retrieval.documents.document import validate_id
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import NotFoundError, UsageError

    output = Output(json=json)
    if (identifier is None) == (filter is None):
        raise UsageError("what to print is not said, or twice", hint="name either an id, or a filter with --filter")
    if identifier is not None:
        validate_id(identifier)
    with open_collection(directory, milvus=milvus_settings()) as opened:
        collection = confined(opened, tenant)
        if identifier is None:
            _list(collection, output, collection.ids(filter or "", allow_unknown_fields=allow_unknown_fields), limit)
            return
        document = collection.get(identifier)
    if document is None:
        raise NotFoundError(f"there is no document {identifier!r}", where=str(directory))
    if json:
        output.document(_as_json(document))
        return
    output.line((document.title or document.id, "bold"))
    rows = [("id", document.id)] + [(name, _shown(value)) for name, value in document.metadata.items()]
    output.table(rows)
    output.line()
    for line in document.text.splitlines():
        output.line(line)


def _list(collection: Backend, output: Output, ids: list[str], limit: int) -> None:
    """Print a line a document."""
    from lexhound.retrieval.documents.snippet import printable

    for identifier in ids[:limit]:
        document = collection.get(identifier)
        if document is None:  # deleted meanwhile
            continue
        if output.json:
            output.json_line(_as_json(document))
        else:
            output.row(printable(document.id), printable(document.title or document.text[:_SHOWN_CHARACTERS]))
    if not ids:
        tell("no document passes the filter")
    elif len(ids) > limit:
        tell(f"{len(ids) - limit:,} more pass the filter: --limit {len(ids)} prints all of them")


def _as_json(document: Document) -> dict[str, Any]:
    fields = {"title": document.title, "text": document.text, "metadata": dict(document.metadata)}
    return {"id": document.id, **fields}


def delete(
    directory: Place,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="The documents' ids.", show_default=False)
    ] = None,
    ids_from: Annotated[
        Path | None,
        typer.Option("--ids-from", metavar="FILE", help="A file with an id on every line, or -.", show_default=False),
    ] = None,
    filter: Filter = None,
    allow_unknown_fields: AllowUnknownFields = False,
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """Delete documents by id, or those that pass a filter.

    The command names ids that do not exist. If none of them exists, it fails (exit code 1).

    Example:
        lexhound delete my.index doc17 doc18
        lexhound delete my.index --ids-from withdrawn.txt
        lexhound delete my.index --filter 'year < 1990'
    """
    from lexhound.retrieval.documents.document import validate_id
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import NotFoundError, UsageError

    requested = [validate_id(identifier) for identifier in ids or []]
    if ids_from is not None:
        requested += _read_ids(ids_from)
    if not requested and filter is None:
        raise UsageError(
            "there is nothing to delete", hint="name ids, a file of ids with --ids-from, or a filter with --filter"
        )
    if requested and filter is not None:
        raise UsageError("both ids and a filter are given", hint="give one of them")
    output = Output(json=json)
    with open_collection(directory, writable=True, milvus=milvus_settings()) as opened:
        collection = confined(opened, tenant)
        if filter is not None:
            requested = collection.ids(filter, allow_unknown_fields=allow_unknown_fields)
            if not requested:
                raise NotFoundError("no document passes the filter", where=str(directory))
        requested = list(dict.fromkeys(requested))
        deleted = collection.delete(requested)
    deleted_ids = set(deleted)
    missing = [identifier for identifier in requested if identifier not in deleted_ids]
    if not deleted:
        raise NotFoundError(_missing(missing), where=str(directory))
    if json:
        output.document({"deleted": deleted, "missing": missing})
        return
    output.line(f"{len(deleted):,} of {directory}'s documents deleted" if len(deleted) != 1 else "1 document deleted")
    if missing:
        tell(_missing(missing))


def _read_ids(path: Path) -> list[str]:
    """Return the ids of a file, one a line; blank lines are passed over.

    Raises:
        InvalidDocumentError: a line is no id; says which.
    """
    from lexhound.retrieval.documents.document import validate_id
    from lexhound.retrieval.errors import InvalidDocumentError

    name = "standard input" if str(path) == "-" else str(path)
    content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    ids = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            identifier = line.removesuffix(b"\r").decode()
            if identifier:
                ids.append(validate_id(identifier))
        except UnicodeDecodeError as error:
            raise InvalidDocumentError(
                "not UTF-8", where=f"{name}, line {number}", hint="convert the file to UTF-8"
            ) from error
        except InvalidDocumentError as error:
            raise InvalidDocumentError(error.message, where=f"{name}, line {number}", hint=error.hint) from error
    return ids


def _missing(ids: list[str]) -> str:
    named = ", ".join(repr(as_text(identifier)) for identifier in ids[:_NAMED])
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return f"not in the collection: {named}{more}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    import orjson

    return orjson.dumps(value).decode()
