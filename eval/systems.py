"""Lexhound itself as a system under evaluation: an encoder that builds its index, or an existing collection."""

from __future__ import annotations

import shutil
from collections.abc import Collection as Ids
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

import orjson

from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.eval.datasets.dataset import Dataset, DocumentText
from lexhound.retrieval.collection.capability import Capability
from lexhound.retrieval.collection.collection import Collection
from lexhound.retrieval.collection.default_encoders import NO_DENSE
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.fields.opening import identify
from lexhound.retrieval.collection.request import INDEX_MODES, Fusion
from lexhound.retrieval.corpus import BadRow, open_corpus
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.opening import open_collection
from lexhound.retrieval.engines.protocol import Backend, EngineInfo, capable
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import CorruptCollectionError, NotACollectionError
from lexhound.retrieval.tenants.info import TenantInfo

from .cost import Preparation, QuerySparsity, available_cores, flops
from .runs import Ranking
from .system import PrepareProgress
from .workspace import Workspace, code_digest, fingerprint, our_version

PREPARED = "evaluation.json"


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How a system is searched.

    Attributes:
        mode, fusion, recall: as `Collection.search` takes them; `recall` is the share of the exact hits that is enough.
        threads: for batches of queries; all cores unless given.
    """

    mode: str
    fusion: Fusion | None = None
    recall: float | None = None
    threads: int | None = None


class OpenCollection:
    """What both kinds of system do with the collection that they have opened."""

    def __init__(self, options: SearchOptions) -> None:
        self.threads = options.threads or available_cores()
        self.mode = options.mode
        self.fusion = options.fusion
        self.recall = options.recall
        self._collection: Backend | None = None

    def rank(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return the best `k` documents of each query. Raises QueryError for a query that cannot be searched."""
        answers: list[Ranking] = list(
            self.collection.search_many(
                queries,
                k,
                recall=self.recall,
                threads=self.threads,
                mode=self.mode,
                fusion=self.fusion,
                rerank="none",  # retrieval is measured, to depths that no reranker reads
            )
        )
        return answers

    def sparsity(self, queries: Sequence[str]) -> QuerySparsity | None:
        """Return active dimensions of the queries and the expected overlap with a document; None in mode dense."""
        if self.mode == "dense":
            return None
        encoded = [query.terms for query in self.collection.encode_queries(queries)]
        statistics = self.collection.statistics()
        return QuerySparsity(
            dimensions=sum(map(len, encoded)) / max(1, len(encoded)),
            flops=flops(encoded, statistics.document_frequencies, statistics.n_documents),
        )

    def texts(self, document_ids: Ids[str]) -> Mapping[str, DocumentText]:
        """Return the stored words of documents."""
        documents = ((identifier, self.collection.get(identifier)) for identifier in document_ids)
        return {
            identifier: DocumentText(document.title, document.text)
            for identifier, document in documents
            if document is not None
        }

    @property
    def collection(self) -> Backend:
        """The open collection; LookupError before `prepare`."""
        if self._collection is None:
            raise LookupError("the system is not prepared for a data set yet")
        return self._collection

    def close(self) -> None:
        """Close the collection. Preparing for the next data set does this too."""
        if self._collection is not None:
            self._collection.close()
            self._collection = None

    @property
    def _way(self) -> dict[str, Any]:
        """How it is searched, as a part of its settings; nothing for the inverted index, as ever."""
        way: dict[str, Any] = {} if self.recall is None else {"recall": self.recall}
        if self.mode not in INDEX_MODES:
            way |= {"mode": self.mode, "fusion": None if self.mode == "dense" else asdict(self.fusion or Fusion())}
        return way

    def _describe(self, encoding_seconds: float | None) -> Preparation:
        info = self.collection.info()
        if isinstance(info, EngineInfo):
            return Preparation(info.documents, index_bytes=info.index_bytes, encoding_seconds=encoding_seconds)
        if isinstance(info, TenantInfo):  # whose share of the index is not told
            return Preparation(info.documents, encoding_seconds=encoding_seconds)
        # Rows of deleted documents still have postings: the mean is over all rows that have some.
        dimensions = info.postings / max(1, info.documents + info.deleted)
        size = info.index_bytes
        if info.dense is not None and self.mode in INDEX_MODES:
            size -= info.dense.bytes
        elif info.dense is not None and self.mode == "dense":
            dimensions, size = float(info.dense.width), info.dense.bytes
        return Preparation(
            documents=info.documents,
            document_dimensions=dimensions,
            index_bytes=size,
            encoding_seconds=encoding_seconds,
            split=info.split,
            cut=info.cut,
        )


