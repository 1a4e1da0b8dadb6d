r"""From the text of a filter to an expression.

    year >= 1990 and lang = "en"
    lang in ("en", "de") or not (exists retracted)
    author.name != 'Lin' and `page count` < 12.5

- Comparisons: `=` (or `==`), `!=`, `<`, `<=`, `>`, `>=`, `in (...)`, `not in (...)`, `exists field`.
- `not` binds tightest, then `and`, then `or`; parentheses group. Keywords may be written in any case.
- Values: text in double or single quotes, where `\` escapes quotes and itself and writes `\n` and `\t`; numbers
  (`3`, `-2.5`, `1e6`); `true` and `false`.
- Fields: words of letters, digits and `_`, joined by `.` or `-` and not starting with a digit. Any other name (one
  with blanks, or one of the keywords) stands in backquotes, in which a backquote is written twice.

At most 65,536 characters and 64 levels of parentheses.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from lexhound.retrieval.documents.metadata import Value
from lexhound.retrieval.errors import FilterSyntaxError

from .expression import And, Comparison, Exists, Expression, Membership, Not, Operator, Or

if TYPE_CHECKING:
    from lark import Lark, Token, UnexpectedInput, UnexpectedToken

MAX_FILTER_CHARACTERS = 65_536
MAX_FILTER_DEPTH = 64

_GRAMMAR = r"""
start: either
either: both (_OR both)*
both: negation (_AND negation)*
?negation: _NOT negation        -> negated
         | _LPAR either _RPAR
         | FIELD COMPARISON value -> comparison
         | FIELD _IN values       -> membership
         | FIELD _NOT _IN values  -> exclusion
         | _EXISTS FIELD          -> exists
values: _LPAR value (_COMMA value)* _RPAR
value: STRING | NUMBER | BOOLEAN

