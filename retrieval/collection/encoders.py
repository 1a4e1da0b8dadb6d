"""The encoders of a collection: of its sparse field, of its dense field, and what makes dense queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lexhound.encoders.base import EncoderIdentity
from lexhound.encoders.bm25.vocabulary import Vocabulary
from lexhound.retrieval.collection.fields.dense_field import DenseField, DenseQueries
from lexhound.retrieval.collection.fields.opening import load_field, open_named
from lexhound.retrieval.collection.fields.sparse_field import LearnedField, SparseField
from lexhound.retrieval.collection.fields.static_queries import TableQueries, has_table
from lexhound.retrieval.collection.query.encoding import QueryEncoders
from lexhound.retrieval.collection.request import RankingOptions
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.errors import QueryError

from .reranking.options import no_token_vectors
from .settings import CollectionSettings

if TYPE_CHECKING:
    from lexhound.retrieval.collection.fields.late_field import LateField


class LoadedEncoders(NamedTuple):
    """Encoders that are loaded already, for a collection of the same identities to share."""

    sparse: SparseField | None = None
    dense: DenseField | None = None


def open_chosen(
    settings: CollectionSettings, *, load_model: bool = True, keeps_dense: bool = True
) -> tuple[EncoderIdentity, LearnedField | None, DenseField | None]:
    """Return the sparse encoder's identity, its field (None for `bm25`) and the dense field, defaults filled in.

    Args:
        load_model: load a model of the document side alone too; keeps_dense: see `choose_encoders`.

    Raises:
        EncoderError: an encoder cannot be loaded.
    """
    chosen = settings.choose(keeps_dense=keeps_dense)
    identity, sparse = open_named(chosen.encoder, settings.lexical, settings.learned, load_model=load_model)
    dense = None if chosen.dense is None else DenseField.named(chosen.dense, settings.dense_field_settings())
    return identity, sparse, dense


class CollectionEncoders:
    """The encoders of an open collection.

    Attributes:
        sparse: makes the vectors of the inverted index.
        dense: makes dense vectors; None where the collection has none.
        static_queries: the table that makes dense vectors of queries in the model's place; None without.
    """

    def __init__(self, directory: Path, manifest: Manifest, vocabulary: Vocabulary, loaded: LoadedEncoders) -> None:
        self._directory = directory
        self._manifest = manifest
        self.sparse: SparseField = load_field(manifest.encoder, vocabulary, like=loaded.sparse)
        self.dense = loaded.dense
        if manifest.dense is not None and loaded.dense is None:
            self.dense = DenseField(manifest.dense.encoder, manifest.dense.width)
        self.static_queries: TableQueries | None = None
        self.reopen_static_queries()

    @property
    def width(self) -> int | None:
        """The length of dense vectors."""
        return None if self.dense is None else self.dense.width

    @property
    def dense_queries(self) -> DenseQueries | None:
        """What makes the dense vectors of queries."""
        return self.static_queries or self.dense

    def of_queries(self, request: RankingOptions) -> QueryEncoders:
        """Return those that a request needs.

        Raises:
            QueryError: the collection does not have the mode, or query or fusion do not go with it.
        """
        return QueryEncoders.of(request, self.sparse, self.dense_queries)

    def shared_with(self, manifest: Manifest) -> LoadedEncoders:
        """Return those that a collection of this manifest may share."""
        return LoadedEncoders(
            self.sparse if self._manifest.encoder == manifest.encoder else None,
            self.dense if self._manifest.dense == manifest.dense else None,
        )

    def adopt(self, loaded: LoadedEncoders) -> None:
        """Go on with encoders of the same vectors that are loaded already."""
        self.sparse = loaded.sparse or self.sparse
        self.dense = loaded.dense or self.dense

    def require_dense(self, purpose: str) -> DenseField:
        """Return the dense field.

        Raises:
            QueryError: there is none, so there is nothing to `purpose`.
        """
        if self.dense is None:
            raise QueryError(
                f"the collection has no dense vectors, so there is nothing to {purpose}",
                hint="make the collection again with a model for `dense`",
                cli_hint="index the corpus again with --dense MODEL",
            )
        return self.dense

    def require_late(self) -> LateField:
        """Return what makes vectors of tokens.

        Raises:
            QueryError: the collection keeps none.
        """
        if not self._manifest.late:
            raise no_token_vectors()
        from lexhound.retrieval.collection.fields.late_field import LateField  # few searches need it

        return LateField(self.sparse)

    def reopen_static_queries(self) -> None:
        """Take the table that the collection keeps, if it keeps one."""
        dense = self._manifest.dense
        self.static_queries = None
        if dense is not None and has_table(self._directory):
            self.static_queries = TableQueries(self._directory, dense.encoder.fingerprint)

    def choose_dense_queries(self, which: str) -> None:
        """Let the "table" or the "model" make the dense vectors of queries.

        Raises:
            QueryError: the collection keeps no table, or `which` is something else.
        """
        if which not in ("table", "model"):
            raise QueryError(f"dense queries by {which!r}", hint="it must be table or model")
        if which == "model":
            self.static_queries = None
            return
        self.reopen_static_queries()
        if self.static_queries is None:
            raise QueryError(
                "the collection keeps no table of dense queries",
                where=str(self._directory),
                hint="make one with `fit_static_queries`",
                cli_hint="make one with: lexhound fit-static-queries DIRECTORY",
            )
