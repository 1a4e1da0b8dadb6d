"""Fetch a file over HTTP so that a cut connection costs only what had not arrived yet."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lexhound.core.atomic_files import move_file
from lexhound.eval.errors import DownloadError
from lexhound.eval.files import digest_file, write_bytes

CHUNK = 1 << 18

# Told the bytes that are here and the bytes in all (None while the server has not said).
ByteProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """How patient a download is.

    Attributes:
        timeout: seconds without a byte before a connection counts as lost.
        attempts: connections in a row that may bring nothing before it is given up.
        pause: seconds before the second attempt; doubled before each further one.
    """

    timeout: float = 30.0
    attempts: int = 4
    pause: float = 1.0


def download(
    address: str,
    target: Path,
    *,
    md5: str = "",
    options: DownloadOptions | None = None,
    progress: ByteProgress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Bring `address` to `target` and return its MD5 sum.

    What has arrived waits in `<target>.part`, and the server's tag for it in `<target>.part.json`: a later
    call asks for the rest only (a range, on the condition that the file is still the same). The target
    takes its name when it is complete and its sum is right; with an empty `md5` any sum is.

    Raises:
        DownloadError: the place cannot be reached, answers with an error, or the sum is wrong (what came
            is then deleted: the next attempt starts afresh).
    """
    if urlsplit(address).scheme not in ("http", "https"):
        raise DownloadError(f"{address}: only http and https addresses can be downloaded", "Check the address.")
    options = options or DownloadOptions()
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    fruitless = 0
    while True:
        before = _size(part)
        failure = _continue(address, part, options.timeout, progress)
        if failure is None:
            break
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless >= options.attempts or _is_final(failure):
            raise DownloadError(
                f"{address}: cannot be downloaded: {_say(failure)}",
                f"{_size(part):,} bytes of it are kept and the next attempt goes on from there. On a machine "
                f"without a network, fetch it elsewhere and put it at {target}",
            ) from failure
        sleep(options.pause * 2**fruitless)
    digest = digest_file(part, "md5")
    if md5 and digest != md5:
        _forget(part)
        raise DownloadError(
            f"{address}: what arrived has the MD5 sum {digest}, but {md5} is published",
            "It was damaged on the way, or the published file has changed. Nothing of it was kept: try again.",
        )
    move_file(part, target)
    _forget(part)
    return digest


def _continue(address: str, part: Path, timeout: float, progress: ByteProgress | None) -> Exception | None:
    """Open one connection and read what it gives. None when the file is complete, else what went wrong."""
    have = _size(part)
    tag = _tag(part)
    request = urllib.request.Request(address, headers={"User-Agent": "lexhound"})  # noqa: S310 (checked above)
    if have and tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            appending = response.status == 206 and _range_start(response.headers["Content-Range"]) == have
            if response.status == 206 and not appending:
                _forget(part)
                return ConnectionError("the server sent another range than the one asked for")
            start = have if appending else 0
            length = response.headers["Content-Length"]
            total = start + int(length) if length and length.isdigit() else None
            if not appending:
                _remember(part, response.headers["ETag"] or response.headers["Last-Modified"] or "")
            with part.open("ab" if appending else "wb") as file:
                arrived = start
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    arrived += len(chunk)
                    if progress is not None:
                        progress(arrived, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            # The part is longer than the file, or just as long: only a fresh start can tell.
            _forget(part)
            return ConnectionError("the server does not have the rest that was asked for")
        return error
    except (OSError, http.client.HTTPException, ValueError) as error:
        return error
    if total is not None and arrived < total:
        return ConnectionError(f"the connection ended after {arrived:,} of {total:,} bytes")
    return None


def _is_final(failure: Exception) -> bool:
    """Return whether trying again at once is pointless: the server understood and said no."""
    return isinstance(failure, urllib.error.HTTPError) and 400 <= failure.code < 500 and failure.code not in (408, 429)


def _say(failure: Exception) -> str:
    if isinstance(failure, urllib.error.HTTPError):
        return f"the server answered {failure.code} {failure.reason}"
    if isinstance(failure, urllib.error.URLError):
        return f"the server cannot be reached ({failure.reason})"
    return str(failure) or type(failure).__name__


def _range_start(header: str | None) -> int:
    """Return the first byte of `bytes 100-199/1000`; -1 when there is no such header."""
    first = (header or "").removeprefix("bytes").strip().partition("-")[0]
    return int(first) if first.isdigit() else -1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _tag(part: Path) -> str:
    try:
        tag = json.loads(_tag_file(part).read_text("utf-8"))["tag"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    # A weak tag names files that are much alike: a range of it proves nothing.
    return tag if isinstance(tag, str) and not tag.startswith("W/") else ""


def _remember(part: Path, tag: str) -> None:
    write_bytes(_tag_file(part), json.dumps({"tag": tag}).encode())


def _forget(part: Path) -> None:
    for path in (part, _tag_file(part)):
        with suppress(FileNotFoundError):
            path.unlink()
