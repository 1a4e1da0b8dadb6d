"""Corpora as files, folders, pipes: names, compression, what cannot be read."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputs.corpus_bytes import COMPRESS, LINE, from_bytes, write

from lexhound.core.streams import InputStream
from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.corpus.base import corpus_fault
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.errors import CorpusError

# -- BEIR folders and file names -------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_beir_folder(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / f"corpus.jsonl{compression}", COMPRESS[compression](LINE))
    write(tmp_path / "queries.jsonl", b"{}\n")
    corpus = open_corpus(tmp_path)
    assert corpus.name == str(path)
    assert list(corpus) == [Document("a", "t", "T")]
    assert list(open_corpus(str(tmp_path), format="jsonl")) == [Document("a", "t", "T")]


@pytest.mark.parametrize("compression", sorted(COMPRESS))
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_files_by_name(tmp_path: Path, suffix: str, compression: str) -> None:
    path = write(tmp_path / f"c{suffix}{compression}", COMPRESS[compression](LINE * 3))
    corpus = open_corpus(path)
    assert corpus.total_bytes == path.stat().st_size
    assert corpus.bytes_read == 0
    for _ in range(2):
        assert list(corpus) == [Document("a", "t", "T")] * 3
        assert corpus.bytes_read == corpus.total_bytes


def test_format_overrides_the_name(tmp_path: Path) -> None:
    assert list(open_corpus(write(tmp_path / "c.csv", LINE), format="jsonl")) == [Document("a", "t", "T")]
    assert list(open_corpus(write(tmp_path / "data", LINE), format="jsonl")) == [Document("a", "t", "T")]
    table = gzip.compress(b"id,text\na,t\n")
    assert list(open_corpus(write(tmp_path / "c.gz", table), format="csv")) == [Document("a", "t")]


def test_compression_is_recognised_without_a_name(tmp_path: Path) -> None:
    for compress in COMPRESS.values():
        assert list(open_corpus(write(tmp_path / "c.jsonl", compress(LINE)))) == [Document("a", "t", "T")]


def test_place_of_the_latest_row(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", b"\n" + LINE + b"\n" + LINE)
    corpus = open_corpus(path)
    seen = []
    for row in corpus:
        assert isinstance(row, Document)
        seen.append((corpus.where, corpus.bad_row("twice", "Keep one.")))
    assert [where for where, _ in seen] == [f"{path}, line 2", f"{path}, line 4"]
    assert seen[1][1] == BadRow(str(path), 4, "twice", "Keep one.", LINE.strip())


def test_sample_corpus(samples: Path) -> None:
    found = list(open_corpus(samples / "cranfield"))
    assert len(found) == 1400
    assert all(isinstance(row, Document) for row in found)
    assert sum(isinstance(row, Document) and not row.text for row in found) == 2


# -- what cannot be opened -------------------------------------------------------------------------------------


def failure(source: str | Path, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        open_corpus(source, **options)
    assert caught.value.hint
    return str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", LINE)
    message = failure(tmp_path / "corpsu.jsonl")
    assert message == (f"{tmp_path}/corpsu.jsonl: no such file or folder. Did you mean {tmp_path}/corpus.jsonl?")
    assert "Check the path." in failure(tmp_path / "nothing-like-it")
    assert f"There is no folder {tmp_path}/a/b." in failure(tmp_path / "a" / "b" / "c.jsonl")
    assert "cannot be read: Not a directory" in failure(tmp_path / "corpus.jsonl" / "c.jsonl")
    assert "embedded null byte" in failure("a\0b.jsonl")


def test_unknown_formats(tmp_path: Path) -> None:
    assert ".xml is no format that can be read. Known are .jsonl, " in failure(write(tmp_path / "c.xml", LINE))
    assert "Name the folder that holds it" in failure(write(tmp_path / "c.txt", LINE))
    assert "the name does not tell the format" in failure(write(tmp_path / "corpus", LINE))
    assert "the name does not tell the format" in failure(write(tmp_path / "corpus.gz", gzip.compress(LINE)))
    assert "there is no format 'xml'" in failure(tmp_path / "c.xml", format="xml")
    assert "not a folder" in failure(tmp_path / "c.xml", format="folder")
    assert "a folder cannot be read as csv" in failure(tmp_path, format="csv")
    assert "standard input is not a folder" in failure("-", format="folder")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Root may read every file: as root, be another user for the length of a test."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


@pytest.mark.usefixtures("nobody")
def test_unreadable_file() -> None:
    with tempfile.TemporaryDirectory() as folder:  # `tmp_path` belongs to the user who runs the tests
        path = write(Path(folder) / "c.jsonl", LINE)
        path.chmod(0)
        assert failure(path).startswith(f"{path}: cannot be opened: Permission denied.")


def test_empty_corpus_error(tmp_path: Path) -> None:
    corpus = open_corpus(write(tmp_path / "c.jsonl", b"\n"))
    assert list(corpus) == []
    assert str(corpus.empty_error()).startswith(f"{tmp_path}/c.jsonl: the corpus is empty")


# -- damaged compression ---------------------------------------------------------------------------------------

MANY = b"".join(b'{"id": "%d", "text": "%s"}\n' % (n, os.urandom(8).hex().encode()) for n in range(20_000))


def until_error(path: Path) -> tuple[int, str]:
    """How many documents come before the error, and what it says."""
    count = 0
    with pytest.raises(CorpusError) as caught:  # noqa: PT012
        for row in open_corpus(path):
            count += isinstance(row, Document)
    return count, str(caught.value)


@pytest.mark.parametrize(("compression", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_truncated_and_damaged_compression(tmp_path: Path, compression: str, kind: str) -> None:
    whole = COMPRESS[compression](MANY)
    path = tmp_path / f"c.jsonl{compression}"
    for size in (len(whole) // 2, len(whole) - 1, 5):
        count, message = until_error(write(path, whole[:size]))
        assert count < 20_001
        assert message == f"{path}: the {kind} data is truncated. Fetch or compress the file again."
    middle = len(whole) // 2
    _, message = until_error(write(path, whole[:middle] + b"\xff" * 40 + whole[middle + 40 :]))
    assert f"{path}: the {kind} data is " in message
    _, message = until_error(write(path, COMPRESS[compression](LINE) + b"rubbish at the end"))
    assert f"{path}: the {kind} data is damaged" in message


@pytest.mark.parametrize(("compression", "kind"), [(".gz", "gzip"), (".zst", "zstd")])
def test_named_compressed_but_is_not(tmp_path: Path, compression: str, kind: str) -> None:
    path = tmp_path / f"c.jsonl{compression}"
    assert f"named like a {kind} file but does not hold {kind} data" in failure(write(path, LINE))
    assert f"named like a {kind} file but is empty" in failure(write(path, b""))


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_several_members_and_padding(tmp_path: Path, compression: str) -> None:
    compress = COMPRESS[compression]
    content = compress(LINE) + compress(b"") + compress(LINE[:10]) + compress(LINE[10:])
    if compression == ".gz":
        content += b"\0" * 512
    else:
        content = b"\x50\x2a\x4d\x18\x03\0\0\0abc" + content  # a skippable frame first
    path = write(tmp_path / f"c.jsonl{compression}", content)
    assert list(open_corpus(path)) == [Document("a", "t", "T")] * 2


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.sampled_from([".gz", ".zst"]), st.data())
def test_compressed_streams_are_whole_or_an_error(parts: list[bytes], compression: str, data: st.DataObject) -> None:
    members = [COMPRESS[compression](part) for part in parts]
    content = b"".join(members)
    assert io.BufferedReader(InputStream(io.BytesIO(content), "c", corpus_fault)).read() == b"".join(parts)
    size = data.draw(st.integers(4, len(content) - 1))
    ends = [sum(map(len, members[: n + 1])) for n in range(len(members))]
    reader = io.BufferedReader(InputStream(io.BytesIO(content[:size]), "c", corpus_fault))
    if size in ends:
        assert reader.read() == b"".join(parts[: ends.index(size) + 1])
    else:
        with pytest.raises(CorpusError, match=r"truncated|damaged"):
            reader.read()


class BrokenDisk(io.BytesIO):
    """A file of which the second read fails."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > 2:
            raise OSError(5, "Input/output error")
        return super().read(min(size or 0, 50))


