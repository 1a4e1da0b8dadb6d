"""Unicode-aware words: what counts as one, how it is folded, and where in the text it stands.

A **surface token** is a stretch of the original text: a run of everything that may belong to a word. Surface tokens are
cut from the text *as it is* and then read one by one, so that offsets need no bookkeeping through normalisation,
the fast path and the span path cannot disagree, and a caller may remember what each surface token led to
(`LexicalEncoder` does: folding, stop words and stemming happen once a surface token, not once an occurrence).

What a surface token counts for:

- A *word* is a run of letters, digits and combining marks that starts with a letter or digit. An apostrophe
  between two letters stays (`don't`, `l’eau`); hyphens, dots and underscores separate. Joiners and soft
  hyphens may stand inside and are dropped by folding.
- Scripts written without spaces (Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar) give runs of their own,
  which become overlapping bigrams of characters (a character with its combining marks counts as one); a run
  of one character stays alone. This is what Lucene's CJK analyser does: no dictionary, every language alike,
  good recall; the price is that one character by itself does not find a longer run that holds it.
- So does Hangul, in runs apart from the other scripts'. Korean is written with spaces, but between phrases, not
  words: a noun carries its particles (`도서관에서`, "in the library"), and pairs of syllables find it in each. A noun
  of one syllable would be lost to its pair (`책을`, "the book"), so where particles alone follow a run's first
  syllable, that syllable counts too. Version 1 took every run of Hangul for one word.

Folding is NFKC with case folding and without ignorable characters (the Unicode Standard's NFKC_Casefold,
section 3.13), with two changes: every apostrophe becomes `'`, and `i` with a combining dot, which folding
makes of the Turkish `İ`, becomes `i`, so that Istanbul and İstanbul meet. A word that folding takes apart
(`½`, `20℃`) counts for each of its parts. Trademark signs and other superscript symbols are not letters
(`Lexhound™` is `lexhound`).

A word longer than 255 characters is cut to its first 255: it stays findable and the vocabulary stays bounded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, TypeAlias

TOKENISER_VERSION = 2
"""Goes up when the same text would give other tokens; part of every lexical encoder's fingerprint.

