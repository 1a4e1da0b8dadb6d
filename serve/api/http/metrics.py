"""Figures of the running service in Prometheus's text format.

Where several processes answer, each writes its figures into files of a shared folder, and any of them can tell the sum
(`prometheus_client`'s multi-process mode, which reads PROMETHEUS_MULTIPROC_DIR).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16)

Reading = Iterable[tuple[str, int, int, int | None]]
"""Collection, documents, segments, bytes of SQLite's log (None in another engine)."""
Shown = Callable[[str], bool]
"""Whether the figures of the collection of this name may be told."""


class Metrics:
    """Every figure of one process; `expose` writes them all down."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.request_seconds = Histogram(
            "lexhound_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route", "method", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.encode_seconds = Histogram(
            "lexhound_encode_seconds", "Time to make a query's vector.", buckets=_SECONDS, registry=self.registry
        )
        self.search_seconds = Histogram(
            "lexhound_search_seconds",
            "Time from a query's vector to its hits.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.write_seconds = Histogram(
            "lexhound_write_seconds", "Time of one durable write.", buckets=_SECONDS, registry=self.registry
        )
        self.refresh_seconds = Histogram(
            "lexhound_refresh_seconds",
            "Time to make new documents searchable.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.documents_written = Counter(
            "lexhound_documents_written", "Documents of bulk loads.", ("status",), registry=self.registry
        )
        self._gauges: _Gauges | None = None
        # The histograms' children by label: looking one up takes longer than observing.
        self._requests: dict[tuple[str, str, int], Histogram] = {}

    def observe_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        key = route, method, status
        child = self._requests.get(key)
        if child is None:
            child = self._requests[key] = self.request_seconds.labels(route, method, str(status))
        child.observe(seconds)

    def watch(self, waiting: Callable[[], int], ready: Callable[[], bool], collections: Callable[[], Reading]) -> None:
        """Say where the figures come from that are read when they are asked for."""
        self._gauges = _Gauges(waiting, ready, collections)

    def expose(self, shown: Shown) -> bytes:
        """Return the figures of all processes; those of single collections as far as they may be told."""
        registry = self.registry
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        gauges = CollectorRegistry()
        if self._gauges is not None:
            gauges.register(_Told(self._gauges, shown))
        return generate_latest(registry) + generate_latest(gauges)


class _Told(Collector):
    """The gauges, of some collections."""

    def __init__(self, gauges: _Gauges, shown: Shown) -> None:
        self._gauges = gauges
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        return self._gauges.collect(self._shown)


class _Gauges:
    def __init__(
        self, waiting: Callable[[], int], ready: Callable[[], bool], collections: Callable[[], Reading]
    ) -> None:
        self._waiting = waiting
        self._ready = ready
        self._collections = collections

    def collect(self, shown: Shown) -> Iterable[Metric]:
        """Yield the figures now."""
        documents = GaugeMetricFamily("lexhound_documents", "Searchable documents.", labels=["collection"])
        segments = GaugeMetricFamily("lexhound_segments", "Segments that a search visits.", labels=["collection"])
        logs = GaugeMetricFamily("lexhound_wal_bytes", "Bytes of SQLite's write-ahead log.", labels=["collection"])
        for name, n_documents, n_segments, n_log_bytes in self._collections():
            if not shown(name):
                continue
            documents.add_metric([name], n_documents)
            segments.add_metric([name], n_segments)
            if n_log_bytes is not None:
                logs.add_metric([name], n_log_bytes)
        yield GaugeMetricFamily("lexhound_queue_depth", "Requests that wait for a thread.", value=self._waiting())
        yield GaugeMetricFamily("lexhound_ready", "1 when the service answers searches.", value=int(self._ready()))
        yield documents
        yield segments
        yield logs
