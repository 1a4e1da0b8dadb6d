"""API keys: made, kept and checked.

A key is `lxh_`, a short public id, `_` and 32 random bytes in base64url. The file holds the SHA-256 of each key and
never the key itself: slow hashes such as scrypt protect passwords that can be guessed, and 256 random bits cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import orjson

from lexhound.core.atomic_files import write_file
from lexhound.core.strict_json import json_fault, parse_json
from lexhound.retrieval.errors import TenantError
from lexhound.retrieval.tenants.keys import check_tenant

from .errors import NotFoundError, UsageError

Scope: TypeAlias = Literal["read", "write"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FORMAT = 2
"""The newest. A file is written in the oldest that can hold it: 1, or 2 where a key is bound to a tenant, so that a
version that knows nothing of tenants refuses it rather than take the key for one of all tenants."""
DIGEST_PREFIX = "sha256:"

_KEY = re.compile(r"lxh_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key.

    Attributes:
        digest: SHA-256 of the whole key, hexadecimal.
        scopes: `read` (search, get, describe) and `write` (insert, delete, create).
        collections: the only ones it opens; None for all.
        tenant: the only one whose documents it opens; None where it is bound to none.
    """

    id: str
    name: str
    digest: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None
    created: str
    tenant: str | None = None

    def allows(self, scope: Scope, collection: str | None) -> bool:
        """Return whether it has the right to do something; `collection` is None where no single one is meant."""
        return scope in self.scopes and (
            self.collections is None or collection is None or collection in self.collections
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the form in which it is kept."""
        values = {
            "id": self.id,
            "name": self.name,
            "sha256": self.digest,
            "scopes": sorted(self.scopes),
            "collections": None if self.collections is None else sorted(self.collections),
            "created": self.created,
        }
        return values if self.tenant is None else values | {"tenant": self.tenant}


def digest_of(key: str) -> str:
    """Return the SHA-256 of a key, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def find_key(secret: str, keys: Sequence[Key]) -> Key | None:
    """Return the key that `secret` is, if it is one; the time it takes does not depend on how much of it is right."""
    match = _KEY.fullmatch(secret)
    public = match.group(1) if match else ""
    known = next((key for key in keys if key.id and key.id == public), None)
    digest = digest_of(secret)
    matching = known if hmac.compare_digest(digest, known.digest if known else _NO_DIGEST) else None
    for key in keys:
        if not key.id and hmac.compare_digest(digest, key.digest):  # the one of the settings has no id
            matching = key
    return matching


def configured_key(value: str) -> Key:
    """Return the key of the setting `api_key`: the key itself, or its digest as `sha256:...`; it has all rights."""
    digest = value.removeprefix(DIGEST_PREFIX).lower() if value.startswith(DIGEST_PREFIX) else digest_of(value)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UsageError("api_key begins with sha256: but 64 hexadecimal digits do not follow")
    return Key("", "configured", digest, frozenset(SCOPES), None, "")


def read_keys(path: Path) -> list[Key]:
    """Return the keys of a file.

    Raises:
        UsageError: it cannot be read, or is no file of keys.
    """
    try:
        values = parse_json(path.read_bytes())
        if values["format"] not in range(1, FORMAT + 1):
            raise ValueError(f"its format is {values['format']}, not at most {FORMAT}")
        return [_key(entry) for entry in values["keys"]]
    except OSError as error:
        raise UsageError(
            f"the key file {path} cannot be read: {error.strerror}", hint="make one with `lexhound keys create`"
        ) from error
    except (KeyError, TypeError, ValueError, TenantError) as error:
        reason = json_fault(error) if isinstance(error, orjson.JSONDecodeError) else error
        raise UsageError(
            f"{path} is not a file of API keys: {reason}", hint="`lexhound keys create` writes one"
        ) from error


def create_key(
    path: Path,
    name: str,
    scopes: Sequence[Scope],
    collections: Sequence[str] | None,
    tenant: str | None = None,
) -> tuple[str, Key]:
    """Make a key and add it to the file (made if missing, readable by its owner only).

    Returns the key itself, which is told this once, and what is kept of it. Raises TenantError where that is no name
    of a tenant.
    """
    keys = read_keys(path) if path.exists() else []
    public = secrets.token_hex(6)
    text = f"lxh_{public}_{secrets.token_urlsafe(32)}"
    key = Key(
        public,
        name,
        digest_of(text),
        frozenset(scopes),
        None if collections is None else frozenset(collections),
        datetime.now(UTC).isoformat(timespec="seconds"),
        None if tenant is None else check_tenant(tenant),
    )
    _write(path, [*keys, key])
    return text, key


def revoke_key(path: Path, identifier: str) -> Key:
    """Take a key out of the file; a running service notices within a second.

    Raises:
        NotFoundError: no key has this id.
    """
    keys = read_keys(path)
    revoked = next((key for key in keys if key.id == identifier), None)
    if revoked is None:
        raise NotFoundError(
            f"no key has the id {identifier}", where=str(path), hint="`lexhound keys list` shows the ids"
        )
    _write(path, [key for key in keys if key is not revoked])
    return revoked


def _key(entry: dict[str, Any]) -> Key:
    scopes = frozenset(entry["scopes"])
    if not scopes or not scopes <= set(SCOPES):
        raise ValueError(f"scopes are {', '.join(SCOPES)}")
    if not re.fullmatch("[0-9a-f]{64}", entry["sha256"]) or not re.fullmatch("[0-9a-f]{12}", entry["id"]):
        raise ValueError("a digest or an id is malformed")
    collections = entry["collections"]
    if collections is not None and not (isinstance(collections, list) and all(isinstance(e, str) for e in collections)):
        raise ValueError("collections are a list of names, or null for all")
    return Key(
        entry["id"],
        entry["name"],
        entry["sha256"],
        scopes,
        None if collections is None else frozenset(collections),
        entry["created"],
        None if entry.get("tenant") is None else check_tenant(entry["tenant"]),
    )


def _write(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file at once: a service that reads it meanwhile sees the old or the new one."""
    content = orjson.dumps(
        {"format": 1 if all(key.tenant is None for key in keys) else 2, "keys": [key.as_dict() for key in keys]},
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    write_file(path, content, 0o600)
