"""The libraries that made what is stored, and whether those that are installed make the same.

An identity's `parts` hold digests of what libraries made of fixed probes, and its `libraries` the versions that did:
digests decide, versions are for telling.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from .base import EncoderIdentity
from .errors import IdentityError

UNICODE = "Unicode"  # in the place of a package: the tables of this Python
STEMMER = "PyStemmer"
STOP_WORDS = "stop-words"
TOKENIZERS = "tokenizers"
AGAIN = "index the documents again"
"""What can be done where a library cannot be had again, for encoders whose vectors are not made of texts alone."""


@cache
def version_of(package: str) -> str:
    """Return the version of an installed package, or of this Python's Unicode tables."""
    if package == UNICODE:
        return unicodedata.unidata_version
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def digest_of(values: Iterable[str]) -> str:
    """Return 16 hex digits over texts in their order."""
    total = hashlib.sha256()
    for value in values:
        total.update(value.encode("utf-8", "surrogatepass") + b"\n")
    return total.hexdigest()[:16]


def require_same(
    stored: EncoderIdentity, now: Mapping[str, str], made_by: Mapping[str, tuple[str, str]], remedy: str
) -> None:
    """Raise IdentityError where a library makes other output than when vectors were stored.

    Args:
        stored: the identity beside the vectors; of one without any of these parts nothing is known, and it passes.
        now: what the installed libraries' output digests to, by part; a part that they do not make is absent.
        made_by: of each part that is compared, the library and what it makes, in words.
        remedy: what can be done instead of installing the library that there was.
    """
    if not any(part in stored.parts for part in made_by):
        return
    for part, (library, output) in made_by.items():
        before, after = stored.parts.get(part), now.get(part)
        if before == after:
            continue
        was, installed = f"{library} {stored.libraries.get(library, '')}".strip(), f"{library} {version_of(library)}"
        if before is None:
            difference = (
                f"{was} made no {output} for the documents that are stored, and {installed}, which is here, does"
            )
        elif after is None:
            difference = f"the {output} that are stored are those of {was}, and {installed}, which is here, makes none"
        else:
            difference = (
                f"the {output} that are stored are those of {was}, and {installed}, which is here, makes others"
            )
        install = f"install {was} again, or " if library != UNICODE and was not in (library, installed) else ""
        advice = install + remedy
        raise IdentityError(f"{difference}: a search would miss documents", advice[:1].upper() + advice[1:])


def describe_libraries(identity: EncoderIdentity) -> str:
    """Return which libraries made what is stored, for people: `PyStemmer 3.0.0 (3.1.0 is here), Unicode 14.0.0`."""
    texts = []
    for name, stored_version in sorted(identity.libraries.items()):
        installed = version_of(name)
        texts.append(f"{name} {stored_version}" + ("" if installed == stored_version else f" ({installed} is here)"))
    return ", ".join(texts)
