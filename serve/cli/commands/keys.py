"""`lexhound keys`: the API keys that open the REST service."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lexhound.serve.cli.options import Json, as_text
from lexhound.serve.cli.output import Output

KEYS_FILE = Annotated[Path, typer.Option("--file", metavar="FILE", help="The file that keeps the keys' digests.")]
_DEFAULT_KEYS = Path("lexhound-keys.json")


class KeyScope(StrEnum):
    """What a key allows."""

    READ = "read"
    WRITE = "write"


keys = typer.Typer(
    name="keys",
    help="Make, list and revoke the API keys of `lexhound serve --keys-file`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, for the list.", show_default=False)],
    scope: Annotated[
        list[KeyScope] | None,
        typer.Option(help="What it allows; may be given twice. Both unless given.", show_default=False),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The only collections it opens; may be repeated.", show_default=False),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The only tenant whose documents it opens, of collections with tenants.",
            show_default=False,
        ),
    ] = None,
    file: KEYS_FILE = _DEFAULT_KEYS,
    json: Json = False,
) -> None:
    """Make a key and print it once; the file keeps only its digest.

    Example:
        lexhound keys create indexer --scope write --collection my
        lexhound keys create acme --scope read --collection shared --tenant acme
    """
    from lexhound.serve.keys import SCOPES, create_key

    scopes = SCOPES if not scope else tuple(each for each in SCOPES if each in {one.value for one in scope})
    text, key = create_key(file, name, scopes, collection, None if tenant is None else as_text(tenant))
    output = Output(json=json)
    if json:
        bound = {} if key.tenant is None else {"tenant": key.tenant}
        output.document({"key": text, "id": key.id, "name": name, "file": str(file)} | bound)
        return
    output.line((text, "bold"))


@keys.command("list")
def show(file: KEYS_FILE = _DEFAULT_KEYS, json: Json = False) -> None:
    """List keys: id, name, rights, collections, creation time, the tenant of those that are bound to one.

    Example:
        lexhound keys list
    """
    from lexhound.serve.keys import read_keys

    listed = read_keys(file)
    output = Output(json=json)
    if json:
        output.document([{name: value for name, value in key.as_dict().items() if name != "sha256"} for key in listed])
        return
    for key in listed:
        opened = "all collections" if key.collections is None else ", ".join(sorted(key.collections))
        bound = [] if key.tenant is None else [f"tenant {key.tenant}"]
        output.row(key.id, key.name, "+".join(sorted(key.scopes)), opened, key.created, *bound)


@keys.command("revoke")
def revoke(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id, as `lexhound keys list` shows it.", show_default=False)
    ],
    file: KEYS_FILE = _DEFAULT_KEYS,
    json: Json = False,
) -> None:
    """Remove a key from the file; a running service refuses it within two seconds.

    Example:
        lexhound keys revoke 0123456789ab
    """
    from lexhound.serve.keys import revoke_key

    key = revoke_key(file, identifier)
    output = Output(json=json)
    if json:
        output.document({"revoked": key.id, "name": key.name})
        return
    output.line(f"revoked {key.id} ({key.name})")
