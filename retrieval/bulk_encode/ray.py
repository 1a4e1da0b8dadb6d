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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from lexhound.core.atomic_files import move_file, write_file
from lexhound.core.errors import LexhoundError, MissingExtraError
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.retrieval.collection.write.ingest import Phase, Progress
from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.errors import ClusterError

from .encoding import (
    EncodingReport,
    TextDigest,
    check_out,
    encode_corpus,
    kept_vectors,
    made_of,
    partial_files,
    publish,
    shard_of,
)

if TYPE_CHECKING:
    from lexhound.encoders.sparse.settings import LearnedSettings

RETRIES = 5
"""How often Ray does a shard again whose worker died."""

# Shards a worker gets in turn: more make less of a worker's death and of the last worker's wait, and read more often.
SHARDS_A_SLOT = 4
MOST_SHARDS = 1000
_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 5.0

_TWICE = "its id occurs a second time"
_TWICE_HINT = "Give every text an id of its own, or remove one of the two."


@dataclass(frozen=True, slots=True)
class RaySettings:
    """A Ray cluster and how much of it is used.

    Attributes:
        address: `HOST:PORT`, `ray://HOST:PORT`, `auto`; "" for the one that RAY_ADDRESS names or that this machine is
            part of, or else one that is started here and lasts as long as the work.
        shards: how many parts the work is cut into; None for four a processor, or a GPU where the encoder runs on one.
        processors: how many of them a worker gets, and how many threads it uses.
    """

    address: str = ""
    shards: int | None = None
    processors: int = 1


@dataclass(frozen=True, slots=True)
class Texts:
    """A corpus by its arguments to `open_corpus`, so that every worker can open it."""

    path: str
    format: str | None = None
    id_field: str | None = None
    text_field: str | None = None
    title_field: str | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker has to know; plain values, because they travel."""

    texts: Texts
    encoder: str
    settings: LearnedSettings | None
    fingerprint: str
    source: str
    queries: bool
    skip: bool
    folder: str
    number: int
    count: int


@dataclass(frozen=True, slots=True)
class ShardedReport:
    """What a finished run wrote: as `EncodingReport`, and the shards, of which `resumed_shards` were there already."""

    encoding: EncodingReport
    shards: int
    resumed_shards: int


def shard_folder(out: Path) -> Path:
    """Where the shards of an unfinished run are."""
    return out.with_name(f"{out.name}.shards")


def finished_shards(out: Path) -> tuple[int, int]:
    """How many shards an interrupted run has finished, and of how many; (0, 0) where there is none."""
    try:
        count = int(orjson.loads((shard_folder(out) / "run.json").read_bytes())["shards"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0
    return sum(_finished(shard_folder(out), number, count) is not None for number in range(1, count + 1)), count


def encode_on_ray(
    texts: Texts,
    encoder: str,
    settings: LearnedSettings | None,
    out: Path,
    ray_settings: RaySettings,
    *,
    source: str,
    queries: bool = False,
    overwrite: bool = False,
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
    ray = _import()
    check_out(out, overwrite=overwrite)
    if partial_files(out)[0].exists() and not overwrite:
        raise VectorFileError(
            "an unfinished run without --ray is here",
            "Finish it with the command it was begun with, or start over with --overwrite",
            where=str(partial_files(out)[0]),
        )
    open_corpus(**_named(texts))  # a wrong path is told before a cluster is asked for
    loaded = LearnedEncoder(encoder, settings)
    folder = shard_folder(out)
    with _cluster(ray, ray_settings):
        made = made_of(loaded, source, queries=queries)
        gpus = 1 if settings is not None and (settings.device or "").startswith("cuda") else 0
        count = _prepare(folder, made, ray_settings.shards, _slots(ray, ray_settings, gpus), start_over=overwrite)
        tasks = [
            _Task(
                texts, encoder, settings, loaded.identity.fingerprint, source, queries, on_bad_row is not None,
                str(folder.resolve()), number, count,
            )
            for number in range(1, count + 1)
        ]  # fmt: skip
        done = {task.number for task in tasks if _finished(folder, task.number, count) is not None}
        before = sum(_lines(folder, number, count) for number in done)
        tell = _Teller(folder, count, before, progress)
        remote = ray.remote(encode_shard).options(
            num_cpus=ray_settings.processors, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False
        )
        _run(ray, remote, [task for task in tasks if task.number not in done], tell)
    for task in tasks:
        if _finished(folder, task.number, count) is None:
            raise ClusterError(
                f"shard {task.number}/{count} was encoded, but its file is not here",
                where=str(folder),
                hint="workers on other machines have to write to the same folder: put FILE on a shared file system",
            )
    report = _merge(texts, folder, count, out, loaded, on_bad_row, before, tell)
    shutil.rmtree(folder, ignore_errors=True)
    return ShardedReport(report, count, len(done))


def encode_shard(task: _Task) -> int:
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
    stem = f"{task.number}-of-{task.count}"
    own = folder / f"{stem}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.jsonl"
    try:
        report = encode_corpus(
            open_corpus(**_named(task.texts)),
            encoder,
            own,
            source=task.source,
            queries=task.queries,
            shard=(task.number, task.count),
            on_bad_row=(lambda _: None) if task.skip else None,
        )
        notes = {"lines": report.vectors, "digest": report.digest, "tokens": report.tokens}
        write_file(folder / f"{stem}.json", orjson.dumps(notes))
        move_file(own, folder / f"{stem}.jsonl")
    finally:
        for left in folder.glob(f"{own.name}*"):
            left.unlink(missing_ok=True)
    return report.tokens


_encoders: dict[tuple[str, str], LearnedEncoder] = {}


def _loaded(name: str, settings: LearnedSettings | None) -> LearnedEncoder:
    """The encoder, loaded once a worker."""
    key = name, repr(settings)
    if key not in _encoders:
        _encoders.clear()
        _encoders[key] = LearnedEncoder(name, settings)
    return _encoders[key]


# The cluster


def _import() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError("--ray needs the package ray", "pip install 'lexhound[ray]'") from error
    return ray


class _cluster:  # noqa: N801  used as a function
    """A connection to the cluster for the length of a block; what was started here ends with it."""

    def __init__(self, ray: Any, settings: RaySettings) -> None:
        self._ray = ray
        self._address = settings.address

    def __enter__(self) -> None:
        import logging

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = self._address or os.environ.get("RAY_ADDRESS", "")
        _check_answers(address)
        given: dict[str, Any] = {"address": address} if address else {}
        if address == "local":
            given["include_dashboard"] = False
        try:
            self._ray.init(**given, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
        except Exception as error:  # what Ray raises here has changed from version to version
            raise ClusterError(
                f"Ray cannot be used: {_first_line(error)}",
                where=address or None,
                hint="see that the cluster runs (`ray status`) and has the same versions of Python and Ray",
            ) from error

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


def _check_answers(address: str) -> None:
    """Ray tries an address for long, and some of its versions end the process when they give up."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        if address not in ("", "auto", "local"):
            raise ClusterError(
                "this is not an address of a Ray cluster", where=address, hint="write HOST:PORT, or auto"
            )
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers: {error}",
            where=address,
            hint="start one with `ray start --head`, or leave the address out to use this machine alone",
        ) from error


