"""A BEIR set by its name: from the cache, from an archive put there by hand, or from its published place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lexhound.core.streams import find_compressed
from lexhound.eval.errors import DownloadError
from lexhound.eval.files import digest_file, write_bytes

from .archive import ArchiveLimits, extract
from .beir import PublicSet, find_public
from .dataset import Dataset
from .download import DownloadOptions, download
from .folder import available_splits, load_folder

# Told what is done to which file (`download`, `check`, `unpack`), the bytes done and the bytes in all.
FetchProgress = Callable[[str, str, int, int | None], None]


def default_cache() -> Path:
    """Return where public sets are kept unless the caller says otherwise: `~/.cache/lexhound/beir`."""
    return Path.home() / ".cache" / "lexhound" / "beir"


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Where and how public sets are fetched.

    Attributes:
        cache: the folder of the unpacked sets and, while they are fetched, their archives.
        offline: never open a connection: use what is in the cache or say what is missing.
        download: how patient a download is.
        limits: how large an archive may be.
    """

    cache: Path = field(default_factory=default_cache)
    offline: bool = False
    download: DownloadOptions = field(default_factory=DownloadOptions)
    limits: ArchiveLimits = field(default_factory=ArchiveLimits)


def fetch(name: str, options: FetchOptions | None = None, progress: FetchProgress | None = None) -> Path:
    """Return the folder of a BEIR set, fetched and unpacked if it is not in the cache yet.

    An archive `<cache>/<name>.zip` that somebody put there by hand is checked and unpacked like a
    downloaded one. The archive is deleted once it is unpacked; `<name>/lexhound-source.json` keeps its
    address and sum.

    Raises:
        UnknownDatasetError: no set has this name (the nearest ones are suggested).
        DownloadError: the set is not public, or it is neither here nor can it be fetched; the message
            names the file and the place to put it.
    """
    options = options or FetchOptions()
    entry = find_public(name)
    folder = options.cache / entry.name
    if _is_complete(entry, folder):
        return folder
    if not entry.public:
        raise DownloadError(
            f"{entry.name} is not public: its licence forbids giving out copies",
            f"Get it from {entry.obtain} and make the folder {folder} with corpus.jsonl, queries.jsonl and "
            f"qrels/{entry.split}.tsv (docs/evaluation.md shows the format).",
        )
    archive = options.cache / f"{entry.name}.zip"
    _obtain(entry, archive, folder, options, progress)
    unpacked = extract(
        archive,
        entry.name,
        options.cache,
        limits=options.limits,
        progress=None if progress is None else lambda done, total: progress("unpack", archive.name, done, total),
    )
    if not _is_complete(entry, unpacked):
        raise DownloadError(
            f"{archive}: the archive lacks corpus.jsonl, queries.jsonl or qrels/{entry.split}.tsv",
            f"Delete {unpacked} and {archive}, and try again.",
        )
    origin = {"address": entry.address, "md5": entry.md5}
    write_bytes(unpacked / "lexhound-source.json", json.dumps(origin, indent=2).encode() + b"\n")
    archive.unlink()
    return unpacked


def _obtain(
    entry: PublicSet, archive: Path, folder: Path, options: FetchOptions, progress: FetchProgress | None
) -> None:
    if archive.is_file():
        if progress is not None:
            progress("check", archive.name, 0, archive.stat().st_size)
        digest = digest_file(archive, "md5")
        if digest == entry.md5:
            return
        raise DownloadError(
            f"{archive}: its MD5 sum is {digest}, but {entry.md5} is published",
            f"Delete it and fetch {entry.address} again.",
        )
    by_hand = (
        f"Fetch {entry.address} ({entry.archive_bytes / 1e6:,.0f} MB) on a machine with a network and put it at "
        f"{archive}, or put the unpacked folder at {folder}"
    )
    if options.offline:
        raise DownloadError(f"{entry.name}: {archive.name} is not in the cache and downloads are off", by_hand)
    try:
        download(
            entry.address,
            archive,
            md5=entry.md5,
            options=options.download,
            progress=None if progress is None else lambda done, total: progress("download", archive.name, done, total),
        )
    except DownloadError as error:
        raise DownloadError(error.message, by_hand) from error
    except OSError as error:
        raise DownloadError(f"{archive}: cannot be written: {error}", "Use another cache folder.") from error


def _is_complete(entry: PublicSet, folder: Path) -> bool:
    return all(
        find_compressed(part / "corpus.jsonl") is not None
        and find_compressed(part / "queries.jsonl") is not None
        and available_splits(part)
        for part in _parts(entry, folder)
    )


def _parts(entry: PublicSet, folder: Path) -> list[Path]:
    return [folder / part for part in entry.parts] if entry.parts else [folder]


def load_public(
    name: str,
    split: str | None = None,
    options: FetchOptions | None = None,
    progress: FetchProgress | None = None,
) -> list[Dataset]:
    """Return a BEIR set as data sets: one, or the twelve forums of CQADupStack with `group` set.

    Raises:
        DatasetError: see `fetch`; or the set has no such split.
    """
    entry = find_public(name)
    folder = fetch(name, options, progress)
    chosen = split or entry.split
    if not entry.parts:
        return [load_folder(folder, chosen, name=entry.name)]
    return [load_folder(folder / part, chosen, name=f"{entry.name}/{part}", group=entry.name) for part in entry.parts]
