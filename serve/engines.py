"""Other engines as the environment describes them: `LEXHOUND_MILVUS_*`, listed in docs/backends.md.

`serve.settings` does the same for the service; this is apart because commands need it without the extra `serve`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from lexhound.retrieval.engines.settings import MilvusSettings

PREFIX = "LEXHOUND_MILVUS_"
_TEXTS = ("token", "certificate", "database", "consistency", "dense_index", "tenant_field")
_TRUTHS = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


def milvus_settings(environment: Mapping[str, str] | None = None) -> MilvusSettings:
    """Return how Milvus is reached and set up.

    Raises:
        UsageError: a variable's value is not allowed; says which.
    """
    from lexhound.retrieval.engines.settings import MilvusSettings
    from lexhound.retrieval.errors import QueryError

    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in (os.environ if environment is None else environment).items()
        if name.startswith(PREFIX) and value
    }
    settings: dict[str, Any] = {name: values.pop(name) for name in _TEXTS if name in values}
    if "tls" in values:
        text = values.pop("tls")
        if text.lower() not in _TRUTHS:
            raise UsageError(f"{PREFIX}TLS is {text!r}", hint="write on or off")
        settings["tls"] = _TRUTHS[text.lower()]
    for name, kind in (("timeout", float), ("attempts", int), ("shards", int)):
        if name in values:
            text = values.pop(name)
            try:
                settings[name] = kind(text)
            except ValueError:
                raise UsageError(f"{PREFIX}{name.upper()} is {text!r}, which is not a number") from None
    if values:
        raise UsageError(
            f"{PREFIX}{min(values).upper()} is no setting of Milvus", hint="docs/backends.md lists all of them"
        )
    try:
        return MilvusSettings(**settings)
    except QueryError as error:
        raise UsageError(f"{PREFIX}*: {error.message}", hint=error.hint) from error
