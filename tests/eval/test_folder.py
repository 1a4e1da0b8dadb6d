"""BEIR folders: what is read, what is counted, what is refused."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
import zstandard

from lexhound.eval.datasets.folder import available_splits, load_folder
from lexhound.eval.datasets.resolve import open_dataset
from lexhound.eval.errors import DatasetError


def test_cranfield_is_read_whole(samples: Path) -> None:
    dataset = load_folder(samples / "cranfield")
    assert (dataset.name, dataset.split) == ("cranfield", "test")
    assert len(dataset.queries) == len(dataset.qrels) == dataset.report.queries == 225
    assert dataset.report.judgments == 1837
    assert dataset.qrels["1"]["184"] == 3
    assert dataset.report.notices() == []


@pytest.mark.parametrize("header", [True, False])
def test_header_line_is_optional(make_folder, header: bool) -> None:
    dataset = load_folder(make_folder(header=header))
    assert dataset.qrels == {"q1": {"d1": 1}, "q2": {"d3": 2}}
    assert dataset.report.broken_judgments == 0


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_are_read(make_folder, suffix: str) -> None:
    folder = make_folder()
    plain = load_folder(folder)
    for path in [folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"]:
        content = path.read_bytes()
        packed = gzip.compress(content) if suffix == ".gz" else zstandard.compress(content)
        path.with_name(path.name + suffix).write_bytes(packed)
        path.unlink()
    packed_set = load_folder(folder)
    assert packed_set.qrels == plain.qrels
    assert packed_set.queries == plain.queries
    assert packed_set.corpus == folder / f"corpus.jsonl{suffix}"
    assert available_splits(folder) == ["test"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_compression_names_the_file(make_folder, suffix: str) -> None:
    folder = make_folder()
    (folder / "queries.jsonl").unlink()
    (folder / f"queries.jsonl{suffix}").write_bytes(b"this is not compressed at all")
    with pytest.raises(DatasetError, match=re.escape(f"queries.jsonl{suffix}")):
        load_folder(folder)


def test_folder_without_judgments_says_so(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "a"}\n')
    with pytest.raises(DatasetError, match=r"no judgments: there is no qrels/test\.tsv"):
        load_folder(tmp_path)


def test_missing_split_lists_the_ones_there(make_folder) -> None:
    make_folder(split="dev")
    folder = make_folder(split="train")
    (folder / "qrels" / "test.tsv").unlink(missing_ok=True)
    with pytest.raises(DatasetError, match=r"no judgments for the split 'test'.*dev, train"):
        load_folder(folder)
    assert load_folder(folder, "dev").split == "dev"


def test_missing_queries_file(make_folder) -> None:
    folder = make_folder()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"there is no queries\.jsonl"):
        load_folder(folder)


def test_trouble_is_counted_and_not_fatal(make_folder) -> None:
    folder = make_folder(qrels=[("q1", "d1", 1), ("q2", "d3", 0), ("gone", "d1", 1), ("q1", "nowhere", 1)])
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\td2\tmany\nonly two\nq1\td1\t2\n")
    with (folder / "queries.jsonl").open("a") as file:
        file.write('not json\n{"_id": "q1", "text": "again"}\n{"_id": "q9", "text": " "}\n')
    report = load_folder(folder).report
    assert report.broken_judgments == 2
    assert report.repeated_judgments == 1
    assert report.broken_queries == 3
    assert report.missing_queries == 1
    assert report.queries == 3
    assert report.queries_without_relevant == 1
    assert report.judgments == 4
    text = "\n".join(report.notices())
    for expected in (
        "2 broken lines of the judgments",
        "1 pair judged",
        "3 broken lines of the queries",
        "1 judged query without a text (counted as 0)",
    ):
        assert expected in text
    assert any(example.endswith("test.tsv, line 6: the relevance is not a whole number") for example in report.examples)
    assert any("gone" in example for example in report.examples)


def test_a_broken_first_line_is_not_taken_for_a_header(make_folder) -> None:
    folder = make_folder(header=False)
    path = folder / "qrels" / "test.tsv"
    path.write_text("q1\td2\tthree\n" + path.read_text())
    assert load_folder(folder).report.broken_judgments == 1


def test_nothing_usable_is_an_error_that_shows_a_line(make_folder) -> None:
    folder = make_folder(qrels=[("q1", "d1", "x")])  # type: ignore[list-item]
    with pytest.raises(DatasetError, match=r"no judgments could be read \(1 broken lines\).*line 2"):
        load_folder(folder)


def test_judged_queries_that_are_all_absent_are_an_error(make_folder) -> None:
    folder = make_folder(qrels=[("a", "d1", 1)])
    with pytest.raises(DatasetError, match="none of the 1 judged queries has a text"):
        load_folder(folder)


def test_shared_collections_are_clean(shared_data: Path) -> None:
    sizes = {"scifact": (300, 339), "nfcorpus": (323, 12334)}
    for name, (queries, judgments) in sizes.items():
        (dataset,) = open_dataset(shared_data / "beir" / name)
        assert (dataset.report.queries, dataset.report.judgments) == (queries, judgments)
        assert dataset.report.notices() == []


def test_forums_of_cqadupstack_are_parts_of_one_set(make_folder, tmp_path: Path) -> None:
    from lexhound.eval.datasets.beir import FORUMS

    for forum in FORUMS:
        make_folder(f"cqadupstack/{forum}")
    parts = open_dataset(tmp_path / "cqadupstack")
    assert [part.name for part in parts] == [f"cqadupstack/{forum}" for forum in FORUMS]
    assert {part.group for part in parts} == {"cqadupstack"}
    (tmp_path / "cqadupstack" / "tex" / "queries.jsonl").unlink()
    with pytest.raises(DatasetError, match="mean of its 12 forums, but tex is not there"):
        open_dataset(tmp_path / "cqadupstack")