class EncoderSystem(OpenCollection):
    """An encoder: every data set's corpus is indexed with it, in the workspace, once.

    Args:
        encoder: `bm25`, or the path or hub name of a model, as `Collection.create` takes it.
        workspace: where the indexes go. One that was interrupted is finished, one that is there is used.
        name: for tables; the last part of the encoder's name unless given.
        lexical: settings of `bm25`.
        learned: how a model runs: settings that change no vectors.
        dense: the path or hub name of a dense model, whose vectors are kept beside the index; systems that differ in
            nothing but their options share one index.
        options: how it is searched.
    """

    def __init__(
        self,
        encoder: str,
        workspace: Workspace,
        *,
        name: str | None = None,
        lexical: LexicalSettings | None = None,
        learned: LearnedSettings | None = None,
        dense: str | None = None,
        options: SearchOptions = SearchOptions("sparse"),
    ) -> None:
        super().__init__(options)
        self.encoder = encoder
        self.lexical = lexical
        self.learned = learned
        self.dense = dense
        self.name = name or _name_of(encoder, dense, options.mode)
        self._workspace = workspace
        self._settings: dict[str, Any] | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The encoders' identities and the mode. Raises EncoderError when one cannot be loaded."""
        return {**self._indexed, **self._way}

    @property
    def _indexed(self) -> Mapping[str, Any]:
        """What the index depends on."""
        if self._settings is None:
            self._settings = {"encoder": identify(self.encoder, self.lexical, self.learned).as_dict()}
            if self.dense is not None:
                self._settings["dense"] = DenseField.named(self.dense).identity.as_dict()
        return self._settings

    def prepare(self, dataset: Dataset, progress: PrepareProgress | None = None) -> Preparation:
        """Index the data set's corpus, or open the index that is there.

        Raises:
            DatasetError: the data set has no corpus.
            CorpusError, StorageFullError, EncoderError: see `Collection.ingest`.
        """
        self.close()
        corpus = dataset.require_corpus()
        key = {
            "corpus": self._workspace.digest(corpus),
            "settings": self._indexed,
            "version": our_version(),
            "code": code_digest(),
        }
        folder = self._workspace.path(f"indexes/{fingerprint(key)}")
        record = f"indexes/{folder.name}/{PREPARED}"
        known = self._workspace.read(record)
        if isinstance(known, dict):
            self._collection = Collection.open(folder, learned=self.learned)
            return self._describe(known["encoding_seconds"])
        seconds = self._index(corpus, folder, progress)
        self._workspace.write(record, {"encoding_seconds": seconds})
        self._collection = Collection.open(folder, learned=self.learned)
        return self._describe(seconds)

    def _create(self, folder: Path) -> Collection:
        return Collection.create(
            folder, encoder=self.encoder, lexical=self.lexical, learned=self.learned, dense=self.dense or NO_DENSE
        )

    def _index(self, corpus: Path, folder: Path, progress: PrepareProgress | None) -> float | None:
        """Build the index; the seconds it took, or None when an earlier attempt did a part of it."""
        started = perf_counter()
        try:
            exists = folder.exists()
            collection = (
                Collection.open(folder, writable=True, learned=self.learned) if exists else self._create(folder)
            )
        except (NotACollectionError, CorruptCollectionError):
            # Nothing that could be finished. The folder is ours, so it is made anew.
            shutil.rmtree(folder)
            collection = self._create(folder)

        def skip(row: BadRow) -> None:
            """Pass over a broken row; the data set's report counts it."""

        with collection:
            report = collection.ingest(
                open_corpus(corpus),
                source=orjson.dumps({"corpus": corpus.name}).decode(),
                on_bad_row=skip,
                progress=progress,
            )
        return None if report.resumed else perf_counter() - started


class CollectionSystem(OpenCollection):
    """An existing collection, searched as it is.

    Args:
        address: its directory, or its address in another engine; `milvus` says how Milvus is reached.
        tenant: whose documents are searched, of a collection with tenants.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        tenant: str | None = None,
        name: str | None = None,
        learned: LearnedSettings | None = None,
        options: SearchOptions = SearchOptions("auto"),
        milvus: MilvusSettings | None = None,
    ) -> None:
        super().__init__(options)
        self.address = read_address(address)
        path = self.address.path
        short = path.resolve().name if path is not None and self.address.is_native else str(self.address)
        self.name = name or short + ("" if options.mode == "auto" else f" {options.mode}")
        self.learned = learned
        self._milvus = milvus
        self._tenant = tenant
        self._whole: Backend | None = None
        self._made = time_ns()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The collection's encoder and state: any write to it makes other settings."""
        opened = self._open_whole()
        known: dict[str, Any] = {
            "encoder": opened.manifest.encoder.as_dict(),
            "dense": None if opened.manifest.dense is None else opened.manifest.dense.encoder.as_dict(),
            **self._way,
        }
        able = capable(opened, Capability.STORED_STATE)
        if able is None:
            # Nothing tells whether anything was written, so finished parts are not used again.
            whose = {} if self._tenant is None else {"tenant": self._tenant}
            return {"collection": opened.address, **known, **whose, "opened": self._made}
        state = able.stored_state()
        if self._tenant is not None:  # to whom the state itself would tell of others' documents
            state = {"tenant": self._tenant, "state": fingerprint(state)}
        return {"collection": str(Path(opened.address).resolve()), **known, **state}

    def prepare(self, dataset: Dataset, progress: PrepareProgress | None = None) -> Preparation:
        """Open the collection. Raises CollectionError when it cannot be, TenantError for a tenant that is none."""
        self._open()
        return self._describe(None)

    def _open(self) -> Backend:
        if self._collection is None:
            whole = self._open_whole()
            self._collection = whole if self._tenant is None else whole.for_tenant(self._tenant)
        return self._collection

    def _open_whole(self) -> Backend:
        """Open the collection with everybody's documents; all that is asked of it is which state it is in."""
        if self._whole is None:
            self._whole = open_collection(self.address, milvus=self._milvus, learned=self.learned)
        return self._whole

    def close(self) -> None:
        """Close the collection."""
        if self._whole is not None:
            self._whole.close()
        self._whole = self._collection = None


def _name_of(encoder: str, dense: str | None, mode: str) -> str:
    """Return what tables call a system: its encoder, its dense model, or both."""
    names = [each.rstrip("/").rpartition("/")[2] for each in (encoder, dense) if each is not None]
    if mode in ("auto", "hybrid"):
        return " + ".join(names)
    return names[-1] if mode == "dense" else names[0]
