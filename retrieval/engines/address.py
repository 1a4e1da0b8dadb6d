"""Addresses: where a collection is, and in which engine.

    my.index                      a directory of our own
    milvus://host:19530/my        the collection `my` of a Milvus server
    milvus-lite:data.db/my        the same engine in this process, over one file
    lucene:my.lucene              a Lucene index in a directory

An address holds no secrets, because addresses are shown in messages and tables; `docs/backends.md` tells where tokens
come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lexhound.retrieval.errors import UnknownAddressError

OWN, MILVUS, MILVUS_LITE, LUCENE = "path", "milvus", "milvus-lite", "lucene"
ENGINES = (MILVUS, MILVUS_LITE, LUCENE)
"""The schemes of addresses; anything without a scheme is a path."""

FORMS = "a path, milvus://HOST:PORT/NAME, milvus-lite:FILE.db/NAME or lucene:PATH"
MILVUS_PORT = 19530

# At least two characters, so that nothing that looks like a drive letter is one.
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")
# What Milvus takes as the name of a collection.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


@dataclass(frozen=True, slots=True)
class Address:
    """An address that has been read.

    Attributes:
        engine: OWN or one of ENGINES.
        path: of a directory (OWN, LUCENE) or a file (MILVUS_LITE); None for MILVUS.
        host, port: of MILVUS.
        name: of the collection within its server or file; empty for OWN and LUCENE.
    """

    engine: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    name: str = ""

    def __str__(self) -> str:
        if self.engine == MILVUS:
            return f"milvus://{self.host}:{self.port}/{self.name}"
        if self.engine == MILVUS_LITE:
            return f"milvus-lite:{self.path}/{self.name}"
        return str(self.path) if self.engine == OWN else f"{self.engine}:{self.path}"

    @property
    def is_native(self) -> bool:
        """Whether it is a directory of our own format."""
        return self.engine == OWN


def looks_like_address(text: str) -> bool:
    """Return whether a text is written as an address is, and no path of this name is there."""
    match = _SCHEME.fullmatch(text)
    if match is None:
        return False
    return match["scheme"].lower() in ENGINES or match["rest"].startswith("//") or not Path(text).exists()


def read_address(text: str | Path | Address) -> Address:
    """Return what an address means. A path that is there is a path, whatever it looks like.

    Raises:
        UnknownAddressError: the scheme is unknown, or the address is not written as those of its engine are.
    """
    if isinstance(text, Address):
        return text
    match = _SCHEME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return Address(OWN, Path(text))
    scheme, rest = match["scheme"].lower(), match["rest"]
    if scheme not in ENGINES:
        if not rest.startswith("//") and Path(text).exists():
            return Address(OWN, Path(text))
        raise UnknownAddressError(
            f"{scheme}: is not an engine that Lexhound knows",
            where=str(text),
            hint=f"write {FORMS}; a path that has a colon in its name begins with ./",
        )
    if scheme == MILVUS:
        return _server(str(text), rest)
    if not rest or rest.startswith("//"):
        raise _malformed(str(text), "no path follows the colon")
    if scheme == LUCENE:
        return Address(LUCENE, Path(rest))
    file, _, name = rest.rpartition("/")
    if not file.endswith(".db"):
        raise _malformed(str(text), "it must be a file whose name ends in .db, a slash, and the collection's name")
    return Address(MILVUS_LITE, Path(file), name=_checked_name(str(text), name))


def _server(text: str, rest: str) -> Address:
    server, _, name = rest.removeprefix("//").partition("/")
    match = _HOST.fullmatch(server)
    if "@" in server:
        # Not shown: what stands before the @ may be a password.
        raise UnknownAddressError(
            "an address holds no user and password", hint="set LEXHOUND_MILVUS_TOKEN to user:password in its place"
        )
    if not rest.startswith("//") or match is None:
        raise _malformed(text, "milvus: is followed by //HOST:PORT/NAME")
    port = int(match["port"] or MILVUS_PORT)
    if not 0 < port < 65536:
        raise _malformed(text, f"there is no port {port}")
    return Address(MILVUS, host=match["host"], port=port, name=_checked_name(text, name))


def _checked_name(text: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise _malformed(
            text, f"{name!r} is not a name of a collection: letters, digits and _, not a digit first, at most 200"
        )
    return name


def _malformed(text: str, why: str) -> UnknownAddressError:
    return UnknownAddressError(f"the address cannot be read: {why}", where=text, hint=f"write {FORMS}")
