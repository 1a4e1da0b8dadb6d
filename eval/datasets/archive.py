"""Unpack a zip archive that may be hostile: nothing leaves its folder, links stay out, sizes have limits."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lexhound.core.atomic_files import put_directory
from lexhound.eval.errors import DownloadError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What an archive may hold: the largest BEIR set (CQADupStack) unpacks to about 10 GB in 100 files."""

    bytes: int = 64 << 30
    members: int = 10_000


def extract(
    archive: Path,
    folder: str,
    destination: Path,
    *,
    limits: ArchiveLimits | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Unpack what stands under `folder/` in the archive, as `destination/folder`, whole or not at all.

    The names of all members are checked before the first byte is written: one that is absolute, climbs
    out, or is a link makes the archive as a whole unacceptable. Bytes are counted as they are written,
    because the sizes that an archive declares may lie. Everything is written to a folder aside, which
    takes its name at the end.

    Raises:
        DownloadError: the archive is damaged or unacceptable, or the disk has no room for it.
    """
    limits = limits or ArchiveLimits()
    destination.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder}.", suffix=".aside", dir=destination))
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _check(archive, opened, folder, limits)
            total = sum(member.file_size for member in members)
            free = shutil.disk_usage(destination).free
            if total > free:
                raise DownloadError(
                    f"{archive}: unpacked it needs {total:,} bytes, but {destination} has {free:,} free",
                    "Make room, or use another cache folder.",
                )
            written = 0
            for member in members:
                target = aside.joinpath(*PurePosixPath(member.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, target.open("xb") as file:
                    while chunk := source.read(CHUNK):
                        written += len(chunk)
                        if written > limits.bytes:
                            raise _refused(archive, f"it unpacks to more than {limits.bytes:,} bytes")
                        file.write(chunk)
                        if progress is not None:
                            progress(written, total)
        final = destination / folder
        put_directory(aside / folder, final)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(f"{archive}: is not a whole zip archive: {error}", "Delete it and try again.") from error
    except OSError as error:
        raise DownloadError(f"{archive}: cannot be unpacked: {error}", "Check the disk and its permissions.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def _check(archive: Path, opened: zipfile.ZipFile, folder: str, limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """Return the files to unpack.

    Raises:
        DownloadError: a name or a size is unacceptable, or nothing stands under the folder.
    """
    everything = opened.infolist()
    if len(everything) > limits.members:
        raise _refused(archive, f"it holds {len(everything):,} members, more than {limits.members:,}")
    for member in everything:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in (name.parts or ("",))[0]:
            raise _refused(archive, f"{member.filename!r} would be written outside of its folder")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"{member.filename!r} is a link or a special file")
    members = [
        member for member in everything if not member.is_dir() and PurePosixPath(member.filename).parts[:1] == (folder,)
    ]
    if not members:
        raise _refused(archive, f"it has no folder {folder!r}")
    total = sum(member.file_size for member in members)
    if total > limits.bytes:
        raise _refused(archive, f"it unpacks to {total:,} bytes, more than {limits.bytes:,}")
    return members


def _refused(archive: Path, reason: str) -> DownloadError:
    return DownloadError(f"{archive}: refused: {reason}", "This is not the archive that BEIR publishes: delete it.")
