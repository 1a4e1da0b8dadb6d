"""The YAML between two `---` lines at the top of a Markdown file, as metadata."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lexhound.retrieval.documents.document import JSON, MAX_METADATA_DEPTH, MAX_METADATA_VALUES

from .markup import FrontMatterError

_FENCE = re.compile(r"---[ \t]*(?:\n|$)")
_END = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
# The core schema of YAML 1.2 (section 10.3): "no" is a word, 007 a code, and a date stays as it is written.
_SCHEMA = (
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("null", re.compile(r"~|null|Null|NULL|"), ("~", "n", "N", "")),
    ("int", re.compile(r"-?(?:0|[1-9][0-9]*)"), "-0123456789"),
    ("float", re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"), "-0123456789"),
)
_PREFIX = "tag:yaml.org,2002:"


def read_front_matter(text: str) -> tuple[dict[str, JSON], int]:
    """Return the metadata at the top of `text` (line breaks are "\\n"), and how many characters it takes up.

    Text without front matter, or whose first `---` lines hold no mapping of names to values, gives ({}, 0).

    Raises:
        FrontMatterError: the YAML is malformed, names a field twice, or has a tag that metadata has no form for.
    """
    opening = _FENCE.match(text)
    closing = _END.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return {}, 0
    source = text[opening.end() : closing.start()]
    end = min(len(text), closing.end() + 1)
    try:
        node = yaml.compose(source, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = source.count("\n", 0, error.position) + 2
        raise FrontMatterError(f"the front matter holds the character {error.character!r}", line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FrontMatterError(
            f"the front matter is not YAML: {error.problem or error.context}", 2 + (mark.line if mark else 0)
        ) from error
    except RecursionError as error:
        raise FrontMatterError("the front matter is nested too deep", 2) from error
    if node is None:
        return {}, end
    if not isinstance(node, yaml.MappingNode):
        return {}, 0
    return _Values().mapping(node, 0), end


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  (PyYAML's name for what a subclass sets)


for _kind, _pattern, _first in _SCHEMA:
    _Loader.add_implicit_resolver(f"{_PREFIX}{_kind}", re.compile(f"(?:{_pattern.pattern})$"), list(_first))


class _Values:
    """A converter of YAML nodes into values of JSON; aliases repeat values, so values are counted."""

    def __init__(self) -> None:
        self._count = 0

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, JSON]:
        values: dict[str, JSON] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _error("a field of the front matter has no plain name", key)
            if key.value in values:
                raise _error(f"the front matter has the field {key.value!r} twice", key)
            values[key.value] = self._value(value, depth + 1)
        return values

    def _value(self, node: yaml.Node, depth: int) -> JSON:
        self._count += 1
        if depth > MAX_METADATA_DEPTH or self._count > MAX_METADATA_VALUES:
            raise _error(
                f"the front matter holds more than {MAX_METADATA_VALUES:,} values or {MAX_METADATA_DEPTH} levels", node
            )
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self._value(item, depth + 1) for item in node.value]
        if not isinstance(node, yaml.ScalarNode) or kind not in ("str", "timestamp", "bool", "null", "int", "float"):
            raise _error(f"the front matter has a value with the tag {node.tag}", node)
        return _scalar(kind, node)


def _scalar(kind: str, node: yaml.ScalarNode) -> JSON:
    text: str = node.value
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError as error:
        raise _error(f"{text[:40]!r} in the front matter is not a number", node) from error
    if kind == "bool":
        return text.lower() == "true"
    return None if kind == "null" else text


def _error(message: str, node: yaml.Node) -> FrontMatterError:
    return FrontMatterError(message, node.start_mark.line + 2)
