"""The lexical benchmark: indexing, single queries and batches beside bm25s, agreement, and a search from the shell.

    python bench/run_lexical.py                       # the Cranfield sample, half a minute
    python bench/run_lexical.py --corpus passages.jsonl.zst --questions questions.jsonl.zst --out run.json

See README.md beside this file for what is measured and how.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from common.agreement import Agreement, Ranking, compare
from common.inputs import first_passages, read_questions
from common.lexical_report import report
from common.machine import describe_machine
from common.processes import lexhound, measure_search_process, run_process
from common.queries import Questions, measure_queries
from common.referee import Referee

from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.index import Query
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.query.ranking import rank
from lexhound.retrieval.collection.query.row_filter import rows_passing
from lexhound.retrieval.corpus import open_corpus

K = 10
SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "cranfield"


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        results = _measure(arguments, Path(folder))
    if arguments.out is not None:
        arguments.out.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    print(report(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=SAMPLE, help="what to index (default: the Cranfield sample)")
    parser.add_argument("--questions", type=Path, default=SAMPLE, help="JSON Lines with `query` or `text`, or BEIR")
    parser.add_argument("--passages", type=_positive, metavar="N", help="index only the first N rows (default: all)")
    parser.add_argument("--queries", type=_positive, default=1000, metavar="N", help="questions (default: 1000)")
    parser.add_argument("--rounds", type=_positive, default=3, metavar="N", help="times each is asked (default: 3)")
    parser.add_argument(
        "--processes",
        type=_positive,
        nargs=2,
        default=(3, 7),
        metavar=("COLD", "WARM"),
        help="searches from the shell, with an empty and a full cache of kernels (default: 3 7)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures there as JSON")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the collection is made and dropped again")
    arguments = parser.parse_args()
    for name in ("corpus", "questions"):
        if not getattr(arguments, name).exists():
            parser.error(f"--{name}: there is no {getattr(arguments, name)}")
    return arguments


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {"machine": describe_machine()}
    corpus = first_passages(arguments.corpus, arguments.passages, folder)
    questions, others = read_questions(arguments.questions, arguments.queries)
    directory = folder / "bench.index"
    # Processes first: what a child is charged with starts from what this process holds.
    results["indexing"] = _index(corpus, directory)
    results["process"] = _search_processes(directory, questions, *arguments.processes)
    results["load"] = {"start": results["machine"]["load"], "before queries": os.getloadavg()[0]}
    results |= _queries(directory, corpus, questions, others, arguments.rounds)
    results["load"]["end"] = os.getloadavg()[0]
    return results


def _index(corpus: Path, directory: Path) -> dict[str, Any]:
    cost = run_process([lexhound(), "index", str(corpus), "--into", str(directory), "--encoder", "bm25", "--json"])
    info = orjson.loads(run_process([lexhound(), "info", str(directory), "--json"]).output)
    sizes: dict[str, int] = {}
    for segment in info["segments"]:
        for name, size in segment["bytes"].items():
            sizes[name] = sizes.get(name, 0) + size
    return {
        "documents": info["documents"],
        "corpus_bytes": corpus.stat().st_size if corpus.is_file() else None,
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_bytes": cost.peak_bytes,
        "segments": len(info["segments"]),
        "bytes": sizes,
        "index_bytes": info["index_bytes"],
        "database_bytes": info["database_bytes"],
        "postings": info["postings"],
        "terms": info["terms"],
        "average_length": info["average_length"],
        "loss": info["loss"],
    }


def _search_processes(directory: Path, questions: Sequence[str], cold: int, warm: int) -> dict[str, Any]:
    found = measure_search_process(directory, questions, cold=cold, warm=warm)
    return asdict(found) | {"cold_median": found.cold_median, "warm_median": found.warm_median}


def _queries(directory: Path, corpus: Path, questions: list[str], others: list[str], rounds: int) -> dict[str, Any]:
    with Collection.open(directory) as collection:
        asked = _answerable(collection, questions)
        texts = asked + _answerable(collection, others)
        queries = collection.encode_queries(texts)
        k = min(K, collection.count())
        referee = _referee(collection, corpus)
        results = {
            "questions": len(asked),
            "without_known_terms": len(questions) - len(asked),
            "warm_up": len(texts) - len(asked),
            "terms_per_question": sum(map(len, queries[: len(asked)])) / len(asked),
            "postings_per_question": _postings(collection, queries[: len(asked)]) / len(asked),
            "k": k,
            "rounds": rounds,
        }
    tokens = []
    if referee is not None:
        tokens = [referee.query_tokens(text, query.terms) for text, query in zip(texts, queries, strict=True)]
    # Opened anew: what the collection remembers of the words that it was asked for is part of the measurement.
    with Collection.open(directory) as collection:
        results |= measure_queries(
            collection, referee, Questions(texts, queries, tokens, len(asked)), k=k, rounds=rounds
        )
        if referee is not None:
            best = results["referee"]["fastest"]
            results["agreement"] = asdict(
                _agreement(collection, referee, best, queries[: len(asked)], tokens[: len(asked)], k)
            )
    return results


def _answerable(collection: Collection, texts: list[str]) -> list[str]:
    """The questions of which the collection knows a word."""
    return [text for text, query in zip(texts, collection.encode_queries(texts), strict=True) if len(query)]


def _postings(collection: Collection, queries: Sequence[Query]) -> int:
    """How many postings the queries have in the index; not all of them are read."""
    snapshot = collection.snapshot()
    return sum(int(snapshot.document_frequencies(query.terms).sum()) for query in queries)


def _referee(collection: Collection, corpus: Path) -> Referee | None:
    snapshot = collection.snapshot()
    with snapshot.reading() as connection:
        terms = [term for (term,) in connection.execute("SELECT term FROM terms ORDER BY term_id")]
    settings = LexicalSettings(**collection.manifest.encoder.settings)
    try:
        return Referee(open_corpus(corpus), terms, settings)
    except ImportError:
        return None


def _agreement(
    collection: Collection, referee: Referee, way: str, queries: list[Query], tokens: list[list[int]], k: int
) -> Agreement:
    snapshot = collection.snapshot()
    (part,) = snapshot.segments  # a fresh `lexhound index` makes one segment
    if [part.segment.ids[row] for row in range(part.segment.n_rows)] != referee.ids:
        raise RuntimeError("the collection and the referee hold other passages, or in another order")
    scale = part.segment.index.scale
    if part.segment.index.loss.max_absolute_error > scale / 2 * (1 + 1e-6):
        raise RuntimeError("a weight was clipped: the bound of half a step does not hold")
    allowed = rows_passing(snapshot, None)
    ours = []
    for query in queries:
        ranked, _ = rank(snapshot, query, k, allowed)
        ours.append(Ranking(ranked.rows, ranked.scores))
    theirs = [referee.search(way, tokens[number], k)[0] for number in range(len(queries))]
    return compare(queries, ours, theirs, lambda number: referee.scores(tokens[number]), scale)


if __name__ == "__main__":
    main()