1 took a run of Hangul for one word; what it made is still read so (`hangul=False` below).
"""

MAX_WORD_LENGTH = 255

Token: TypeAlias = tuple[int, int, str]
"""`(start, end, token)`: the folded token and the stretch of text it stands for."""

# Unicode blocks, less their digits (which are words) and the tone letters that are marks anyway.
_UNSPACED = (
    (0x0E01, 0x0E3A), (0x0E40, 0x0E4E),                                        # Thai
    (0x0E81, 0x0EBE), (0x0EC0, 0x0ECE), (0x0EDC, 0x0EDF),                      # Lao
    (0x1000, 0x103F), (0x1050, 0x108F), (0x109A, 0x109D), (0xAA60, 0xAA7F),    # Myanmar
    (0xA9E0, 0xA9EF), (0xA9FA, 0xA9FE),
    (0x1780, 0x17D3), (0x17D7, 0x17D7), (0x17DC, 0x17DD),                      # Khmer
    (0x2E80, 0x2FD5), (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B),    # Han
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),                      # and planes 2, 3
    (0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),    # Hiragana, Katakana
    (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F),
)  # fmt: skip
# Conjoining jamo: syllables taken apart, as canonical decomposition leaves them. Leading, vowels, trailing.
_LEADING, _VOWELS, _TRAILING = "\u1100-\u115f\ua960-\ua97c", "\u1160-\u11a7\ud7b0-\ud7c6", "\u11a8-\u11ff\ud7cb-\ud7fb"
_HANGUL = f"{_LEADING}{_VOWELS}{_TRAILING}\uac00-\ud7a3"
# A syllable as a reader sees it (Unicode Standard Annex 29, table 1c), composed or not.
_SYLLABLE = f"(?:[{_LEADING}]*(?:[\uac00-\ud7a3]|[{_VOWELS}])[{_VOWELS}]*[{_TRAILING}]*|[{_LEADING}]+|[{_TRAILING}]+)"
# The particles that may follow a noun: a plural, one of case or the copula, and one of topic or limit after it.
_PARTICLES = re.compile(
    "들?(?:은|는|이|가|을|를|의|도|만|와|과|에|에서|에게|께|께서|한테|로|으로|로서|으로서|로써|으로써|까지|부터|보다|처럼"
    "|마다|하고|나|이나|랑|이랑|이다|이며|이고|입니다)?(?:는|은|도|만|의)?"
)
_MOST_PARTICLES = 6  # syllables, at most, that _PARTICLES matches; more need not be looked at
# Letters that a reader sees as part of the character before them: half-width voicing marks, SARA AM.
_LIKE_MARKS = "\uff9e\uff9f\u0e33\u0eb3"
# Soft hyphen, zero-width joiners, word joiner, byte-order mark: invisible inside a word. Not the zero-width
# space (U+200B): Thai and Khmer typists put it *between* words.
_JOINERS = "\u00ad\u200c\u200d\u2060\ufeff"
_APOSTROPHES = "'\u2019\uff07"
_ONE_APOSTROPHE = str.maketrans(dict.fromkeys("\u2019\uff07\u02bc", "'"))
_NO_JOINERS = str.maketrans(dict.fromkeys(_JOINERS))
_VARIATION_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_TURKIC_CAPITALS = str.maketrans({"I": "ı", "İ": "i"})

# Some of what belongs to no surface token: ASCII but letters, digits and the apostrophe; marks between sentences in
# East Asia.
_BETWEEN_SURFACE_TOKENS = re.compile("[\x00-&(-/:-@\\[-`{-\x7f\u3001\u3002\uff0c]")

# ASCII surface tokens come lower-cased, everything that is neither alphanumeric nor an apostrophe blanked out.
_ASCII_FORMS = "".join(char.lower() if char.isalnum() or char == "'" else " " for char in map(chr, range(128)))
# What the patterns below are where a text is ASCII, as most are: they need no table of all characters.
_ASCII_SURFACE = re.compile("[0-9A-Za-z']+")
_ASCII_PIECE = re.compile("[0-9A-Za-z]+(?:'[0-9A-Za-z]+)*")

_BYTE_FORMS = _ASCII_FORMS.encode() + bytes(range(128, 256))  # the same within UTF-8


class _Patterns(NamedTuple):
    surface: re.Pattern[str]  # a run of what may belong to a word, and of anything outside the basic plane
    piece: re.Pattern[str]  # within a surface token: a word, or a run of a script that is read in pairs
    paired: re.Pattern[str]  # matches a piece of the second kind at its start
    cluster: re.Pattern[str]  # one character of such a run, with its marks; of Hangul a syllable


def surface_tokens(text: str, *, turkic: bool = False) -> list[str]:
    """Return the text's surface tokens in order: the fast path, one pass in C over the whole text.

    A text of ASCII alone is lower-cased first, so that capitals make no surface tokens of their own; not so where
    `turkic` asks for another lower case of `I`. The surface tokens of a text are for `tokens_of`, not for people: some
    hold no token at all.
    """
    if text.isascii() and not turkic:
        return text.translate(_ASCII_FORMS).split()
    return _patterns().surface.findall(text)


def pieces(text: str, size: int) -> Iterator[str]:
    """Yield the text in stretches of about `size` characters, cut where no surface token is: together they have its
    surface tokens.

    A stretch is longer where nothing but surface tokens stands in its place.
    """
    start = 0
    while start < len(text):
        gap = _BETWEEN_SURFACE_TOKENS.search(text, start + size)
        end = gap.end() if gap else len(text)
        yield text[start:end]
        start = end


def spaced_surface_tokens(text: str) -> str:
    """Return a text of the same length that holds the surface tokens where they were, in lower case as far as they are
    ASCII.

    Blanks are between them, and whatever else is not ASCII: where the text is ASCII, its surface tokens (not turkic)
    are what `split` makes of this. The tokens are the same in either case of ASCII letters (not turkic).
    """
    if text.isascii():
        return text.translate(_ASCII_FORMS)
    # Bytes are translated twenty times as fast as characters that are not ASCII.
    return text.encode("utf-8", "surrogatepass").translate(_BYTE_FORMS).decode("utf-8", "surrogatepass")


def surface_token_spans(text: str) -> Iterator[tuple[int, str]]:
    """Yield where each surface token starts, and the surface token as the text has it."""
    for match in _surface_of(text).finditer(text):
        yield match.start(), match.group()


def _surface_of(text: str) -> re.Pattern[str]:
    return _ASCII_SURFACE if text.isascii() else _patterns().surface


def belongs_to_surface_token(character: str) -> bool:
    """Return whether a character that stands beside a surface token would belong to it."""
    return character.isalnum() or _patterns().surface.match(character) is not None


def tokens_of(surface: str, *, turkic: bool = False, hangul: bool = True) -> list[Token]:
    """Return the tokens of one surface token, nearly always one, with offsets from its start.

    Args:
        surface: one of `surface_tokens(text)`.
        turkic: fold `I` to `ı` and `İ` to `i`, as Turkish and Azerbaijani read them.
        hangul: take Hangul in pairs of syllables; False as version 1 did, a run for a word.
    """
    if surface.isascii() and surface.isalnum() and not turkic:
        return [(0, len(surface), surface[:MAX_WORD_LENGTH].lower())]
    if surface.isascii() and not turkic:
        return _ascii_tokens(surface)
    patterns = _patterns(hangul)
    tokens: list[Token] = []
    for match in patterns.piece.finditer(surface):
        start, end = match.span()
        if patterns.paired.match(surface, start):
            tokens += _pairs(surface, start, end, patterns)
        else:
            tokens += [(start, end, token) for token in _words(match.group(), turkic, patterns)]
    return tokens


def _ascii_tokens(surface: str) -> list[Token]:
    """Return the tokens of a surface token that is ASCII, so that folding is lower-casing."""
    return [
        (*match.span(), token)
        for match in _ASCII_PIECE.finditer(surface)
        for token in _ASCII_PIECE.findall(match.group()[:MAX_WORD_LENGTH].lower())
    ]


def tokenise(text: str, *, turkic: bool = False, hangul: bool = True) -> list[str]:
    """Return the text's tokens in order."""
    return [
        token
        for surface in surface_tokens(text, turkic=turkic)
        for _, _, token in tokens_of(surface, turkic=turkic, hangul=hangul)
    ]


