"""Recipes read from TOML files: overrides, names that older recipes use, and what is wrong, in words.

Paths are relative to the recipe's own folder. Unknown keys are refused, with the nearest that there is.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from lexhound.encoders.errors import SettingsError

from .latents.recipe import LatentRecipe
from .recipe import DataRecipe, Recipe

_FILES = ("corpora", "pairs", "triples", "ids", "queries")
# Keys that recipes had, with the values that changed nothing: what older versions stored of a run names them.
_GONE = {
    ("loss", "terms_above"): 3.0, ("loss", "terms_strength"): 0.3, ("sparsity", "free_terms"): 0,
    ("optimiser", "kind"): "adamw",
}  # fmt: skip
_TYPES = {
    "int_type": "a whole number", "float_type": "a number", "finite_number": "a finite number", "string_type": "text",
    "bool_type": "true or false", "tuple_type": "a list", "dataclass_type": "a table",
}  # fmt: skip

_RANGES = {
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "above {gt:g}",
    "less_than_equal": "from 0 to {le:g}",
}


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe | LatentRecipe:
    """Read a recipe, with `table.key=value` overrides applied; one that has a table [latents] is a `LatentRecipe`.

    Raises:
        SettingsError: it cannot be read, has an unknown key or a value out of its range, or lacks something.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"there is no recipe {path}", "Give the path of a TOML file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "It must be a TOML file (docs/training.md)") from error
    form = LatentRecipe if "latents" in values else Recipe
    for each in overrides:
        _override(values, each, form)
    values["folder"] = str(path.parent)
    try:
        recipe: Recipe | LatentRecipe = _adapter(form).validate_python(_renamed(values, str(path)))
    except ValidationError as error:
        raise _refused(error, str(path), form) from error
    _check_data(recipe.data, str(path))
    if isinstance(recipe, Recipe):
        _check(recipe, str(path))
    elif recipe.latents.words and recipe.latents.of != "tokens":
        raise SettingsError(f"{path}: latents.words is of latents of tokens", 'Say of = "tokens", or leave words out')
    return recipe


def same_run(recipe: Recipe | LatentRecipe, stored: Mapping[str, Any]) -> bool:
    """Return whether what a run stored (`Recipe.as_dict`) is of this recipe; keys that came later count as unset."""
    values: dict[str, Any] = {**stored, "folder": ""}
    for (table, key), unchanged in _GONE.items():
        if isinstance(values.get(table), Mapping) and values[table].get(key) == unchanged:
            values[table] = {name: value for name, value in values[table].items() if name != key}
    try:
        form: type[Any] = type(recipe)
        return bool(_adapter(form).validate_python(_renamed(values, "")).as_dict() == recipe.as_dict())
    except (ValidationError, SettingsError):
        return False


def _adapter(form: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def _renamed(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the values of a recipe with the names of today."""
    renamed = dict(values)
    if isinstance(renamed.get("query"), Mapping):
        renamed["query"] = _with_name(renamed["query"], "shares", "surface_match", where)
    return _with_name(renamed, "written", "exact_terms", where)


def _with_name(table: Mapping[str, Any], former: str, name: str, where: str) -> dict[str, Any]:
    if former in table and name in table:
        raise SettingsError(f"{where}: {former} and {name} are two names of one key", f"Keep {name}")
    return {name if key == former else key: value for key, value in table.items()}


def _override(values: dict[str, Any], text: str, form: type[Any]) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"--set {text} has no value", "Write it as table.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string: quotes are a nuisance in a shell
    position: Any = values
    *tables, key = name.strip().split(".")
    if not tables:
        tables = _table_of(key, text, form)
    elif tables == ["data"] and key in _FILES and isinstance(parsed, str):
        parsed = [{"path": parsed}]  # one file, all of it
    for table in tables:
        if isinstance(position, list):
            if not table.isdigit() or int(table) >= len(position):
                raise SettingsError(f"--set {text}: there is no entry {table}", f"It has {len(position)}, from 0")
            position = position[int(table)]
        else:
            position = position.setdefault(table, {})
        if not isinstance(position, dict | list):
            raise SettingsError(f"--set {text}: {table} is a value, not a table", "See docs/training.md for the keys")
    if isinstance(position, list):
        raise SettingsError(f"--set {text}: {name} is a list", "Number its entries: data.corpora.0.limit=1000")
    position[key] = parsed


def _table_of(key: str, text: str, form: type[Any]) -> list[str]:
    """Return the table of a key that came without one; none where the recipe itself has it, or nothing has."""
    hints = get_type_hints(form)
    if key in hints:
        return []
    tables = [
        table for table, hint in hints.items() if is_dataclass(hint) and key in {each.name for each in fields(hint)}
    ]
    if len(tables) > 1:
        raise SettingsError(
            f"--set {text}: {key!r} is a key of several tables",
            f"Write {' or '.join(f'{table}.{key}' for table in tables)}",
        )
    return tables


def _refused(error: ValidationError, where: str, form: type[Any]) -> SettingsError:
    """Return the message of the first thing that is wrong: a key that is not known before all others."""
    details = error.errors(include_url=False)
    first = next((each for each in details if each["type"] == "unexpected_keyword_argument"), details[0])
    *tables, key = (str(part) for part in first["loc"])
    name = ".".join((*tables, key))
    table = f"[{'.'.join(tables)}]" if tables else "the recipe"
    if first["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(key, _keys(first["loc"][:-1], form), 1, 0.0)
        return SettingsError(f"{where}: {table} has the unknown key {key!r}", f"Did you mean {near[0]!r}?")
    if first["type"] == "missing":
        return SettingsError(f"{where}: {table} lacks {key!r}", "docs/training.md shows a whole recipe")
    return SettingsError(f"{where}: {name} is {first['input']!r}", _rule(first))


def _rule(detail: ErrorDetails) -> str:
    """Return what a value must be."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        allowed = re.findall("'([^']*)'", context["expected"])
        near = difflib.get_close_matches(str(detail["input"]), allowed, 1, 0.0)[0]
        return f"It must be one of {', '.join(allowed)}; did you mean {near!r}?"
    rule = _RANGES[kind].format(**context) if kind in _RANGES else _TYPES.get(kind, detail["msg"])
    return f"It must be {rule}"


