"""Whose documents a request is about: the tenant that its key is bound to, or that it names in a header.

A key that is bound to a tenant opens nothing but that tenant's part of collections with tenants, and only by the
operations that are listed here: what is added to the service later is closed to it until it is listed, too.
"""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request

from lexhound.retrieval.engines.protocol import Backend
from lexhound.retrieval.errors import TenantError, UnknownTenantError

from .exceptions import AccessError, RequestError
from .security import Caller

HEADER = "x-tenant"
_SHOWN = "X-Tenant"

CONFINED = frozenset(
    {
        "search",
        "search_by_address",
        "search_many",
        "count",
        "facets",
        "put_documents",
        "get_document",
        "delete_document",
        "delete_documents",
        "list_documents",
        "suggest",
        "list_collections",
        "describe_collection",
    }
)
"""Operations for keys that are bound to a tenant: each of them confines what it does (`confined`)."""


def check_operation(caller: Caller, operation: str | None) -> None:
    """Refuse an operation that is not for keys that are bound to a tenant.

    Raises:
        AccessError: the key is bound to one.
    """
    if caller.tenant is not None and operation not in CONFINED:
        raise AccessError(
            "the key is bound to a tenant, and this concerns all of a collection",
            hint="ask whoever runs the service for a key that is bound to none",
        )


def tenant_of(request: Request) -> str | None:
    """Return the tenant that a request is about: that of its key, or of its header; None where it names none.

    Raises:
        AccessError: the header names another tenant than the key is bound to.
    """
    named = request.headers.get(HEADER)
    tenant = None if named is None else unquote(named)
    caller = getattr(request.state, "caller", None)
    bound = caller.tenant if isinstance(caller, Caller) else None
    if bound is None:
        return tenant
    if tenant not in (None, bound):
        raise AccessError(
            "the key is bound to another tenant than the request names",
            where=f"header {_SHOWN}",
            hint="leave the header out, or name the tenant of the key",
        )
    return bound


def is_bound(request: Request) -> bool:
    """Return whether the request's key is bound to a tenant."""
    caller = getattr(request.state, "caller", None)
    return isinstance(caller, Caller) and caller.tenant is not None


def opens(request: Request, collection: Backend) -> bool:
    """Return whether the request's key may know of a collection: one that is bound to a tenant, of those with
    tenants alone.
    """
    return not is_bound(request) or collection.manifest.tenant_field is not None


def confined(request: Request, collection: Backend) -> Backend:
    """Return a collection as the request may use it: of its tenant alone where the collection has tenants.

    Raises:
        RequestError: the collection has tenants and the request names none, or the other way about, or what it names
            is no name of a tenant.
        AccessError: the key is bound to a tenant, and the collection has none.
        UnknownTenantError: no document is of the tenant that is named.
    """
    tenant, field = tenant_of(request), collection.manifest.tenant_field
    if field is None and is_bound(request):
        raise AccessError(
            "the key is bound to a tenant, and the collection has none",
            hint="ask whoever runs the service for a key that is bound to none",
        )
    if tenant is None:
        if field is not None:
            raise RequestError(
                "the collection has tenants, and the request names none",
                where=f"header {_SHOWN}",
                hint=f"send the header {_SHOWN}: NAME, or a key that is bound to a tenant",
                code="tenant_required",
            )
        return collection
    if field is None:
        raise RequestError(
            "the collection has no tenants, and the request names one",
            where=f"header {_SHOWN}",
            hint="leave the header out",
            code="tenant",
        )
    try:
        return collection.for_tenant(tenant, must_exist=not is_bound(request))
    except UnknownTenantError:
        raise
    except TenantError as error:
        raise RequestError(error.message, where=f"header {_SHOWN}", hint=error.hint, code="tenant") from error
