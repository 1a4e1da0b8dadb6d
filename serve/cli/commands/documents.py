"""`lexhound get` and `lexhound delete`: documents by their ids."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lexhound.serve.cli.options import Json, Place, as_text
from lexhound.serve.cli.output import Output, tell

_NAMED = 10


def get(
    directory: Place,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The document's id.", show_default=False)],
    json: Json = False,
) -> None:
    """Print one document: title, metadata and text.

    Example:
        lexhound get my.index doc17
        lexhound get my.index doc17 --json
    """
    from lexhound.retrieval.documents.document import validate_id
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import NotFoundError

    output = Output(json=json)
    validate_id(identifier)
    with open_collection(directory, milvus=milvus_settings()) as collection:
        document = collection.get(identifier)
    if document is None:
        raise NotFoundError(f"there is no document {identifier!r}", where=str(directory))
    if json:
        fields = {"title": document.title, "text": document.text, "metadata": dict(document.metadata)}
        output.document({"id": document.id, **fields})
        return
    output.line((document.title or document.id, "bold"))
    rows = [("id", document.id)] + [(name, _shown(value)) for name, value in document.metadata.items()]
    output.table(rows)
    output.line()
    for line in document.text.splitlines():
        output.line(line)


def delete(
    directory: Place,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="The documents' ids.", show_default=False)
    ] = None,
    ids_from: Annotated[
        Path | None,
        typer.Option("--ids-from", metavar="FILE", help="A file with an id on every line, or -.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Delete documents by id.

    The command names ids that do not exist. If none of them exists, it fails (exit code 1).

    Example:
        lexhound delete my.index doc17 doc18
        lexhound delete my.index --ids-from withdrawn.txt
    """
    from lexhound.retrieval.documents.document import validate_id
    from lexhound.retrieval.engines.opening import open_collection
    from lexhound.serve.engines import milvus_settings
    from lexhound.serve.errors import NotFoundError, UsageError

    requested = [validate_id(identifier) for identifier in ids or []]
    if ids_from is not None:
        requested += _read_ids(ids_from)
    if not requested:
        raise UsageError("there is nothing to delete", hint="name ids, or a file of ids with --ids-from")
    requested = list(dict.fromkeys(requested))
    output = Output(json=json)
    with open_collection(directory, writable=True, milvus=milvus_settings()) as collection:
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