def _keys(location: Sequence[int | str], form: type[Any]) -> list[str]:
    """Return the keys of the table at a location in a recipe."""
    hint: Any = form
    for part in location:
        hint = get_args(hint)[0] if get_origin(hint) is tuple else get_type_hints(hint)[str(part)]
    return [each.name for each in fields(hint)]


def _check_data(data: DataRecipe, where: str) -> None:
    if not (data.corpora or data.pairs or data.triples):
        raise SettingsError(f"{where}: [data] has no documents", "Give corpora, pairs or triples")


def _check(recipe: Recipe, where: str) -> None:
    for number, teacher in enumerate(recipe.teachers):
        needed = {"bm25": None, "scores": "path"}.get(teacher.kind, "model")
        for key, hint in (("model", "Name its folder or hub name"), ("path", "Name its file of scores")):
            if needed == key and not getattr(teacher, key):
                raise SettingsError(f"{where}: teachers.{number} has no {key}", hint)
            if needed != key and getattr(teacher, key):
                raise SettingsError(
                    f"{where}: teachers.{number}.{key} is not for a teacher of the kind {teacher.kind}", "Leave it out"
                )
    data = recipe.data
    scored = any(teacher.kind == "scores" for teacher in recipe.teachers)
    if (data.ids or scored) and not (data.corpora and data.queries):
        who = "[[data.ids]]" if data.ids else 'a teacher of the kind "scores"'
        raise SettingsError(
            f"{where}: {who} needs documents and queries to name",
            "Give the files that the ids belong to as [[data.corpora]] and [[data.queries]]",
        )
    loss = recipe.loss
    if not (loss.kl or loss.margin_mse or loss.info_nce or loss.hybrid):
        raise SettingsError(f"{where}: every loss has the weight 0", "Give kl, margin_mse, info_nce or hybrid a weight")
    for name, weight in (("loss.terms", loss.terms), ("model.dense", recipe.model.dense)):
        if weight and all(teacher.kind != "dense" for teacher in recipe.teachers):
            raise SettingsError(f"{where}: {name} needs a dense teacher", 'Add [[teachers]] with kind = "dense"')
    query = recipe.query
    if query.kind == "model" and (query.counted or query.prior or query.common or query.surface_match):
        raise SettingsError(
            f"{where}: query.counted, prior, common and surface_match are for a table, and query.kind is 'model'",
            'Leave them out, or take the kind "idf" or "learned"',
        )
    if query.kind == "model" and recipe.exact_terms.weight:
        raise SettingsError(
            f"{where}: exact terms are boosted in documents alone, and query.kind is 'model'",
            'Leave [exact_terms] out, or take the kind "idf" or "learned"',
        )
    if query.surface_match and not query.prior:
        raise SettingsError(f"{where}: query.surface_match is for idf of a live collection", "Give query.prior too")
    if (loss.kl or loss.margin_mse or loss.hybrid) and not recipe.teachers:
        raise SettingsError(f"{where}: there is no teacher to distil from", "Add [[teachers]], or train by info_nce")