def _slots(ray: Any, settings: RaySettings, gpus: int) -> int:
    """How many tasks the cluster can run at a time, at least one."""
    resources = ray.cluster_resources()
    if gpus:
        if not resources.get("GPU"):
            raise ClusterError("the cluster has no GPU", hint="leave --device out, or add a node that has one")
        return int(resources["GPU"])
    processors = int(resources.get("CPU", 0))
    if processors < settings.processors:
        raise ClusterError(
            f"the cluster has {processors} processors, and a worker is to have {settings.processors}",
            hint="lower --ray-processors",
        )
    return processors // settings.processors


def _run(ray: Any, remote: Any, tasks: list[_Task], tell: _Teller) -> None:
    """Do all tasks, or none any more where one fails."""
    numbers = {remote.remote(task): task for task in tasks}
    waiting = list(numbers)
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=_POLL_SECONDS)
            for one in ready:
                tell.tokens += _result(ray, one, numbers[one])
            tell("reading")
    finally:
        for one in waiting:  # of a run that failed or was stopped
            ray.cancel(one, force=True)


def _result(ray: Any, one: Any, task: _Task) -> int:
    try:
        return int(ray.get(one))
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, LexhoundError | OSError | MemoryError):
            raise cause from None
        raise ClusterError(
            f"shard {task.number}/{task.count} failed: {_first_line(cause or error)}",
            hint="the worker's log has more: ray logs",
        ) from error
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"shard {task.number}/{task.count} was not finished: {_first_line(error)}",
            hint=f"workers died {RETRIES + 1} times over it: look for a lack of memory; finished shards are kept",
        ) from error