def test_a_failing_disk_is_a_corpus_error() -> None:
    found = []
    with pytest.raises(CorpusError, match="standard input: cannot be read: Input/output error"):
        found.extend(open_corpus("-", stdin=BrokenDisk(LINE * 100)))
    assert found == [Document("a", "t", "T")]


# -- standard input --------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from lexhound.retrieval.corpus import open_corpus
corpus = open_corpus("-", format=sys.argv[1] if len(sys.argv) > 1 else None)
for row in corpus:
    sys.stdout.write(f"{corpus.where} {row}\\n")
sys.stdout.write(f"{corpus.name} {corpus.total_bytes} {corpus.bytes_read}\\n")
"""


def piped(content: bytes, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], input=content, capture_output=True, check=True, timeout=120
    )
    return done.stdout.decode().splitlines()


def test_standard_input_of_a_process() -> None:
    lines = piped(LINE + b"oops\n")
    assert lines[0].startswith("standard input, line 1 Document(id='a', text='t', title='T'")
    assert lines[1].startswith("standard input, line 2 standard input, line 2: not JSON")
    assert lines[2] == f"standard input None {len(LINE) + 5}"
    assert piped(gzip.compress(b"id,text\na,t\n"), "csv")[0].startswith("standard input, line 2 Document(id='a'")


def test_standard_input_can_be_read_once() -> None:
    corpus = from_bytes(LINE)
    assert len(list(corpus)) == 1
    with pytest.raises(CorpusError, match="standard input: can be read only once"):
        list(corpus)


class Trickle(io.RawIOBase):
    """A pipe that gives one byte at a time."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._bytes: Iterator[int] = iter(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return bytes([byte for byte in [next(self._bytes, None)] if byte is not None])


@pytest.mark.parametrize("compression", sorted(COMPRESS))
def test_slow_pipes(compression: str) -> None:
    stream: Any = Trickle(COMPRESS[compression](LINE * 2))
    assert list(open_corpus("-", stdin=stream)) == [Document("a", "t", "T")] * 2


def test_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    with subprocess.Popen(["sh", "-c", f"cat > '{path}'"], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(LINE)
        writer.stdin.close()
        corpus = open_corpus(path)
        assert corpus.total_bytes is None
        assert list(corpus) == [Document("a", "t", "T")]
