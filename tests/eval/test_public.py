"""BEIR sets by name: downloads from a real server on this machine, hostile archives, offline work."""

from __future__ import annotations

import hashlib
import io
import re
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lexhound.eval.datasets import archive as archive_module
from lexhound.eval.datasets import beir
from lexhound.eval.datasets.archive import ArchiveLimits, extract
from lexhound.eval.datasets.beir import CATALOGUE, FORUMS, find_public
from lexhound.eval.datasets.download import DownloadOptions, download
from lexhound.eval.datasets.public import FetchOptions, default_cache, fetch, load_public
from lexhound.eval.datasets.resolve import open_dataset
from lexhound.eval.errors import DatasetError, DownloadError, UnknownDatasetError

FAST = DownloadOptions(timeout=5, attempts=2, pause=0.0)


class Server(ThreadingHTTPServer):
    """Serves `files`; cuts connections after so many bytes as `cuts` says, one number a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.tag = '"first"'
        self.ranges = True
        self.status = 0
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers["Range"]
        server.asked.append(asked)
        content = server.files.get(self.path.rpartition("/")[2])
        if server.status or content is None:
            self.send_error(server.status or 404)
            return
        start = 0
        if asked and server.ranges and self.headers["If-Range"] == server.tag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(beir, "ADDRESS", server.address + "/{name}.zip")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


CONTENT = bytes(range(256)) * 4000  # 1 MB: several chunks


def test_a_file_is_downloaded_with_progress(server: Server, tmp_path: Path) -> None:
    server.files["x.zip"] = CONTENT
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "deep" / "x.zip"
    assert download(f"{server.address}/x.zip", target, progress=lambda *step: seen.append(step)) == md5(CONTENT)
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert [path.name for path in target.parent.iterdir()] == ["x.zip"]


def test_a_cut_connection_is_resumed_at_once(server: Server, tmp_path: Path) -> None:
    server.files["x.zip"] = CONTENT
    server.cuts = [300_000, 0, 300_000]
    pauses: list[float] = []
    download(
        f"{server.address}/x.zip",
        tmp_path / "x.zip",
        md5=md5(CONTENT),
        options=replace(FAST, pause=0.5),
        sleep=pauses.append,
    )
    assert (tmp_path / "x.zip").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=300000-", "bytes=600000-"]
    assert pauses == [0.5, 1.0, 0.5], "attempts that bring nothing wait longer"


def test_a_later_call_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path) -> None:
    server.files["x.zip"] = CONTENT
    server.cuts = [500_000, 0, 0]
    with pytest.raises(DownloadError, match=r"cannot be downloaded(.|\n)*500,000 bytes of it are kept"):
        download(f"{server.address}/x.zip", tmp_path / "x.zip", options=FAST)
    assert not (tmp_path / "x.zip").exists()
    server.asked.clear()
    download(f"{server.address}/x.zip", tmp_path / "x.zip", md5=md5(CONTENT), options=FAST)
    assert server.asked == ["bytes=500000-"]
    assert (tmp_path / "x.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["another file", "no ranges"])
def test_a_part_that_cannot_be_continued_is_fetched_afresh(server: Server, tmp_path: Path, change: str) -> None:
    server.files["x.zip"] = CONTENT
    server.cuts = [500_000, 0, 0]
    with pytest.raises(DownloadError):
        download(f"{server.address}/x.zip", tmp_path / "x.zip", options=FAST)
    if change == "another file":
        server.tag, server.files["x.zip"] = '"second"', CONTENT[::-1]
    else:
        server.ranges = False
    download(f"{server.address}/x.zip", tmp_path / "x.zip", md5=md5(server.files["x.zip"]), options=FAST)
    assert (tmp_path / "x.zip").read_bytes() == server.files["x.zip"]


def test_a_part_longer_than_the_file_is_dropped(server: Server, tmp_path: Path) -> None:
    server.files["x.zip"] = CONTENT
    server.cuts = [500_000, 0, 0]
    with pytest.raises(DownloadError):
        download(f"{server.address}/x.zip", tmp_path / "x.zip", options=FAST)
    server.files["x.zip"] = CONTENT[:1000]
    download(f"{server.address}/x.zip", tmp_path / "x.zip", options=FAST)
    assert (tmp_path / "x.zip").read_bytes() == CONTENT[:1000]


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.files["x.zip"] = CONTENT
    with pytest.raises(DownloadError, match=f"has the MD5 sum {md5(CONTENT)}, but {'0' * 32} is published"):
        download(f"{server.address}/x.zip", tmp_path / "x.zip", md5="0" * 32, options=FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_clear_no_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the server answered 404"):
        download(f"{server.address}/gone.zip", tmp_path / "gone.zip", options=replace(FAST, attempts=5))
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(DownloadError, match="the server answered 503"):
        download(f"{server.address}/x.zip", tmp_path / "x.zip", options=replace(FAST, attempts=3))
    assert len(server.asked) == 3


def test_only_http_addresses(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only http and https"):
        download((tmp_path / "secret").as_uri(), tmp_path / "x")


def zipped(files: dict[str, bytes], *, modes: dict[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            file.writestr(entry, content)
    return buffer.getvalue()


SET = {
    "scifact/corpus.jsonl": b'{"_id": "d1", "title": "", "text": "heat"}\n',
    "scifact/queries.jsonl": b'{"_id": "q1", "text": "heat"}\n',
    "scifact/qrels/test.tsv": b"query-id\tcorpus-id\tscore\nq1\td1\t1\n",
}


@pytest.fixture
def published(server: Server, monkeypatch: pytest.MonkeyPatch):
    """Publish an archive as SciFact, with its checksum in the catalogue."""

    def publish(content: bytes) -> None:
        server.files["scifact.zip"] = content
        entry = replace(CATALOGUE["scifact"], md5=md5(content))
        monkeypatch.setitem(CATALOGUE, "scifact", entry)

    return publish


def test_a_set_is_fetched_unpacked_and_found_again(published, server: Server, tmp_path: Path) -> None:
    published(zipped({**SET, "__MACOSX/scifact/x": b"rubbish"}))
    options = FetchOptions(tmp_path / "cache", download=FAST)
    steps: list[str] = []
    (dataset,) = open_dataset("SciFact", options=options, progress=lambda what, *rest: steps.append(what))
    assert dataset.name == "scifact"
    assert dataset.qrels == {"q1": {"d1": 1}}
    assert set(steps) == {"download", "unpack"}
    assert sorted(path.name for path in options.cache.iterdir()) == ["scifact"]
    assert CATALOGUE["scifact"].md5 in (options.cache / "scifact" / "lexhound-source.json").read_text()
    load_public("beir/scifact", options=replace(options, offline=True))
    assert len(server.asked) == 1


def test_an_archive_put_there_by_hand_is_checked_and_used(published, server: Server, tmp_path: Path) -> None:
    content = zipped(SET)
    published(content)
    options = FetchOptions(tmp_path / "cache", offline=True)
    options.cache.mkdir()
    (options.cache / "scifact.zip").write_bytes(content)
    assert fetch("scifact", options) == options.cache / "scifact"
    assert server.asked == []
    (options.cache / "scifact" / "corpus.jsonl").unlink()
    (options.cache / "scifact.zip").write_bytes(content[:-9])
    with pytest.raises(DownloadError, match="its MD5 sum is"):
        fetch("scifact", options)


def test_offline_says_which_file_is_wanted_and_where(published, server: Server, tmp_path: Path) -> None:
    published(zipped(SET))
    options = FetchOptions(tmp_path / "cache", download=FAST)
    with pytest.raises(DownloadError) as off:
        fetch("scifact", replace(options, offline=True))
    server.status = 403
    with pytest.raises(DownloadError) as refused:
        fetch("scifact", options)
    for error in (off.value, refused.value):
        assert f"{server.address}/scifact.zip" in str(error)
        assert str(options.cache / "scifact.zip") in error.hint
        assert str(options.cache / "scifact") in error.hint
    assert server.asked == [None]


def test_nothing_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beir, "ADDRESS", "http://127.0.0.1:9/{name}.zip")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DownloadError, match="the server cannot be reached"):
        fetch("scifact", FetchOptions(tmp_path, download=FAST))


@pytest.mark.parametrize(
    ("files", "modes", "reason"),
    [
        ({"scifact/../../evil.txt": b"x"}, {}, "would be written outside"),
        ({"/etc/evil": b"x"}, {}, "would be written outside"),
        ({"..\\evil": b"x"}, {}, "would be written outside"),
        ({"C:/evil": b"x"}, {}, "would be written outside"),
        ({"scifact/link": b"/etc/passwd"}, {"scifact/link": stat.S_IFLNK | 0o777}, "a link or a special file"),
        ({"scifact/pipe": b""}, {"scifact/pipe": stat.S_IFIFO | 0o666}, "a link or a special file"),
    ],
)
def test_hostile_archives_write_nothing(published, tmp_path: Path, files, modes, reason: str) -> None:
    published(zipped({**SET, **files}, modes=modes))
    options = FetchOptions(tmp_path / "cache", download=FAST)
    with pytest.raises(DownloadError, match=re.escape(reason)):
        fetch("scifact", options)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cache", "scifact.zip"]


def test_sizes_are_limited(tmp_path: Path) -> None:
    path = tmp_path / "scifact.zip"
    path.write_bytes(zipped({"scifact/big": bytes(5_000_000)}))
    with pytest.raises(DownloadError, match="unpacks to 5,000,000 bytes, more than 1,000,000"):
        extract(path, "scifact", tmp_path / "out", limits=ArchiveLimits(bytes=1_000_000))
    path.write_bytes(zipped({f"scifact/{number}": b"" for number in range(20)}))
    with pytest.raises(DownloadError, match="20 members, more than 10"):
        extract(path, "scifact", tmp_path / "out", limits=ArchiveLimits(members=10))
    assert list((tmp_path / "out").iterdir()) == []


def test_sizes_that_lie_are_found_out(tmp_path: Path) -> None:
    content = zipped({"scifact/big": bytes(5_000_000)})
    # The declared size in the central directory and in the local header: 5,000,000 becomes 500.
    lying = content.replace((5_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    assert lying != content
    path = tmp_path / "scifact.zip"
    path.write_bytes(lying)
    with pytest.raises(DownloadError):
        extract(path, "scifact", tmp_path / "out", limits=ArchiveLimits(bytes=1000))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scifact.zip"
    path.write_bytes(zipped(SET))
    usage = archive_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archive_module.shutil, "disk_usage", lambda place: usage._replace(free=10))
    with pytest.raises(DownloadError, match="has 10 free"):
        extract(path, "scifact", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"not a zip", zipped(SET)[:200], zipped({"other/x": b""})])
def test_damaged_archives(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scifact.zip"
    path.write_bytes(content)
    with pytest.raises(DownloadError, match=r"whole zip archive|no folder 'scifact'"):
        extract(path, "scifact", tmp_path / "out")


def test_the_catalogue() -> None:
    public = [entry for entry in CATALOGUE.values() if entry.public]
    assert len(CATALOGUE) == 19
    assert len(public) == 15
    assert len(FORUMS) == 12
    assert all(re.fullmatch("[0-9a-f]{32}", entry.md5) and entry.archive_bytes > 1_000_000 for entry in public)
    assert len({entry.md5 for entry in public}) == len(public)
    assert find_public("msmarco").split == "dev"
    assert find_public("Touche").name == "webis-touche2020"
    assert find_public("scifact").address.endswith("/BEIR/datasets/scifact.zip")
    assert default_cache().parts[-3:] == (".cache", "lexhound", "beir")


@pytest.mark.parametrize("name", ["bioasq", "signal1m", "trec-news", "robust04"])
def test_sets_that_are_not_public_say_how_to_make_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(name, FetchOptions(tmp_path))
    assert "licence" in caught.value.message
    assert str(tmp_path / name) in caught.value.hint
    assert "qrels/test.tsv" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("scifct", "scifact"), ("nf-corpus", "nfcorpus"), ("trec_covd", "trec-covid"), ("Quorra", "quora")],
)
def test_unknown_names_suggest_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownDatasetError, match=rf"Did you mean .*{suggestion}"):
        open_dataset(name)


def test_a_path_that_is_not_there_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no such folder or file"):
        open_dataset(tmp_path / "nothing")
