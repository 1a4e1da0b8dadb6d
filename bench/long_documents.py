"""A BEIR folder of long documents, made of real ones: whole articles joined from their passages.

    python bench/long_documents.py --wiki wiki.jsonl.zst --questions questions.jsonl.zst \\
        --answers medquad.jsonl.zst --out long

Two kinds of documents, none of which has a title of its own:

- Articles of an encyclopedia: all passages of an article (ids `ARTICLE-0`, `ARTICLE-1`, ...) in their order, a blank
  line between two; articles of `--least` to `--most` words, whole. Of these, those that a question names (below)
  come first, then others by the hash of their number, until there are `--documents`.
- Leaflets: all answers about one disease (the words after "of", "is", "are" or "for" in the questions' templates),
  joined the same way; as long, and `--documents` of them at most, by the hash of the disease.

Queries, by their ids: `title-N` is the title of an article (a known item). `question-N` is a question that names an
article's title and whose answer, a text of at least four letters or digits, stands in that article: it is relevant.
`deep-N` are those of them whose answer stands nowhere in the first 350 words. `leaflet-N` is one question about a
leaflet's disease, not the first.

With `--short N`, so many short documents join them: the first passages of other articles, those that a question names
first. Their queries are `short-N-...`, titles and questions as above. A collection that mixes long and short documents
shows whether a way of reading favours either. Everything is decided by ids and hashes, so the same files give the same
set.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lexhound.core.streams import buffered, open_input

TEMPLATE = re.compile(
    r"^(?:What|How|Is|Do|Who|Where|Are)\b.*?\b(?:\(are\)|of|for|is|are|causes?|prevent|diagnose|to) (.+?) \?$"
)
INHERITED = re.compile(r"^Is (.+) inherited \?$")
FIRST_WORDS = 350


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("wiki", "questions", "answers", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=250, help="of each kind")
    parser.add_argument("--least", type=int, default=900, help="words of a document, at least")
    parser.add_argument("--most", type=int, default=2500, help="words of a document, at most")
    parser.add_argument("--short", type=int, default=0, help="short documents beside them")
    arguments = parser.parse_args()
    lengths = range(arguments.least, arguments.most + 1)
    whole = _articles(arguments.wiki)
    articles = {key: (title, text) for key, (title, text, _) in whole.items() if len(text.split()) in lengths}
    named = _named(arguments.questions, articles)
    order = sorted(articles, key=lambda key: (key not in named, _hash(key)))[: arguments.documents]
    documents = {f"article-{key}": articles[key][1] for key in order}
    queries: dict[str, tuple[str, str]] = {}
    for key in order:
        queries[f"title-{key}"] = (articles[key][0], f"article-{key}")
        for number, (question, deep) in enumerate(named.get(key, [])):
            queries[f"{'deep' if deep else 'question'}-{key}-{number}"] = (question, f"article-{key}")
    for key, (question, text) in _leaflets(arguments.answers, lengths, arguments.documents).items():
        documents[f"leaflet-{key}"] = text
        queries[f"leaflet-{key}"] = (question, f"leaflet-{key}")
    leads = {key: (title, lead) for key, (title, _, lead) in whole.items() if key not in articles}
    named = _named(arguments.questions, leads) if arguments.short else {}
    for key in sorted(leads, key=lambda key: (key not in named, _hash(key)))[: arguments.short]:
        documents[f"short-{key}"] = leads[key][1]
        queries[f"short-{key}-title"] = (leads[key][0], f"short-{key}")
        for number, (question, _) in enumerate(named.get(key, [])):
            queries[f"short-{key}-{number}"] = (question, f"short-{key}")
    _write(arguments.out, documents, queries)
    words = sum(len(text.split()) for text in documents.values())
    print(f"{len(documents):,} documents of {words / len(documents):,.0f} words, {len(queries):,} queries")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with buffered(open_input(path, str(path), _refuse)) as stream:
        for line in stream:
            yield json.loads(line)


def _refuse(message: str, hint: str = "") -> Exception:
    return ValueError(f"{message} {hint}")


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _articles(path: Path) -> dict[str, tuple[str, str, str]]:
    """Return (title, whole text, first passage) of the articles, by their number."""
    parts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    titles: dict[str, str] = {}
    for row in _rows(path):
        key, _, number = row["id"].rpartition("-")
        parts[key].append((int(number), row["text"]))
        titles[key] = row["title"]
    pieces = {key: [text for _, text in sorted(own)] for key, own in parts.items()}
    return {key: (titles[key], "\n\n".join(texts), texts[0]) for key, texts in pieces.items()}


def _named(path: Path, articles: dict[str, tuple[str, str]]) -> dict[str, list[tuple[str, bool]]]:
    """Return, for each article, the questions that name it and that it answers, and whether the answer stands deep."""
    by_title = {title.lower(): key for key, (title, _) in articles.items() if len(title) >= 4}
    lowered: dict[str, str] = {}
    named: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for row in _rows(path):
        words = re.findall(r"\w+", row["query"].lower())
        spans = [" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(i + 6, len(words)) + 1)]
        found = [by_title[span] for span in spans if span in by_title]
        if not found:
            continue
        key = max(found, key=lambda each: len(articles[each][0]))  # the longest title is meant
        text = lowered.setdefault(key, articles[key][1].lower())
        answers = [answer.lower() for answer in row["answers"] if len(re.sub(r"\W", "", answer)) >= 4]
        answers = [answer for answer in answers if answer not in row["query"].lower() and answer in text]
        if answers:
            head = " ".join(articles[key][1].split()[:FIRST_WORDS]).lower()
            named[key].append((row["query"], not any(answer in head for answer in answers)))
    return named


def _leaflets(path: Path, lengths: range, most: int) -> dict[str, tuple[str, str]]:
    """Return (question, text) of the long leaflets, by the disease's hash."""
    parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in _rows(path):
        match = INHERITED.match(row["query"]) or TEMPLATE.match(row["query"])
        if match:
            parts[match[1].lower()].append((row["query"], row["text"]))
    chosen: dict[str, tuple[str, str]] = {}
    for disease, pieces in sorted(parts.items(), key=lambda item: _hash(item[0])):
        text = "\n\n".join(dict.fromkeys(answer for _, answer in pieces))
        if len(pieces) > 2 and len(text.split()) in lengths and len(chosen) < most:
            key = _hash(disease)
            chosen[key] = (pieces[1 + int(key, 16) % (len(pieces) - 1)][0], text)
    return chosen


def _write(folder: Path, documents: dict[str, str], queries: dict[str, tuple[str, str]]) -> None:
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for key, text in documents.items():
            file.write(json.dumps({"_id": key, "title": "", "text": text}) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as file:
        for key, (text, _) in queries.items():
            file.write(json.dumps({"_id": key, "text": text}) + "\n")
    with (folder / "qrels" / "dev.tsv").open("w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"{key}\t{relevant}\t1\n" for key, (_, relevant) in queries.items())


if __name__ == "__main__":
    main()