def token_spans(text: str, *, turkic: bool = False, hangul: bool = True) -> Iterator[Token]:
    """Yield `(start, end, token)` with offsets into `text` as given; the same tokens as `tokenise(text)`."""
    for match in _surface_of(text).finditer(text):
        start = match.start()
        for first, last, token in tokens_of(match.group(), turkic=turkic, hangul=hangul):
            yield start + first, start + last, token


def fold(text: str, *, turkic: bool = False) -> str:
    """Return text under NFKC_Casefold with one kind of apostrophe and no dot above `i`."""
    text = text.translate(_NO_JOINERS)
    if turkic:
        text = unicodedata.normalize("NFC", text).translate(_TURKIC_CAPITALS)
    if text.isascii():
        return text.lower()
    # Twice: NFKC may bring letters that still have case (U+2122, U+3392), case folding may leave a sequence
    # that is not composed.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _VARIATION_SELECTORS.sub("", text).replace("i\u0307", "i")
    return text.translate(_ONE_APOSTROPHE).casefold()


def _words(word: str, turkic: bool, patterns: _Patterns) -> list[str]:
    """Return a word's token, or the several that folding makes of it."""
    folded = fold(word[:MAX_WORD_LENGTH], turkic=turkic)
    tokens: list[str] = []
    for match in patterns.piece.finditer(folded):
        if patterns.paired.match(folded, match.start()):
            tokens += [token for _, _, token in _pairs(folded, *match.span(), patterns)]
        else:
            tokens.append(match.group()[:MAX_WORD_LENGTH])
    return tokens


