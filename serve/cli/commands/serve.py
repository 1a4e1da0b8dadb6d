"""`lexhound serve` and `lexhound keys`: the REST service, and the keys that open it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lexhound.serve.cli.options import Json
from lexhound.serve.cli.output import Output

KEYS_FILE = Annotated[Path, typer.Option("--file", metavar="FILE", help="The file that keeps the keys' digests.")]
_DEFAULT_KEYS = Path("lexhound-keys.json")


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a line of the log is."""

    JSON = "json"
    TEXT = "text"


class KeyScope(StrEnum):
    """What a key allows."""

    READ = "read"
    WRITE = "write"


def _option(help: str, **options: Any) -> Any:
    return typer.Option(help=help, show_default=False, **options)


def serve(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="A collection (a directory, or an address such as milvus://HOST/NAME), or a folder of collections.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str | None, _option("The address to listen on; 127.0.0.1 unless given.")] = None,
    port: Annotated[int | None, _option("The port; 8080 unless given, 0 for a free one.")] = None,
    workers: Annotated[int | None, _option("Processes that answer; the first of them writes.")] = None,
    search_threads: Annotated[int | None, _option("Searches at a time, in each process.")] = None,
    max_waiting: Annotated[int | None, _option("Requests that may wait before others get 429.")] = None,
    max_body_bytes: Annotated[int | None, _option("Largest body of a request, bulk loads apart.")] = None,
    max_document_bytes: Annotated[int | None, _option("Largest document of a bulk load, as JSON.")] = None,
    max_query_characters: Annotated[int | None, _option("Longest query or filter.")] = None,
    max_vector_terms: Annotated[int | None, _option("Most terms of a query given as weights.")] = None,
    max_k: Annotated[int | None, _option("Most hits of one answer.")] = None,
    max_depth: Annotated[int | None, _option("Deepest hit that offset and k may reach together.")] = None,
    max_batch: Annotated[int | None, _option("Most queries of a batch, or ids of a deletion.")] = None,
    backups: Annotated[Path | None, _option("The folder for backups made over REST.", metavar="DIR")] = None,
    search_seconds: Annotated[float | None, _option("How long a search, count, batch or facets may take.")] = None,
    delete_seconds: Annotated[float | None, _option("How long deleting a collection waits for its loads.")] = None,
    header_seconds: Annotated[float | None, _option("How long the head of a request may take.")] = None,
    body_seconds: Annotated[float | None, _option("How long a body, or the reading of an answer, may stall.")] = None,
    body_rate: Annotated[int | None, _option("Least bytes a second of a body; 0 for any.")] = None,
    idle_seconds: Annotated[float | None, _option("How long a connection is kept for the next request.")] = None,
    max_connections: Annotated[int | None, _option("Connections at a time, in each process.")] = None,
    max_connections_per_address: Annotated[int | None, _option("Connections of one address at a time.")] = None,
    refresh_seconds: Annotated[float | None, _option("How often to look for new documents.")] = None,
    keys_file: Annotated[
        Path | None, _option("The file of API keys that `lexhound keys` writes.", metavar="FILE")
    ] = None,
    api_key: Annotated[
        str | None, _option("One API key with all rights, or its sha256:... digest.", metavar="KEY")
    ] = None,
    insecure: Annotated[bool | None, _option("Listen beyond this machine without any key.")] = None,
    open_metrics: Annotated[bool | None, _option("Answer /metrics without a key.")] = None,
    cors_origins: Annotated[
        str | None, _option("Origins whose pages may call the service, comma-separated.", metavar="ORIGINS")
    ] = None,
    allowed_hosts: Annotated[
        str | None, _option("Host names that requests may use, comma-separated.", metavar="NAMES")
    ] = None,
    encoders: Annotated[
        str | None, _option("Encoders for collections made over REST, comma-separated.", metavar="NAMES")
    ] = None,
    trust_remote_code: Annotated[
        bool | None, _option("Run the Python code that comes with collections' encoders.")
    ] = None,
    shutdown_seconds: Annotated[float | None, _option("How long running requests may take after SIGTERM.")] = None,
    log_level: Annotated[LogLevel | None, _option("The lowest level that is logged.")] = None,
    log_format: Annotated[LogFormat | None, _option("One JSON object a line, or plain text.")] = None,
    config: Annotated[Path | None, _option("Settings from a TOML file.", metavar="FILE")] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the effective settings and stop.", show_default=False)
    ] = False,
) -> None:
    """Serve collections over REST, with a search page at /.

    Settings come from these options, then from the environment (LEXHOUND_PORT, ...), then from a TOML file.

    Example:
        lexhound serve my.index --port 8080
        lexhound serve data/ --port 8080
        lexhound serve milvus://host:19530/my --port 8080
    """
    flags = {name: value for name, value in locals().items() if name not in {"config", "print_config"}}
    for name in ("log_level", "log_format"):
        flags[name] = None if flags[name] is None else str(flags[name])
    from lexhound.serve.extras import require_serve

    require_serve()
    from lexhound.serve.settings import check_exposure, load_settings

    settings = load_settings(flags, config)
    if print_config:
        Output(json=True).document(settings.shown())
        return
    check_exposure(settings)
    from lexhound.serve.api.server import serve as run

    code = run(settings)
    if code:
        raise typer.Exit(code)


keys = typer.Typer(
    name="keys",
    help="Make, list and revoke the API keys of `lexhound serve --keys-file`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for the list.", show_default=False)],
    scope: Annotated[
        list[KeyScope] | None,
        typer.Option(help="What it allows; may be given twice. Both unless given.", show_default=False),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The only collections it opens; may be repeated.", show_default=False),
    ] = None,
    file: KEYS_FILE = _DEFAULT_KEYS,
    json: Json = False,
) -> None:
    """Make a key and print it once; the file keeps only its digest.

    Example:
        lexhound keys create indexer --scope write --collection my
    """
    from lexhound.serve.keys import SCOPES, create_key

    scopes = SCOPES if not scope else tuple(each for each in SCOPES if each in {one.value for one in scope})
    text, kept = create_key(file, name, scopes, collection)
    output = Output(json=json)
    if json:
        output.document({"key": text, "id": kept.id, "name": name, "file": str(file)})
        return
    output.line((text, "bold"))


@keys.command("list")
def show(file: KEYS_FILE = _DEFAULT_KEYS, json: Json = False) -> None:
    """List keys: id, name, rights, collections, creation time.

    Example:
        lexhound keys list
    """
    from lexhound.serve.keys import read_keys

    found = read_keys(file)
    output = Output(json=json)
    if json:
        output.document([{name: value for name, value in key.as_dict().items() if name != "sha256"} for key in found])
        return
    for key in found:
        opened = "all collections" if key.collections is None else ", ".join(sorted(key.collections))
        output.row(key.id, key.name, "+".join(sorted(key.scopes)), opened, key.created)


@keys.command("revoke")
def revoke(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, as `lexhound keys list` shows it.", show_default=False)
    ],
    file: KEYS_FILE = _DEFAULT_KEYS,
    json: Json = False,
) -> None:
    """Remove a key from the file; a running service refuses it within two seconds.

    Example:
        lexhound keys revoke 0123456789ab
    """
    from lexhound.serve.keys import revoke_key

    gone = revoke_key(file, identifier)
    output = Output(json=json)
    if json:
        output.document({"revoked": gone.id, "name": gone.name})
        return
    output.line(f"revoked {gone.id} ({gone.name})")
