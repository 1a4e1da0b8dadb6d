"""`lexhound serve`: the REST service."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lexhound.serve.cli.option_groups import with_options
from lexhound.serve.cli.output import Output, is_terminal, tell


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


def _option(help: str, **options: Any) -> Any:
    return typer.Option(help=help, show_default=False, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Arguments and options of `lexhound serve`: the settings of the service, and None for those not given."""

    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DIR",
            help="A collection (a directory, or an address such as milvus://HOST/NAME), or a folder of collections.",
            show_default=False,
        ),
    ] = None
    host: Annotated[str | None, _option("The address to listen on; 127.0.0.1 unless given.")] = None
    port: Annotated[int | None, _option("The port; 8080 unless given, 0 for a free one.")] = None
    workers: Annotated[int | None, _option("Processes that answer; the first of them writes.")] = None
    search_threads: Annotated[int | None, _option("Searches at a time, in each process.")] = None
    max_waiting: Annotated[int | None, _option("Requests that may wait before others get 429.")] = None
    max_body_bytes: Annotated[int | None, _option("Largest body of a request, bulk loads apart.")] = None
    max_document_bytes: Annotated[int | None, _option("Largest document of a bulk load, as JSON.")] = None
    max_query_characters: Annotated[int | None, _option("Longest query or filter.")] = None
    max_vector_terms: Annotated[int | None, _option("Most terms of a query given as weights.")] = None
    max_k: Annotated[int | None, _option("Most hits of one answer.")] = None
    max_depth: Annotated[int | None, _option("Deepest hit that offset and k may reach together.")] = None
    max_batch: Annotated[int | None, _option("Most queries of a batch, or ids of a deletion.")] = None
    backups: Annotated[Path | None, _option("The folder for backups made over REST.", metavar="DIR")] = None
    search_seconds: Annotated[float | None, _option("How long a search, count, batch or facets may take.")] = None
    delete_seconds: Annotated[float | None, _option("How long deleting a collection waits for its loads.")] = None
    header_seconds: Annotated[float | None, _option("How long the head of a request may take.")] = None
    body_seconds: Annotated[float | None, _option("How long a body, or the reading of an answer, may stall.")] = None
    body_rate: Annotated[int | None, _option("Least bytes a second of a body; 0 for any.")] = None
    idle_seconds: Annotated[float | None, _option("How long a connection is kept for the next request.")] = None
    max_connections: Annotated[int | None, _option("Connections at a time, in each process.")] = None
    max_connections_per_address: Annotated[int | None, _option("Connections of one address at a time.")] = None
    refresh_seconds: Annotated[float | None, _option("How often to look for new documents.")] = None
    keys_file: Annotated[Path | None, _option("The file of API keys that `lexhound keys` writes.", metavar="FILE")] = (
        None
    )
    api_key: Annotated[str | None, _option("One API key with all rights, or its sha256:... digest.", metavar="KEY")] = (
        None
    )
    insecure: Annotated[bool | None, _option("Listen beyond this machine without any key.")] = None
    open_metrics: Annotated[bool | None, _option("Answer /metrics without a key.")] = None
    mcp: Annotated[bool | None, _option("Answer agents over MCP at /mcp, with tools that read.")] = None
    mcp_write: Annotated[bool | None, _option("The same, with tools that add and delete documents, too.")] = None
    mcp_characters: Annotated[int | None, _option("Length of an answer over MCP; 8000 unless given.")] = None
    opensearch: Annotated[bool | None, _option("Answer OpenSearch's API below /opensearch.")] = None
    opensearch_prefix: Annotated[str | None, _option("Below which path; /opensearch unless given.")] = None
    traces: Annotated[
        str | None, _option("Where OpenTelemetry traces go, such as http://localhost:4318.", metavar="URL")
    ] = None
    cors_origins: Annotated[
        str | None, _option("Origins whose pages may call the service, comma-separated.", metavar="ORIGINS")
    ] = None
    allowed_hosts: Annotated[
        str | None, _option("Host names that requests may use, comma-separated.", metavar="NAMES")
    ] = None
    encoders: Annotated[
        str | None, _option("Encoders for collections made over REST, comma-separated.", metavar="NAMES")
    ] = None
    trust_remote_code: Annotated[bool | None, _option("Run the Python code that comes with collections' encoders.")] = (
        None
    )
    shutdown_seconds: Annotated[float | None, _option("How long running requests may take after SIGTERM.")] = None
    log_level: Annotated[LogLevel | None, _option("The lowest level that is logged.")] = None
    log_format: Annotated[LogFormat | None, _option("One JSON object a line, or plain text.")] = None
    config: Annotated[Path | None, _option("Settings from a TOML file.", metavar="FILE")] = None
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the effective settings and stop.", show_default=False)
    ] = False

    def flags(self) -> dict[str, Any]:
        """Return the settings by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["config"], values["print_config"]
        return {name: value.value if isinstance(value, StrEnum) else value for name, value in values.items()}


def _announce(address: str) -> None:
    """Tell a person where to look; 0.0.0.0 and :: are every address of this machine, which no browser opens."""
    shown = address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    tell(f"search page: {shown}/   REST: {shown}/docs   stop: Ctrl-C")


@with_options
def serve(options: ServeOptions) -> None:
    """Serve collections over REST, with a search page at /.

    Settings come from these options, then from the environment (LEXHOUND_PORT, ...), then from a TOML file.

    Example:
        lexhound serve my.index --port 8080
        lexhound serve data/ --port 8080
        lexhound serve milvus://host:19530/my --port 8080
    """
    from lexhound.serve.extras import require_serve

    require_serve()
    from lexhound.serve.settings import check_exposure, load_settings

    settings = load_settings(options.flags(), options.config)
    if options.print_config:
        Output(json=True).document(settings.shown())
        return
    check_exposure(settings)
    from lexhound.serve.api.server import serve as run

    code = run(settings, _announce if is_terminal(sys.stderr) else None)
    if code:
        raise typer.Exit(code)
