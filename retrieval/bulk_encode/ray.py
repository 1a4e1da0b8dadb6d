"""Encoding a corpus on a Ray cluster: shards by a hash of the id, as `lexhound encode --shard` cuts them, a task each.

Each task reads the corpus, encodes its shard into a file of its own in the folder `OUT.shards`, and gives the file its
name when it is whole, so that a task may be done twice, even at the same time: both write the same bytes. A task whose
worker dies is done again by Ray. At the end the shards are put together in the order of the corpus, and only then is
the folder removed: what is finished is kept for the next attempt.

The corpus and OUT's folder have to be the same files on all nodes, as for `--shard`.
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexhound.core.atomic_files import move_file, write_file
from lexhound.core.errors import LexhoundError, first_line
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.retrieval.collection.write.progress import Progress
from lexhound.retrieval.corpus import BadRow
from lexhound.retrieval.errors import ClusterError

from .cluster import Cluster, RaySettings, import_ray, slots_of
from .encoding import EncodingOptions, EncodingReport, check_out, encode_corpus
from .partial import Counts, partial_files
from .shards import (
    ShardProgress,
    Texts,
    finished_shard,
    merge_shards,
    prepare_shards,
    shard_counts,
    shard_folder,
    shard_notes,
    shard_stem,
)
from .texts import EncodedTexts

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings

RETRIES = 5
"""How often Ray does a shard again whose worker died."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a worker has to know; plain values, because they travel."""

    texts: Texts
    encoder: str
    settings: LearnedSettings | None
    fingerprint: str
    options: EncodingOptions
    skip: bool
    folder: str


@dataclass(frozen=True, slots=True)
class ShardedReport:
    """What a finished run wrote: as `EncodingReport`, and the shards, of which `resumed_shards` were there already."""

    encoding: EncodingReport
    shards: int
    resumed_shards: int


def encode_on_ray(
    texts: Texts,
    encoder: str,
    settings: LearnedSettings | None,
    out: Path,
    ray_settings: RaySettings,
    options: EncodingOptions,
    *,
    on_bad_row: Callable[[BadRow], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ShardedReport:
    """Write the vectors of a corpus's texts to `out` in their order, or go on where an earlier attempt stopped.

    The arguments are those of `encode_corpus`, except that corpus and encoder are named, so that workers can open them.

    Raises:
        MissingExtraError: ray is not installed. ClusterError: no cluster answers, or its workers die again and again,
            or do not see this machine's files.
        VectorFileError, BadRowError, CorpusError, EncoderError: as `encode_corpus`.
    """
    ray = import_ray()
    check_out(out, overwrite=options.overwrite)
    if partial_files(out)[0].exists() and not options.overwrite:
        raise VectorFileError(
            "an unfinished run without --ray is here",
            "Finish it with the command it was begun with, or start over with --overwrite",
            where=str(partial_files(out)[0]),
        )
    texts.open()  # a wrong path is told before a cluster is asked for
    loaded = LearnedEncoder(encoder, settings)
    if options.passages is not None:
        EncodedTexts(loaded, options.passages, queries=options.queries)  # and so are passages that do not fit
    folder = shard_folder(out)
    with Cluster(ray, ray_settings):
        gpus = 1 if settings is not None and (settings.device or "").startswith("cuda") else 0
        slots = slots_of(ray, ray_settings, gpus)
        count = prepare_shards(
            folder, options.made_by(loaded), ray_settings.shards, slots, start_over=options.overwrite
        )
        numbers = range(1, count + 1)
        done = {number for number in numbers if finished_shard(folder, number, count) is not None}
        before = sum((shard_counts(folder, number, count) for number in done), Counts())
        shard_progress = ShardProgress(folder, count, before, progress)
        task = ShardTask(
            texts,
            encoder,
            settings,
            loaded.identity.fingerprint,
            options,
            on_bad_row is not None,
            str(folder.resolve()),
        )
        tasks = [
            replace(task, options=replace(options, shard=(number, count), overwrite=False))
            for number in numbers
            if number not in done
        ]
        remote = ray.remote(encode_shard).options(
            num_cpus=ray_settings.processors, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False
        )
        _run(ray, remote, tasks, shard_progress)
    for number in numbers:
        if finished_shard(folder, number, count) is None:
            raise ClusterError(
                f"shard {number}/{count} was encoded, but its file is not here",
                where=str(folder),
                hint="workers on other machines have to write to the same folder: put FILE on a shared file system",
            )
    passages = options.passages is not None
    report = merge_shards(texts, folder, count, out, loaded, on_bad_row, shard_progress, passages=passages)
    shutil.rmtree(folder, ignore_errors=True)
    return ShardedReport(report, count, len(done))


def encode_shard(task: ShardTask) -> int:
    """Encode one shard into the folder; run by a worker. Returns how many tokens its model has read.

    Raises:
        ClusterError: the worker sees another encoder than the one who gave the task.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    encoder = _loaded(task.encoder, task.settings)
    if encoder.identity.fingerprint != task.fingerprint:
        raise ClusterError(
            f"on {socket.gethostname()} {task.encoder} is another encoder than where the command was given",
            hint="copy the same files of the encoder to all nodes, and the same version of Lexhound",
        )
    folder = Path(task.folder)
    # Named after who writes it: of two workers that do the same shard, neither disturbs the other.
    stem = shard_stem(*task.options.shard)
    unfinished = folder / f"{stem}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.jsonl"
    try:
        report = encode_corpus(
            task.texts.open(),
            encoder,
            unfinished,
            task.options,
            on_bad_row=(lambda _: None) if task.skip else None,
        )
        write_file(folder / f"{stem}.json", shard_notes(report))
        move_file(unfinished, folder / f"{stem}.jsonl")
    finally:
        for leftover in folder.glob(f"{unfinished.name}*"):
            leftover.unlink(missing_ok=True)
    return report.tokens


_encoders: dict[tuple[str, str], LearnedEncoder] = {}


def _loaded(name: str, settings: LearnedSettings | None) -> LearnedEncoder:
    """Return the encoder, loaded once a worker."""
    key = name, repr(settings)
    if key not in _encoders:
        _encoders.clear()
        _encoders[key] = LearnedEncoder(name, settings)
    return _encoders[key]


def _run(ray: Any, remote: Any, tasks: list[ShardTask], progress: ShardProgress) -> None:
    """Do all tasks. Those of a run that fails or is stopped end with its connection to the cluster.

    They are not cancelled one by one: Ray 2 dies now and then when a task that is being cancelled ends by itself.
    """
    numbers = {remote.remote(task): task for task in tasks}
    waiting = list(numbers)
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=1, timeout=_POLL_SECONDS)
        for one in ready:
            progress.tokens += _result(ray, one, numbers[one])
        progress("reading")


def _result(ray: Any, one: Any, task: ShardTask) -> int:
    number, count = task.options.shard
    try:
        return int(ray.get(one))
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, LexhoundError | OSError | MemoryError):
            raise cause from None
        raise ClusterError(
            f"shard {number}/{count} failed: {first_line(cause or error)}",
            hint="the worker's log has more: ray logs",
        ) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"shard {number}/{count} was not finished: {first_line(error)}",
            hint=f"workers died {RETRIES + 1} times over it: look for a lack of memory; finished shards are kept",
        ) from error