class _Teller:
    """Adds up how far the shards are, from their files."""

    def __init__(self, folder: Path, count: int, before: int, progress: Callable[[Progress], None] | None) -> None:
        self._folder = folder
        self._count = count
        self._before = before
        self._progress = progress
        self.tokens = 0

    def __call__(self, phase: Phase, bytes_read: int = 0, total_bytes: int | None = None) -> None:
        if self._progress is None:
            return
        done = {number: _lines(self._folder, number, self._count) for number in range(1, self._count + 1)}
        for partial in self._folder.glob("*.partial"):
            # Of several attempts at a shard the one that is farthest counts.
            number = int(partial.name.partition("-of-")[0])
            done[number] = max(done[number], kept_vectors(partial.with_suffix("")))
        vectors = sum(done.values())
        self._progress(Progress(phase, vectors, self._before, 0, bytes_read, total_bytes, self.tokens))


# The shards


def _prepare(folder: Path, made: dict[str, object], wanted: int | None, slots: int, *, start_over: bool) -> int:
    """Make the folder, or take over the one of an earlier attempt; returns how many shards there are."""
    notes = folder / "run.json"
    before: dict[str, Any] | None = None
    if folder.exists() and not start_over:
        try:
            before = orjson.loads(notes.read_bytes())
        except (OSError, ValueError):
            before = None
        same = isinstance(before, dict) and before.get("made") == made
        if isinstance(before, dict) and same and wanted in (None, before.get("shards")):
            _sweep(folder)
            return int(before["shards"])
        if any(folder.glob("*.jsonl")):
            raise VectorFileError(
                "an unfinished run of another encoder, side, input or number of shards is here",
                "Finish it with the command it was begun with, or start over with --overwrite",
                where=str(folder),
            )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    count = wanted or min(max(slots * SHARDS_A_SLOT, 1), MOST_SHARDS)
    write_file(notes, orjson.dumps({"made": made, "shards": count}))
    return count


def _sweep(folder: Path) -> None:
    """Remove what workers of an earlier attempt left unfinished."""
    for left in folder.iterdir():
        if left.name.count(".") > 1 and left.name != "run.json":
            left.unlink(missing_ok=True)


def _finished(folder: Path, number: int, count: int) -> dict[str, Any] | None:
    """What is known of a finished shard; None for one that is not finished."""
    stem = f"{number}-of-{count}"
    try:
        if not (folder / f"{stem}.jsonl").is_file():
            return None
        notes = orjson.loads((folder / f"{stem}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return notes if isinstance(notes, dict) else None


def _lines(folder: Path, number: int, count: int) -> int:
    notes = _finished(folder, number, count)
    return 0 if notes is None else int(notes["lines"])


def _merge(
    texts: Texts,
    folder: Path,
    count: int,
    out: Path,
    encoder: LearnedEncoder,
    on_bad_row: Callable[[BadRow], None] | None,
    before: int,
    tell: _Teller,
) -> EncodingReport:
    """Put the lines of the shards in the order of the corpus, and check that they are of its texts."""
    corpus = open_corpus(**_named(texts))
    digests = [TextDigest() for _ in range(count)]
    seen: set[str] = set()
    rejected = vectors = 0
    merged = folder / "merged.jsonl"
    with ExitStack() as stack:
        files: list[IO[bytes]] = [
            stack.enter_context((folder / f"{number}-of-{count}.jsonl").open("rb")) for number in range(1, count + 1)
        ]
        target = stack.enter_context(merged.open("wb"))
        for row in corpus:
            if not isinstance(row, BadRow) and row.id in seen:
                row = corpus.bad_row(_TWICE, _TWICE_HINT)
            if isinstance(row, BadRow):
                rejected += 1
                if on_bad_row is None:
                    raise row.error()
                on_bad_row(row)
                continue
            seen.add(row.id)
            shard = shard_of(row.id, count) - 1
            digests[shard].add(row)
            target.write(files[shard].readline())
            vectors += 1
            if vectors % 10_000 == 0:
                tell("publishing", corpus.bytes_read, corpus.total_bytes)
        target.flush()
        os.fsync(target.fileno())
    for number, digest in enumerate(digests, 1):
        notes = _finished(folder, number, count)
        if notes is None or notes["digest"] != digest.hexdigest():
            raise VectorFileError(
                "the texts are no longer those of which the shards hold vectors",
                "Restore the texts, or start over with --overwrite",
                where=str(folder),
            )
    tell("publishing")
    publish(merged, out, encoder)
    return EncodingReport(vectors, before, rejected, tell.tokens)


def _named(texts: Texts) -> dict[str, Any]:
    values = asdict(texts)
    return {"source": values.pop("path"), **values}


def _first_line(error: BaseException) -> str:
    lines: Iterator[str] = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