def _pairs(text: str, start: int, end: int, patterns: _Patterns) -> list[Token]:
    """Return the overlapping bigrams of the run `text[start:end]`, or its only character.

    Before them the first syllable, where the others are particles.
    """
    spans = [match.span() for match in patterns.cluster.finditer(text, start, end)]
    pairs = list(zip(spans, spans[1:] or spans, strict=False))
    if 1 < len(spans) <= 1 + _MOST_PARTICLES and _PARTICLES.fullmatch(fold(text[spans[1][0] : end])):
        pairs.insert(0, (spans[0], spans[0]))
    return [(first, last, fold(text[first:last][:MAX_WORD_LENGTH])) for (first, _), (_, last) in pairs]


# Kinds of code points: what may follow a letter, what words are made of, what runs of scripts without spaces are.
_NONE, _MARK, _WORD, _RUN, _SYMBOL = (bytes([kind]) for kind in range(5))
_CATEGORIES = {"M": _MARK, "L": _WORD, "N": _WORD, "S": _SYMBOL, "P": _SYMBOL, "Z": _NONE, "C": _NONE}
# Planes 2 and 3 are Han; beyond them only plane 14 holds anything of ours, its variation selectors.
_FAR_RUNS, _FAR_MARKS = "\U00020000-\U000323af", "\U000e0100-\U000e01ef"


@cache
def _kinds() -> bytes:
    """Return the kind of every code point of planes 0 and 1, by this Python's Unicode tables: some 25 ms."""
    categories = map(unicodedata.category, map(chr, range(0x20000)))
    kinds = bytearray(b"".join([_CATEGORIES[category[0]] for category in categories]))
    for match in re.finditer(_SYMBOL, kinds):
        char = chr(match.start())
        kinds[match.start()] = (_WORD if _spells_a_word(char) else _NONE)[0]
    for char in _LIKE_MARKS:
        kinds[ord(char)] = _MARK[0]
    for first, last in _UNSPACED:
        kinds[first : last + 1] = kinds[first : last + 1].replace(_WORD, _RUN)
    return bytes(kinds)


@cache
def _patterns(hangul: bool = True) -> _Patterns:
    """Build the patterns, at the first text that needs them; those of version 1 where `hangul` is not paired."""
    kinds = bytearray(_kinds())
    run, mark = _ranges(kinds, _RUN) + _FAR_RUNS, _ranges(kinds, _MARK) + _FAR_MARKS + _JOINERS
    # One table look-up a character: the basic plane as a bitmap, and all beyond it as a single range.
    basic = kinds[:0x10000]
    for char in _JOINERS:
        basic[ord(char)] = _MARK[0]
    paired, cluster = f"[{run}]", f"[{run}][{mark}]*"
    piece = f"[{run}][{run}{mark}]*"
    if hangul:
        for match in re.finditer(f"[{_HANGUL}]+", "".join(map(chr, range(0x10000)))):
            kinds[match.start() : match.end()] = kinds[match.start() : match.end()].replace(_WORD, _NONE)
        paired, cluster = f"[{run}{_HANGUL}]", f"{cluster}|{_SYLLABLE}[{mark}]*"
        piece += f"|[{_HANGUL}][{_HANGUL}{mark}]*"
    word = _ranges(kinds, _WORD)
    one_word = f"[{word}][{word}{mark}]*"
    return _Patterns(
        re.compile(f"[{_ranges(basic, _MARK + _WORD + _RUN)}{_APOSTROPHES}\U00010000-\U0010ffff]+"),
        re.compile(f"{one_word}(?:[{_APOSTROPHES}]{one_word})*|{piece}"),
        re.compile(paired),
        re.compile(cluster),
    )


def _spells_a_word(char: str) -> bool:
    """Return whether a symbol stands for letters (`㎏`, `Ⓐ`) and is not a superscript sign such as `™`."""
    decomposition = unicodedata.decomposition(char)
    if not decomposition or decomposition.startswith("<super>"):
        return False
    return any(part.isalnum() for part in unicodedata.normalize("NFKC", char))


def _ranges(kinds: bytes | bytearray, wanted: bytes) -> str:
    """Return the code points of some kinds as the inside of a character class."""
    pieces = []
    for match in re.finditer(b"[" + wanted + b"]+", kinds):
        first, last = match.start(), match.end() - 1
        escaped = re.escape(chr(first))
        pieces.append(escaped if first == last else f"{escaped}-{re.escape(chr(last))}")
    return "".join(pieces)
