"""The key of a document in a collection with tenants: whose it is, and its id.

A document is identified by both, so two tenants may use one id. Stores, segments and other engines hold the key where
they hold an id otherwise, `acme/doc-1`, and the names of metadata fields that filters look at begin in the same way. So
all that belongs to a tenant is one range of every index of the database, and nothing that is looked up for one tenant
passes anything of another.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from lexhound.retrieval.documents.document import JSON, Document, validate_id
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import InvalidDocumentError, TenantError, TenantRequiredError, UnknownTenantError

MAX_TENANT_BYTES = 128
_END = "/"
# What begins with a prefix is what is not less than it and less than that with this in the place of its last character.
_AFTER_END = "0"


def check_tenant(tenant: object) -> str:
    """Return the name of a tenant: a text, or a whole number, which stands for its digits.

    Raises:
        TenantError: it is neither, empty, longer than MAX_TENANT_BYTES as UTF-8, or has control characters.
    """
    if isinstance(tenant, int) and not isinstance(tenant, bool):
        tenant = str(tenant)
    try:
        name = validate_id(tenant)
    except InvalidDocumentError as error:
        raise TenantError(error.message.replace("the id", "the tenant"), hint="a tenant is a short text") from None
    if len(name.encode()) > MAX_TENANT_BYTES:
        raise TenantError(
            f"the tenant has {len(name.encode()):,} bytes; at most {MAX_TENANT_BYTES} are allowed",
            hint="use a shorter name, or a number",
        )
    return name


def check_field(field: object) -> str:
    """Return the name of a tenant field.

    Raises:
        TenantError: it is no name of a metadata field of its own.
    """
    if not isinstance(field, str) or not field.strip():
        raise TenantError("the tenant field has no name", hint="name a metadata field, such as org")
    if field in ("id", "title", "text"):
        raise TenantError(f"the tenant field is {field!r}", hint="it must be a field of the metadata")
    return field


def prefix_of(tenant: str) -> str:
    """Return how the keys of a tenant begin; no tenant's prefix begins another's."""
    return tenant.replace("%", "%25").replace("/", "%2F") + _END


def end_of(prefix: str) -> str:
    """Return the end of the range of what begins with a prefix."""
    return prefix[: -len(_END)] + _AFTER_END


def prefix_of_key(key: str) -> str:
    """Return the prefix of the tenant whose key this is."""
    return key[: key.find(_END) + 1]


def tenant_of_key(key: str) -> str:
    """Return the tenant whose key this is."""
    return prefix_of_key(key)[: -len(_END)].replace("%2F", "/").replace("%25", "%")


def id_of_key(key: str) -> str:
    """Return the id in a key."""
    return key[key.find(_END) + 1 :]


def tenant_of(document: Document, field: str) -> str:
    """Return whose a document is by the field of its metadata.

    Raises:
        InvalidDocumentError: it lacks the field, or what it holds is no tenant.
    """
    value = document.metadata.get(field)
    if value is None:
        raise InvalidDocumentError(
            f"the document {document.id[:40]!r} lacks the tenant field {field!r}",
            hint=f"Give every document its tenant in {field!r}, or add them for one tenant by name"
            " (lexhound add --tenant, X-Tenant, for_tenant).",
        )
    try:
        return check_tenant(value)
    except TenantError as error:
        raise InvalidDocumentError(
            f"the tenant field {field!r} of the document {document.id[:40]!r}: {error.message}",
            hint="A tenant is a short text, or a whole number.",
        ) from None


def claimed(document: Document, field: str, tenant: str) -> Document:
    """Return a document of a tenant: its field says so, or gets to.

    Raises:
        InvalidDocumentError: the field names another tenant, or none.
    """
    if document.metadata.get(field) is None:
        return _renamed(document, document.id, {**document.metadata, field: tenant})
    if tenant_of(document, field) != tenant:
        raise InvalidDocumentError(
            f"the document {document.id[:40]!r} is not of the tenant {tenant!r}: its field {field!r} says otherwise",
            hint="Leave the field out, or write the documents of each tenant by themselves.",
        )
    return document


def keyed(document: Document, field: str, tenant: str | None = None) -> Document:
    """Return a document under its key, of a `tenant` that is given as by `claimed`.

    Raises:
        InvalidDocumentError: its field names no tenant or another one, or the key is longer than an id may be.
    """
    document = document if tenant is None else claimed(document, field, tenant)
    prefix = prefix_of(tenant_of(document, field) if tenant is None else tenant)
    try:
        return _renamed(document, prefix + document.id, document.metadata)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(
            f"{error.message} (the tenant and the id together)", hint="Use a shorter id, or a shorter tenant."
        ) from None


def with_text(document: Document, field: str) -> Document:
    """Return a document whose tenant field holds the tenant as text, as filters of other engines compare it.

    Raises:
        InvalidDocumentError: the field names no tenant.
    """
    tenant = tenant_of(document, field)
    if document.metadata[field] == tenant:
        return document
    return _renamed(document, document.id, {**document.metadata, field: tenant})


def keyed_all(documents: Iterable[Document], field: str, tenant: str | None = None) -> Iterator[Document]:
    """Yield documents under their keys; raises as `keyed` does."""
    return (keyed(document, field, tenant) for document in documents)


def plain(document: Document, prefix: str) -> Document:
    """Return a stored document under its own id; `prefix` is that of its key, empty where it has none."""
    if not prefix:
        return document
    own = object.__new__(Document)  # all of it has been checked under its key
    object.__setattr__(own, "id", document.id.removeprefix(prefix))
    for name in ("text", "title", "metadata"):
        object.__setattr__(own, name, getattr(document, name))
    return own


def _renamed(document: Document, identifier: str, metadata: Mapping[str, JSON]) -> Document:
    if isinstance(document, EncodedDocument):
        bare = Document(identifier, document.text, document.title, metadata)
        return EncodedDocument(bare, (document.terms, document.weights))
    return replace(document, id=identifier, metadata=metadata)


def count_tenants(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return the tenants of the visible documents and how many each has, by prefix; a scan of all keys."""
    rows = connection.execute("SELECT id FROM rows WHERE run NOT IN (SELECT run FROM runs) ORDER BY id")
    counts = Counter(prefix_of_key(key) for (key,) in rows)
    return [(tenant_of_key(prefix), documents) for prefix, documents in counts.items()]


def tenant_required(field: str) -> TenantRequiredError:
    """Return the refusal of a request that names no tenant."""
    return TenantRequiredError(
        f"the collection has tenants (field {field!r}), and the request names none",
        hint="ask `collection.for_tenant(name)`",
        cli_hint="name one: --tenant NAME",
    )


def no_tenants() -> TenantError:
    """Return the refusal of a tenant that is given to a collection without any."""
    return TenantError(
        "the collection has no tenants, and the request names one",
        hint="leave the tenant out, or make the collection again with a tenant field",
        cli_hint="leave --tenant out, or index the corpus again with --tenant-field FIELD",
    )


def unknown_tenant(tenant: str) -> UnknownTenantError:
    """Return the refusal of a tenant of whom there is no document."""
    return UnknownTenantError(
        f"no document of the collection is of the tenant {tenant!r}",
        hint="check the name: tenants are compared character by character",
    )
