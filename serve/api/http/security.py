"""Who may do what: API keys, their scopes, and the collections they open."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from lexhound.serve.errors import UsageError
from lexhound.serve.keys import Key, Scope, configured_key, find_key, read_keys
from lexhound.serve.settings import Settings

from .exceptions import AccessError

# How long a change of the key file may go unnoticed.
_RELOAD_SECONDS = 1.0

_log = logging.getLogger("lexhound.serve")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the holder of a key, or anyone where no key is asked for."""

    key: Key | None

    @property
    def name(self) -> str | None:
        """What logs call the caller."""
        return None if self.key is None else self.key.id or self.key.name

    @property
    def tenant(self) -> str | None:
        """The tenant that the caller is bound to."""
        return None if self.key is None else self.key.tenant

    def may(self, scope: Scope, collection: str | None) -> bool:
        """Return whether the caller has a right; `collection` is None where no single one is meant."""
        return self.key is None or self.key.allows(scope, collection)

    def check(self, scope: Scope, collection: str | None) -> None:
        """Raise AccessError (403) unless the caller has the right."""
        if not self.may(scope, collection):
            raise AccessError(
                f"the key does not open this collection for {'reading' if scope == 'read' else 'writing'}"
                if collection is not None
                else f"the key has no right to {scope}",
                hint="ask whoever runs the service for a key with more rights",
            )


ANYONE = Caller(None)


class Guard:
    """The keys of the service. Raises UsageError where the key file cannot be read when the service starts."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.keys_file
        self._configured = () if settings.api_key is None else (configured_key(settings.api_key.get_secret_value()),)
        self._needed = settings.has_keys
        self._stamp: tuple[int, int, int] | None = None
        self._trouble: str | None = None
        self._checked = time.monotonic()
        self._keys: Sequence[Key] = (
            self._configured if self._path is None else (*self._configured, *read_keys(self._path))
        )

    def identify(self, connection: HTTPConnection) -> Caller:
        """Return the caller of a request.

        Raises:
            AccessError: (401) there is no key, or it is none of ours.
        """
        if not self._needed:
            return ANYONE
        secret = _presented_key(connection)
        if secret is None:
            raise _unauthorised("the request carries no API key")
        self._reload()
        key = find_key(secret, self._keys)
        if key is None:
            raise _unauthorised("the API key is unknown")
        return Caller(key)

    def _reload(self) -> None:
        """Read the file again when it has changed. Where it is gone or cannot be read, none of its keys is valid."""
        now = time.monotonic()
        if self._path is None or now - self._checked < _RELOAD_SECONDS:
            return
        self._checked = now
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._keys = (*self._configured, *read_keys(self._path))
                self._stamp = stamp
                if self._trouble is not None:
                    _log.info("the key file can be read again: its keys are valid")
                self._trouble = None
        except (OSError, UsageError) as error:
            self._keys, self._stamp = self._configured, None
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("the key file cannot be read; none of its keys is valid until it can: %s", error)


def _presented_key(connection: HTTPConnection) -> str | None:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() == "basic":  # a name, which is anything, and the key as its password
        with suppress(ValueError):
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2] or None
    return connection.headers.get("x-api-key") or None


def _unauthorised(message: str) -> AccessError:
    return AccessError(
        message,
        hint="send it as `Authorization: Bearer <key>` or as `X-API-Key: <key>`",
        code="unauthorised",
        status=401,
        headers={"www-authenticate": "Bearer"},
    )
