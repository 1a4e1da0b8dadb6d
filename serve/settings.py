"""The settings of the service: by flag, then environment (`LEXHOUND_*`), then TOML file, then default.

Everything that the environment may decide is decided here and nowhere else.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.encoders.checkpoints.bundled import MINI
from lexhound.retrieval.collection.default_encoders import default_encoder
from lexhound.retrieval.collection.request import MAX_K, MAX_QUERY_CHARACTERS
from lexhound.retrieval.engines.address import looks_like_address, read_address
from lexhound.retrieval.errors import UnknownAddressError

from .errors import UsageError

PREFIX = "LEXHOUND_"
CONFIG = f"{PREFIX}CONFIG"
MASK = "**********"

MIB = 2**20


def _default_encoders() -> tuple[str, ...]:
    """Return what is offered unless the settings say otherwise, the default of new collections first."""
    return tuple(dict.fromkeys((default_encoder(), MINI, BM25)))


class Settings(BaseSettings):
    """Every setting of `lexhound serve`; `docs/settings.md` says more about each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    data: Path | str = Field(
        description="The collection to serve, a directory or an address, or the folder whose collections to serve."
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Processes that answer; the first of them writes.")
    search_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="Searches at a time, in each process."
    )
    max_waiting: int = Field(
        256, ge=0, le=1_000_000, description="Requests that may wait for a thread before others are sent away (429)."
    )
    max_body_bytes: int = Field(4 * MIB, ge=1024, description="Largest body of a request, bulk loads apart.")
    max_document_bytes: int = Field(16 * MIB, ge=1024, description="Largest document of a bulk load, as JSON.")
    max_query_characters: int = Field(8192, ge=1, le=MAX_QUERY_CHARACTERS, description="Longest query or filter.")
    max_vector_terms: int = Field(2048, ge=1, le=100_000, description="Most terms of a query given as weights.")
    max_k: int = Field(1000, ge=1, le=MAX_K, description="Most hits of one answer.")
    max_depth: int = Field(10_000, ge=1, le=MAX_K, description="Deepest hit that offset and k may reach together.")
    max_batch: int = Field(1000, ge=1, le=100_000, description="Most queries of a batch, or ids of a deletion.")
    backups: Path | None = Field(None, description="The folder for backups that are asked for over REST.")
    search_seconds: float = Field(
        10.0, gt=0, le=3600, description="How long a search, count, batch or list of facets may take."
    )
    delete_seconds: float = Field(
        30.0, ge=0, le=3600, description="How long the deletion of a collection waits for loads that write to it."
    )
    header_seconds: float = Field(20.0, gt=0, le=3600, description="How long the head of a request may take to come.")
    body_seconds: float = Field(
        30.0, gt=0, le=3600, description="How long a body, or an answer to be read, may stand still."
    )
    body_rate: int = Field(
        100, ge=0, le=2**30, description="Least bytes a second of a body, over body_seconds; 0 for any."
    )
    idle_seconds: float = Field(
        15.0, gt=0, le=3600, description="How long a connection is kept open for the next request."
    )
    max_connections: int = Field(1000, ge=1, le=1_000_000, description="Connections at a time, in each process.")
    max_connections_per_address: int = Field(
        250, ge=1, le=1_000_000, description="Those of one address, in each process."
    )
    refresh_seconds: float = Field(
        0.4, gt=0, le=3600, description="How often to look for new documents; they are searchable soon after."
    )
    keys_file: Path | None = Field(None, description="The file of API keys that `lexhound keys` writes.")
    api_key: SecretStr | None = Field(None, description="One API key with all rights, or its sha256:... digest.")
    insecure: bool = Field(False, description="Listen beyond this machine without any API key.")
    open_metrics: bool = Field(False, description="Answer /metrics without a key.")
    mcp: bool = Field(False, description="Answer agents over MCP at /mcp, with tools that read.")
    mcp_write: bool = Field(False, description="The same, with tools that add and delete documents, too.")
    mcp_characters: int = Field(
        8_000, ge=500, le=200_000, description="Length of an answer over MCP, unless its caller says otherwise."
    )
    opensearch: bool = Field(False, description="Answer OpenSearch's API below opensearch_prefix.")
    opensearch_prefix: str = Field(
        "/opensearch", pattern=r"^(/[A-Za-z0-9_-]+)+$", description="The path below which it is answered."
    )
    traces: str | None = Field(
        None, pattern=r"^https?://", description="Where OpenTelemetry traces go: the address of an OTLP collector."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may call the service, comma-separated; none by default."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Names by which the service may be called, comma-separated, beside this machine's own."
    )
    encoders: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=_default_encoders,
        description="Encoders that collections may be created with over REST, comma-separated; the first is the "
        "default.",
    )
    trust_remote_code: bool = Field(False, description="Run Python code that comes with collections' encoders.")
    shutdown_seconds: float = Field(30.0, ge=0, le=3600, description="How long requests may finish after SIGTERM.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or plain text.")

    @field_validator("allowed_hosts", "cors_origins", "encoders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("data", mode="before")
    @classmethod
    def _path_or_address(cls, value: object) -> object:
        """Return a path, unless it is written as an address is."""
        return Path(value) if isinstance(value, str) and not looks_like_address(value) else value

    @field_validator("api_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 20:
            raise ValueError("an API key must have at least 20 characters; `lexhound keys create` makes good ones")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.max_depth < self.max_k:
            raise ValueError("max_depth must be at least max_k")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return flags, environment and nothing else; the file is put behind them by `load_settings`."""
        return init_settings, env_settings

    @property
    def has_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.keys_file is not None or self.api_key is not None

    @property
    def has_mcp(self) -> bool:
        """Whether agents are answered over MCP."""
        return self.mcp or self.mcp_write

    @property
    def offered_encoders(self) -> dict[str, str]:
        """What callers may call an encoder by, and what it is: `bm25`, a path, a hub name."""
        return {name: spec or name for name, _, spec in (each.partition("=") for each in self.encoders)}

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return self.host == "localhost"

    def shown(self) -> dict[str, Any]:
        """Return the effective values as JSON holds them, secrets masked."""
        values = self.model_dump(mode="json")
        if self.api_key is not None:
            values["api_key"] = MASK
        return values

    def revealed(self) -> dict[str, Any]:
        """Return the effective values with secrets, for a process of our own."""
        values = self.model_dump(mode="json")
        if self.api_key is not None:
            values["api_key"] = self.api_key.get_secret_value()
        return values


def load_settings(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Return the effective settings: `flags` (those given), environment, the TOML file, defaults, in this order.

    Args:
        config: the TOML file; by default the one that LEXHOUND_CONFIG names, if any.

    Raises:
        UsageError: a value is not allowed, or the file cannot be read; says which setting and where it came from.
    """
    path = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    values = {} if path is None else _read(path)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=values)

    try:
        loaded = FromFile(**{name: value for name, value in flags.items() if value is not None})
        return Settings.model_construct(**dict(loaded))
    except ValidationError as error:
        raise _usage_error(error, flags, values, path) from error


def check_exposure(settings: Settings) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        UsageError
    """
    if not settings.is_local and not settings.has_keys and not settings.insecure:
        raise UsageError(
            f"listening on {settings.host} would let anyone who reaches this machine read and write without a key",
            hint="make a key with `lexhound keys create` and give --keys-file, or say --insecure if a proxy guards it",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
    for name in ("data", "keys_file", "backups"):  # relative to the file that names them, wherever the command is run
        if isinstance(values.get(name), str):
            values[name] = _relative_to(path.parent, values[name], address=name == "data")
    return values


def _relative_to(folder: Path, text: str, *, address: bool) -> str:
    if not address or not looks_like_address(text):
        return str(folder / text)
    try:
        parsed = read_address(text)
    except UnknownAddressError:  # told when it is used
        return text
    return str(parsed if parsed.path is None else replace(parsed, path=folder / parsed.path))


def _usage_error(
    error: ValidationError, flags: Mapping[str, Any], values: Mapping[str, Any], path: Path | None
) -> UsageError:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing" and name == "data":
        return UsageError("there is nothing to serve", hint="name a collection or a folder: lexhound serve my.index")
    if first["type"] == "extra_forbidden":
        return UsageError(
            f"the settings file {path} has {name!r}, which is no setting", hint="docs/settings.md lists all settings"
        )
    if not name:
        return UsageError(f"the settings contradict each other: {message}")
    source = (
        f"--{name.replace('_', '-')}"
        if flags.get(name) is not None
        else f"{PREFIX}{name.upper()}"
        if f"{PREFIX}{name.upper()}" in {known.upper() for known in os.environ}
        else str(path)
    )
    return UsageError(f"{source}: {message[0].lower()}{message[1:]}" if message else source)
