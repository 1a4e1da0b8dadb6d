"""Making the directory of an empty collection, which is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from pathlib import Path

from lexhound.core.atomic_files import make_directories, neighbour, publish_directory
from lexhound.core.disk_errors import storage_errors
from lexhound.core.lock import Claim
from lexhound.core.version import made_by
from lexhound.retrieval.aliases import check_is_no_alias
from lexhound.retrieval.collection.fields.splitter import Splitter
from lexhound.retrieval.collection.store.dense_index import check_policy
from lexhound.retrieval.collection.store.manifest import MANIFEST, DenseManifest, Manifest, write_manifest
from lexhound.retrieval.collection.store.passage_table import CREATE
from lexhound.retrieval.collection.store.schema import create_database
from lexhound.retrieval.collection.store.token_table import CREATE as CREATE_TOKEN_VECTORS
from lexhound.retrieval.errors import CollectionExistsError
from lexhound.retrieval.tenants.keys import check_field

from .encoders import LoadedEncoders, open_chosen
from .recovery import recover
from .settings import CollectionSettings


def create_directory(
    directory: Path, settings: CollectionSettings, *, load_model: bool, claimed: bool
) -> LoadedEncoders:
    """Make the directory of an empty collection; returns the encoders that were loaded for it.

    The arguments, and what it raises, are those of `Collection.create`.
    """
    check_policy(settings.dense_index)
    tenant_field = None if settings.tenant_field is None else check_field(settings.tenant_field)
    recover(directory)
    if os.path.lexists(directory):
        raise _exists(directory)
    check_is_no_alias(directory)
    identity, sparse, dense = open_chosen(settings, load_model=load_model)
    if settings.late:
        from lexhound.retrieval.collection.fields.late_field import LateField  # few collections need it

        LateField(sparse)
    passages = settings.passage_settings(lexical=sparse is None)
    if load_model and passages is not None and settings.passages is not None:
        Splitter(passages, sparse, dense).check()
    vectors = None if dense is None else DenseManifest(dense.identity, dense.width, settings.dense_index)
    with nullcontext() if claimed else Claim(directory), storage_errors(directory):
        # Made aside and renamed, so that a crash leaves a whole collection or none.
        make_directories(directory.resolve().parent)
        aside = neighbour(directory, "creating")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            manifest = Manifest.new(made_by(), identity, vectors, passages, tenant_field, late=settings.late)
            tables = (CREATE if manifest.tells_passages else "") + (CREATE_TOKEN_VECTORS if settings.late else "")
            create_database(aside, dense=dense is not None, more=tables)
            write_manifest(aside, manifest)
            publish_directory(aside, directory)
        except FileExistsError as error:
            raise _exists(directory) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return LoadedEncoders(sparse, dense)


def _exists(directory: Path) -> CollectionExistsError:
    return CollectionExistsError(
        "a collection is here already" if (directory / MANIFEST).exists() else "something is here already",
        where=str(directory),
        hint="give another path, or open what is there with `open(path, writable=True)`",
        cli_hint="give another path, add to a collection with `lexhound add`, or replace it with --overwrite",
    )
