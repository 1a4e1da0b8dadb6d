"""Vectors into files and back: every bit of every float32, and one clear message for what is no vector."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import load_npz

from lexhound.encoders.base import EncoderIdentity, QueryVector
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.vector_files import (
    Maker,
    compress,
    json_line,
    read_json_lines,
    read_npz,
    stacked,
    write_npz,
)

WORDS = ["flow", "##ing", 'quo"te', "日本", "back\\slash", "\u2028", "heat", "0"]
MAKER = Maker("tiny", "f" * 32, "v" * 64)


class Words:
    """The terms of a tokenizer, plainly."""

    def term_text(self, term_id: int) -> str:
        return WORDS[term_id]

    special_tokens: ClassVar[dict[str, int]] = {}

    def lookup(self, terms: Sequence[str]) -> np.ndarray:
        return np.array([WORDS.index(term) if term in WORDS else -1 for term in terms], dtype=np.int32)


TERMS = Words()
weights = st.floats(width=32, min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
vectors = st.dictionaries(st.integers(0, len(WORDS) - 1), weights).map(
    lambda values: (np.array(sorted(values), np.int32), np.array([values[term] for term in sorted(values)], np.float32))
)
ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
files = st.lists(st.tuples(ids, vectors), max_size=8)


def same(found: Sequence[tuple[str, QueryVector]], expected: Sequence[tuple[str, QueryVector]]) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, (terms, values)), (_, (wanted, exact)) in zip(found, expected, strict=True):
        assert (terms.dtype, values.dtype) == (np.int32, np.float32)
        assert terms.tolist() == wanted.tolist()
        assert values.tobytes() == exact.tobytes()


@given(files, st.sampled_from(["v.jsonl", "v.jsonl.zst"]))
def test_json_lines_keep_every_bit(content: list[tuple[str, QueryVector]], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        (Path(folder) / "plain").write_bytes(b"".join(json_line(name, vector, TERMS) for name, vector in content))
        if path.suffix == ".zst":
            compress(Path(folder) / "plain", path)
        else:
            (Path(folder) / "plain").rename(path)
        same(list(read_json_lines(path, TERMS)), content)


@given(files)
def test_npz_keeps_every_bit_and_scipy_reads_it(content: list[tuple[str, QueryVector]]) -> None:
    matrix = stacked([vector for _, vector in content], len(WORDS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.npz"
        write_npz(path, [name for name, _ in content], matrix, MAKER)
        found = read_npz(path)
        loaded = load_npz(path)
    assert found.maker == MAKER
    bounds = zip(found.vectors.indptr[:-1], found.vectors.indptr[1:], strict=True)
    rows = [(found.vectors.indices[start:end].astype(np.int32), found.vectors.data[start:end]) for start, end in bounds]
    same(list(zip(found.ids, rows, strict=True)), content)
    assert loaded.toarray().tobytes() == matrix.toarray().tobytes()
    assert loaded.shape == (len(content), len(WORDS))


@given(st.lists(st.integers(1, 0x7F7FFFFF), min_size=len(WORDS), max_size=len(WORDS)))
def test_any_float_by_way_of_plain_json(bits: list[int]) -> None:
    exact = np.array(bits, dtype=np.uint32).view(np.float32)
    line = json_line("a", (np.arange(len(WORDS), dtype=np.int32), exact), TERMS)
    read = json.loads(line)["vector"]
    assert np.array([read[word] for word in WORDS], dtype=np.float32).tobytes() == exact.tobytes()
    assert list(read.values()) == sorted(read.values(), reverse=True)


def test_forms_of_others(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(
        '{"id": 7, "contents": "x", "vector": {"heat": 2, "flow": 1.5, "0": 0}}\n\n{"_id": "b", "vector": {}}', "utf-8"
    )
    (first, (terms, values)), (second, (none, _)) = read_json_lines(path, TERMS)
    assert (first, terms.tolist(), values.tolist()) == ("7", [0, 6], [1.5, 2.0])
    assert (second, none.tolist()) == ("b", [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ('{"vector": {}}', "no id"),
        ('{"id": "", "vector": {}}', "no id"),
        ('{"id": true, "vector": {}}', "no id"),
        ('{"id": "a"}', "has no vector"),
        ('{"id": "a", "vector": [1]}', "has no vector"),
        ('{"id": "a", "vector": {"heat": -1}}', "'heat' is -1"),
        ('{"id": "a", "vector": {"heat": 1e39}}', "'heat' is 1e"),
        ('{"id": "a", "vector": {"heat": NaN}}', "not JSON"),
        ('{"id": "a", "vector": {"heat": "1"}}', "'heat' is not a number"),
        ('{"id": "a", "vector": {"heat": true}}', "'heat' is not a number"),
        ('{"id": "a", "vector": {"heat": null}}', "'heat' is not a number"),
        ('{"id": "a", "vector": {"cold": 1}}', "no term 'cold'"),
    ],
)
def test_what_is_no_vector(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text('{"id": "fine", "vector": {"heat": 1}}\n' + line + "\n", "utf-8")
    reading = read_json_lines(path, TERMS)
    assert next(reading)[0] == "fine"
    with pytest.raises(VectorFileError, match=message) as caught:
        next(reading)
    assert caught.value.where == f"{path}:2"
    assert caught.value.hint


def test_a_torn_compressed_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vector = np.arange(8, dtype=np.int32), rng.random(8, dtype=np.float32) + 1
    (tmp_path / "plain.jsonl").write_bytes(b"".join(json_line(f"{rng.random()}", vector, TERMS) for _ in range(2000)))
    compress(tmp_path / "plain.jsonl", tmp_path / "v.jsonl.zst")
    assert len(list(read_json_lines(tmp_path / "v.jsonl.zst", TERMS))) == 2000
    (tmp_path / "v.jsonl.gz").write_bytes(gzip.compress((tmp_path / "plain.jsonl").read_bytes()))
    assert len(list(read_json_lines(tmp_path / "v.jsonl.gz", TERMS))) == 2000
    for name in ("v.jsonl.zst", "v.jsonl.gz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 3 // 4])
        with pytest.raises(VectorFileError, match="data is truncated"):
            list(read_json_lines(tmp_path / name, TERMS))
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(VectorFileError, match="does not hold"):
            list(read_json_lines(tmp_path / name, TERMS))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_that_are_cut_short_or_damaged(tmp_path: Path, save: Callable[..., None]) -> None:
    """Whatever byte is altered or wherever it ends: the same vectors or an error, whatever packed it."""
    path = tmp_path / "v.npz"
    matrix = stacked([(np.array([1, 5], np.int32), np.array([0.5, 2.25], np.float32))] * 20, 8)
    write_npz(path, [f"d{row}" for row in range(20)], matrix, MAKER)
    with np.load(path) as file:
        parts = dict(file)
    save(path, **parts)
    whole = path.read_bytes()
    refused = 0
    cut = [whole[:size] for size in range(0, len(whole), 97)]
    for damaged in [*cut, *(flipped(whole, place) for place in range(0, len(whole), 11))]:
        path.write_bytes(damaged)
        try:
            table = read_npz(path)
        except VectorFileError:
            refused += 1
        else:
            assert (table.vectors != matrix).nnz == 0
            assert table.ids == [f"d{row}" for row in range(20)]
    assert refused > len(cut)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :]


def test_npz_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    matrix = stacked([(np.array([1], np.int32), np.array([0.5], np.float32))], 8)
    with pytest.raises(VectorFileError, match="2 ids for 1 vectors"):
        write_npz(path, ["a", "b"], matrix, MAKER)
    with pytest.raises(VectorFileError, match="cannot be kept"):
        write_npz(path, ["a\0"], matrix, MAKER)
    for content in (b"", b"PK nothing", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(VectorFileError, match="not a file of vectors"):
            read_npz(path)
    write_npz(path, ["a"], matrix, MAKER)
    with np.load(path) as file:
        whole = dict(file)
    for name, value, message in (
        ("indices", np.array([8], np.int32), "not a file of vectors"),
        ("data", np.array([np.nan], np.float32), "negative or no number"),
        ("data", np.array([-1.0], np.float32), "negative or no number"),
        ("ids", np.array(["a", "b"]), "2 ids for 1 vectors"),
        ("ids", np.array(["a"], dtype=object), "not a file of vectors"),
        ("encoder", np.array("{}"), "not a file of vectors"),
    ):
        np.savez(path, **(whole | {name: value}))
        with pytest.raises(VectorFileError, match=message):
            read_npz(path)


def test_vectors_of_another_encoder(tmp_path: Path) -> None:
    write_npz(tmp_path / "v.npz", [], stacked([], 8), MAKER)
    table = read_npz(tmp_path / "v.npz")
    table.require(EncoderIdentity("splade", "elsewhere", MAKER.fingerprint))
    with pytest.raises(VectorFileError, match=r"made by tiny .* not by other"):
        table.require(EncoderIdentity("splade", "other", "0" * 32))
