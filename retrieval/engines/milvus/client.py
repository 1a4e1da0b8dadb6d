"""Talking to Milvus: connections, errors in our words, and writes that are tried again.

pymilvus and milvus-lite are imported here and nowhere else, and only when an address asks for them.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from lexhound.retrieval.engines.address import MILVUS_LITE, Address
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import EngineError, EngineUnreachableError, MissingEngineError

T = TypeVar("T")

_INSTALL = "pip install 'lexhound[milvus]'"
# gRPC's names of failures that another attempt may not meet, and Milvus's codes likewise: rate limits, a node that is
# being replaced, a channel that is not there yet.
_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"}
_PASSING_CODES = {2, 5, 8, 500, 502, 503, 901, 902}
_DENIED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "auth check failure")
# A server that is there answers at once; one that is not is to be told of soon.
_CONNECTING_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0

# Servers in this process: file to how many clients use it.
_lite: dict[str, int] = {}
_lite_lock = RLock()


class Client:
    """A connection. Its methods are pymilvus's; failures become errors of ours."""

    def __init__(self, address: Address, settings: MilvusSettings) -> None:
        """Connect.

        Raises:
            MissingEngineError: pymilvus or milvus-lite is not installed.
            EngineUnreachableError: nobody answers, or the token is refused.
        """
        self.address = str(address)
        self.settings = settings
        self.lite = address.engine == MILVUS_LITE
        self._file = str(address.path.resolve()) if self.lite and address.path is not None else ""
        module = _import(lite=self.lite)
        self._module = module
        if self.lite:
            _hold(self._file)
        try:
            self._client: Any = self.call(lambda: self._connect(module, address), connecting=True)
        except BaseException:
            if self.lite:
                _release(self._file)
            raise
        self.version = self._version()

    def _connect(self, module: Any, address: Address) -> Any:
        settings = self.settings
        patience = min(settings.timeout, _CONNECTING_SECONDS)
        if self.lite:
            return module.MilvusClient(uri=self._file, timeout=patience)
        options: dict[str, Any] = {"secure": settings.tls}
        if settings.certificate:
            options["server_pem_path"] = settings.certificate
        return module.MilvusClient(
            uri=f"{'https' if settings.tls else 'http'}://{address.host}:{address.port}",
            token=settings.token,
            db_name=settings.database,
            timeout=patience,
            **options,
        )

    def _version(self) -> str:
        if self.lite:
            from importlib.metadata import version

            return f"milvus-lite {version('milvus-lite')}"
        return f"milvus {self.call(lambda: self._client.get_server_version(timeout=self.settings.timeout))}"

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of pymilvus's client once.

        Raises:
            EngineError, EngineUnreachableError
        """
        options.setdefault("timeout", self.settings.timeout)
        return self.call(lambda: getattr(self._client, method)(*arguments, **options))

    def write(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method that may be called again without harm; failures that pass are waited out.

        Raises:
            EngineError, EngineUnreachableError: as often as the settings allow.
        """
        pause = _FIRST_PAUSE
        for attempts_left in range(self.settings.attempts - 1, -1, -1):
            try:
                return self(method, *arguments, **options)
            except _PassingError:
                if not attempts_left:
                    raise
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        raise AssertionError("unreachable")

    def call(self, ask: Callable[[], T], *, connecting: bool = False) -> T:
        """Return what `ask` returns, with its failures in our words."""
        try:
            return ask()
        except (EngineError, MemoryError):
            raise
        except Exception as error:
            raise self._engine_error(error, connecting=connecting) from error

    def _engine_error(self, error: Exception, *, connecting: bool) -> EngineError:
        name = _name_of(error)
        message = str(getattr(error, "message", "") or getattr(error, "details", lambda: "")() or error)
        message = " ".join(message.split())
        if any(word in (name, message) or word in message for word in _DENIED):
            return EngineUnreachableError(
                "Milvus does not let us in", where=self.address, hint="check LEXHOUND_MILVUS_TOKEN"
            )
        if connecting:
            if self.lite:
                return EngineUnreachableError(
                    f"the engine cannot open the file: {message}",
                    where=self.address,
                    hint="only one process at a time can use it; check that no other does, and that it can be written",
                )
            return EngineUnreachableError(
                f"Milvus does not answer: {message}",
                where=self.address,
                hint="check the address, that the server runs, and LEXHOUND_MILVUS_TLS",
            )
        if name in _PASSING or getattr(error, "code", None) in _PASSING_CODES:
            return _PassingError(
                f"Milvus could not do it now: {message}", where=self.address, hint="try again when it is less busy"
            )
        return EngineError(f"Milvus failed: {message}", where=self.address)

    @property
    def types(self) -> Any:
        """pymilvus's DataType."""
        return self._module.DataType

    def close(self) -> None:
        """Give back the connection, and with the last one to a file its server."""
        with suppress(Exception):  # it may be gone already
            self._client.close()
        if self.lite:
            _release(self._file)


class _PassingError(EngineUnreachableError):
    """A failure that another attempt may not meet."""


def require_packages(*, lite: bool) -> None:
    """Raise MissingEngineError where pymilvus, or milvus-lite, is not installed."""
    _import(lite=lite)


def _name_of(error: Exception) -> str:
    code = getattr(error, "code", None)
    with suppress(Exception):
        if callable(code):
            code = code()
        return str(getattr(code, "name", code))
    return ""


def _import(*, lite: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # milvus-lite's use of pkg_resources
            import pymilvus

            if lite:
                import milvus_lite.server_manager  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "pkg_resources":
            raise MissingEngineError(
                "milvus-lite needs the module pkg_resources, which this setuptools no longer has",
                hint="pip install 'setuptools<81'",
            ) from error
        raise MissingEngineError(f"addresses of Milvus need the package {error.name}", hint=_INSTALL) from error
    # It logs what it then raises, and we tell what is raised.
    for name in ["pymilvus", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "pymilvus":  # some of its loggers have levels of their own
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return pymilvus


def _hold(file: str) -> None:
    with _lite_lock:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        _lite[file] = _lite.get(file, 0) + 1


def _release(file: str) -> None:
    """Stop the server of a file when nobody in this process uses it any more, so that other processes can."""
    with _lite_lock:
        _lite[file] -= 1
        if _lite[file]:
            return
        del _lite[file]
        from milvus_lite.server_manager import server_manager_instance

        with suppress(Exception):
            server_manager_instance.release_server(file)
