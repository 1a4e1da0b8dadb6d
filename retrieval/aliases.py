"""Aliases: second names of the collections of a folder, kept in its `aliases.json` and changed all at once.

Whoever opens `data/papers`, where nothing is, gets the collection that the alias `papers` of the folder `data` leads
to. A corpus is indexed again without downtime by making a new collection and letting the alias lead to that one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path

import orjson

from lexhound.core.atomic_files import write_file
from lexhound.core.disk_errors import storage_errors
from lexhound.core.errors import CollectionLockedError
from lexhound.core.lock import Claim
from lexhound.core.suggestions import nearest
from lexhound.retrieval.collection.store.manifest import MANIFEST

from .errors import AliasError, UnknownAliasError
from .names import SUFFIX, directories_named, is_name

FILE = "aliases.json"
FORMAT = 1
_WAIT_SECONDS = 5.0


def read_aliases(folder: Path) -> dict[str, str]:
    """Return the aliases of a folder: the name of the collection that each leads to, by alias in ascending order.

    Raises:
        AliasError: the file cannot be read, or holds something else.
    """
    path = folder / FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise AliasError(f"the aliases cannot be read: {error.strerror}", where=str(path)) from error
    try:
        kept = orjson.loads(content)
        aliases = kept["aliases"]
        if kept["format"] != FORMAT or not all(is_name(one) and is_name(other) for one, other in aliases.items()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = f"it must be {{'format': {FORMAT}, 'aliases': {{ALIAS: COLLECTION}}}}; remove it and set them again"
        raise AliasError("the file of aliases cannot be understood", hint, where=str(path)) from error
    return dict(sorted(aliases.items()))


def change_aliases(folder: Path, put: Mapping[str, str], remove: Collection[str] = ()) -> dict[str, str]:
    """Let aliases lead to collections and remove others, all at once; return those that there are then.

    Whoever opens a collection by an alias finds the old or the new one, at every moment.

    Args:
        put: the name of a collection, by alias; an alias that is there already leads to the new one from then on.

    Raises:
        AliasError: a name cannot be one, is that of a collection, or the folder is a collection itself.
        UnknownAliasError: a collection, or an alias to remove, is not there.
        CollectionLockedError: another process changes them for a long time. ReadOnlyError, StorageFullError.
    """
    if (folder / MANIFEST).is_file() or not folder.is_dir():
        raise AliasError(
            "aliases belong to a folder of collections, and this is none", "name that folder", where=str(folder)
        )
    with _claimed(folder / FILE), storage_errors(folder):
        aliases = read_aliases(folder)
        for alias in remove:
            if aliases.pop(alias, None) is None:
                meant = nearest(alias, aliases)
                hint = f"did you mean {' or '.join(meant)}?" if meant else "nothing was changed"
                raise UnknownAliasError(f"there is no alias {alias!r}", hint, where=str(folder))
        for alias, name in put.items():
            _check(folder, aliases, alias, name)
            aliases[alias] = name
        aliases = dict(sorted(aliases.items()))
        content = orjson.dumps({"format": FORMAT, "aliases": aliases}, option=orjson.OPT_INDENT_2)
        write_file(folder / FILE, content + b"\n")
    return aliases


def resolve_alias(path: Path) -> Path:
    """Return the directory that an alias leads to, and every other path as it is."""
    if path.exists() or path.is_symlink() or not (path.parent / FILE).exists():
        return path
    name = read_aliases(path.parent).get(path.name.removesuffix(SUFFIX))
    found = None if name is None else find_directory(path.parent, name)
    return path if found is None else found


def find_directory(folder: Path, name: str) -> Path | None:
    """Return the directory of a collection by its name, if there is one; links keep their own names."""
    return next((path for path in directories_named(folder, name) if (path / MANIFEST).is_file()), None)


def check_is_no_alias(directory: Path) -> None:
    """Refuse to make a collection under the name of an alias.

    Raises:
        AliasError: it is one.
    """
    name = directory.name.removesuffix(SUFFIX)
    leads_to = read_aliases(directory.parent).get(name)
    if leads_to is not None:
        raise AliasError(
            f"{name} is an alias of the collection {leads_to}",
            "give the new collection a name of its own, and let the alias lead to it then",
            where=str(directory),
            cli_hint=f"give the new collection a name of its own, then: lexhound alias {directory.parent} {name} NEW",
        )


def _check(folder: Path, aliases: Mapping[str, str], alias: str, name: str) -> None:
    for text in (alias, name):
        if not is_name(text):
            raise AliasError(
                f"{text[:140]!a} is no name of a collection",
                "names are up to 128 letters, digits, '.', '_' and '-', and begin with a letter or digit",
                where=str(folder),
            )
    if alias.endswith(SUFFIX):
        raise AliasError(f"an alias does not end in {SUFFIX}", f"leave {SUFFIX} out", where=str(folder))
    if any(path.exists() or path.is_symlink() for path in directories_named(folder, alias)):
        raise AliasError(
            f"{alias} is a collection, so it can be no alias",
            "choose another alias, or rename the collection's directory first",
            where=str(folder),
        )
    if name.endswith(SUFFIX) or find_directory(folder, name) is None:
        known = sorted({path.name.removesuffix(SUFFIX) for path in folder.iterdir() if (path / MANIFEST).is_file()})
        meant = nearest(name, known)
        hint = f"did you mean {' or '.join(meant)}?" if meant else f"there are {', '.join(known)}" if known else None
        if name in aliases:
            hint = f"it is an alias itself; name its collection, {aliases[name]}"
        raise UnknownAliasError(f"there is no collection {name!r}", hint, where=str(folder))


def _claimed(path: Path) -> Claim:
    """Return the right to change the file, waiting a moment for others that do."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return Claim(path)
        except CollectionLockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