COMPARISON: /==|!=|<=|>=|=|<|>/
_LPAR: "("
_RPAR: ")"
_COMMA: ","
_AND.2: /and(?![\w.-])/i
_OR.2: /or(?![\w.-])/i
_NOT.2: /not(?![\w.-])/i
_IN.2: /in(?![\w.-])/i
_EXISTS.2: /exists(?![\w.-])/i
BOOLEAN.2: /(?:true|false)(?![\w.-])/i
FIELD: /[^\W\d]\w*(?:[.-]\w+)*|`(?:[^`]|``)*`/
NUMBER: /[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.-])/
STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
%ignore /\s+/
"""

# What the parser may wait for, in the words of the user, in the order in which they are listed.
_WORDS = (
    ("FIELD", "a field name"),
    ("COMPARISON", "a comparison (= != < <= > >=)"),
    ("STRING", "text in quotes"),
    ("NUMBER", "a number"),
    ("BOOLEAN", "true"),
    ("BOOLEAN", "false"),
    ("_AND", "'and'"),
    ("_OR", "'or'"),
    ("_NOT", "'not'"),
    ("_IN", "'in'"),
    ("_EXISTS", "'exists'"),
    ("_COMMA", "','"),
    ("_LPAR", "'('"),
    ("_RPAR", "')'"),
    ("$END", "the end"),
)
_MEANT = {
    "&": "Write 'and'.",
    "|": "Write 'or'.",
    "!": "Write 'not', or '!=' for 'is not'.",
    "“": 'Use straight quotes: ".',
    "”": 'Use straight quotes: ".',
    "‘": "Use straight quotes: '.",
    "’": "Use straight quotes: '.",
    "≥": "Write '>='.",
    "≤": "Write '<='.",
    "≠": "Write '!='.",
    "[": "Lists stand in parentheses: (1, 2).",
}
_SWAPPED = {"<>": "Write '!=' for 'is not'.", "=>": "Write '>='.", "=<": "Write '<='."}
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_MAX_DIGITS = 4000  # leading zeros may be many, and Python reads no more than 4,300


def parse_filter(text: str) -> Expression:
    """Return the expression that `text` writes. Raises `FilterSyntaxError`, which points at the character."""
    from lark import UnexpectedInput

    if len(text) > MAX_FILTER_CHARACTERS:
        raise FilterSyntaxError(
            f"the expression is longer than {MAX_FILTER_CHARACTERS:,} characters", text, MAX_FILTER_CHARACTERS
        )
    surrogate = re.search("[\ud800-\udfff]", text)
    if surrogate:
        raise FilterSyntaxError("half of a surrogate pair, which is not a character", text, surrogate.start())
    parser = _parser().parse_interactive(text)
    depth = 0
    try:
        for token in parser.iter_parse():
            depth += (token.type == "_LPAR") - (token.type == "_RPAR")
            if depth > MAX_FILTER_DEPTH:
                raise FilterSyntaxError(
                    f"parentheses are nested more than {MAX_FILTER_DEPTH} deep", text, token.start_pos or 0
                )
        tree = parser.feed_eof()  # type: ignore[no-untyped-call]
    except UnexpectedInput as error:
        accepted = parser.accepts()  # type: ignore[no-untyped-call]
        raise _explained(error, text, accepted) from None
    return _Builder(text).build(tree)


@functools.cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", lexer="basic", maybe_placeholders=False)


class _Builder:
    """From lark's tree to ours. Recursion is as deep as the parentheses, which are counted before."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._rules: dict[str, Callable[..., Expression]] = {
            "start": self.build,
            "either": lambda *operands: self._joined(Or, operands),
            "both": lambda *operands: self._joined(And, operands),
            "negated": self._negated,
            "comparison": self._comparison,
            "membership": lambda field, values: Membership(_field(field), self._values(values)),
            "exclusion": lambda field, values: Membership(_field(field), self._values(values), negated=True),
            "exists": lambda field: Exists(_field(field)),
        }

    def build(self, tree: Any) -> Expression:
        return self._rules[tree.data](*tree.children)

    def _joined(self, kind: type[And] | type[Or], operands: tuple[Any, ...]) -> Expression:
        built = tuple(self.build(operand) for operand in operands)
        return built[0] if len(built) == 1 else kind(built)

    def _negated(self, operand: Any) -> Expression:
        negations = 1
        while operand.data == "negated":  # a loop: nothing limits how many `not` stand in a row
            operand = operand.children[0]
            negations += 1
        built = self.build(operand)
        if negations % 2 == 0:
            return built
        return built.operand if isinstance(built, Not) else Not(built)

    def _comparison(self, field: Token, operator: Token, value: Any) -> Expression:
        sign = cast(Operator, "=" if operator == "==" else str(operator))
        (token,) = value.children
        if token.type == "NUMBER" and sign in _NEAREST and (number := _beyond_64_bits(token)) is not None:
            sign, bound = _NEAREST[sign](number, self._finite(_as_float(number), token))
            return Comparison(_field(field), sign, bound)
        return Comparison(_field(field), sign, self._value(value))

    def _values(self, tree: Any) -> tuple[Value, ...]:
        return tuple(dict.fromkeys(self._value(value) for value in tree.children))

    def _value(self, tree: Any) -> Value:
        (token,) = tree.children
        if token.type == "STRING":
            return self._string(token)
        if token.type == "BOOLEAN":
            return int(token.lower() == "true")
        return self._number(token)

    def _string(self, token: Token) -> str:
        def unescape(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                at = (token.start_pos or 0) + 1 + match.start()
                raise FilterSyntaxError(
                    f"there is no escape \\{match[1]}",
                    self._text,
                    at,
                    hint=r"Write a backslash as \\, a quote as \" or \', a line break as \n, a tab as \t.",
                )
            return _ESCAPES[match[1]]

        return re.sub(r"\\(.)", unescape, token[1:-1], flags=re.DOTALL)

    def _number(self, token: Token) -> int | float:
        integer = _beyond_64_bits(token)
        if integer is None:
            return self._finite(float(token), token) if re.search(r"[.eE]", token) else int(token)
        number = self._finite(_as_float(integer), token)
        if number != integer:
            raise FilterSyntaxError(
                "an integer of more than 64 bits, which no document holds",
                self._text,
                token.start_pos or 0,
                hint=f'Documents hold it as text, "{_shortened(token)}", or as a floating-point number, {number!r}.',
            )
        return number

    def _finite(self, number: float, token: Token) -> float:
        if math.isinf(number):
            raise FilterSyntaxError("the number is too large", self._text, token.start_pos or 0)
        return number


def _beyond_64_bits(token: Token) -> int | None:
    """Return the integer that a number writes, if 64 bits do not hold it: as such no document has it."""
    if re.search(r"[.eE]", token):
        return None
    number = int(token) if len(token) <= _MAX_DIGITS else 10**_MAX_DIGITS
    return None if _INT64_MIN <= number <= _INT64_MAX else number


def _as_float(number: int) -> float:
    """Return the nearest floating-point number, infinite beyond them all."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _at_most(number: int, nearest: float) -> tuple[Operator, float]:
    return "<=", nearest if nearest <= number else math.nextafter(nearest, -math.inf)


def _at_least(number: int, nearest: float) -> tuple[Operator, float]:
    return ">=", nearest if nearest >= number else math.nextafter(nearest, math.inf)


# How to compare with an integer beyond 64 bits and the nearest floating-point number: documents hold only the latter.
_NEAREST: dict[Operator, Callable[[int, float], tuple[Operator, float]]] = {
    "<": lambda number, nearest: ("<", nearest) if nearest == number else _at_most(number, nearest),
    "<=": _at_most,
    ">": lambda number, nearest: (">", nearest) if nearest == number else _at_least(number, nearest),
    ">=": _at_least,
}


def _field(token: Token) -> str:
    return token[1:-1].replace("``", "`") if token.startswith("`") else str(token)


def _explained(error: UnexpectedInput, text: str, accepted: set[str]) -> FilterSyntaxError:
    """Return what was wrong at which character, and which of the accepted terminals would have been right there."""
    from lark import UnexpectedCharacters

    position = error.pos_in_stream or 0
    hint = None
    if isinstance(error, UnexpectedCharacters):
        character = text[position]
        if character in "\"'`":
            name = "backquote" if character == "`" else "quote"
            return FilterSyntaxError(f"this {name} is never closed", text, position)
        if character.isdigit() or character in "+-.":
            return FilterSyntaxError("not a number", text, position, hint='Put text in quotes: "2020-01-31".')
        reason = f"unexpected {character!r}"
        hint = _MEANT.get(character)
    else:
        token = cast("UnexpectedToken", error).token
        expected = [words for name, words in _WORDS if name in accepted]
        if token.type == "$END":
            position = len(text)
            problem = "the expression ends"
        else:
            problem = f"found {_shortened(token)!r}"
        reason = f"expected {_listed(expected)}, but {problem}"
        if token.type == "FIELD" and "STRING" in accepted:
            hint = "Put text in quotes."
            if not token.startswith("`"):
                hint = f'Put text in quotes: "{_shortened(token)}".'
            if token.lower() in {"null", "none", "nil"}:
                hint = "A field without a value does not exist: write 'not exists FIELD'."
        elif text[position - 1 : position + 1] in _SWAPPED:
            hint = _SWAPPED[text[position - 1 : position + 1]]
    return FilterSyntaxError(reason, text, position, hint=hint)


def _shortened(token: str) -> str:
    return str(token) if len(token) <= 30 else f"{token[:30]}…"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
