"""THE text analyser, the search grammar, and what a search means. One of each, for every engine.

`analyse` makes the words that are indexed. Engines store them joined by blanks and index
them with their plainest analyser, so the same rows are found everywhere; every word
consists of letters, marks and digits only. `parse_query` makes a tree that adapters
translate (no SQL here), and `matches_text` is the reference that they are tested against.

The analyser:
1. Unicode NFKC and case folding, so that how a letter was typed makes no difference.
2. The class tokeniser: a word ends where the class of the character changes. Classes are
   letters (with their marks), digits, and the rest, which separates and is dropped. So
   `snake_case` is two words and `utf8` is `utf` and `8`; `camelCase` stays one, because
   upper and lower case are no classes. Han and Kana are written without blanks: each
   character there is a word, and a phrase finds what lies together.
3. Words of more than 64 characters are cut, in the index and in the query alike.
4. Snowball's English stemmer, for words of ASCII letters.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
import types
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from thane.kernel.errors import Fault, Invalid

MAX_WORD = 64
MAX_QUERY_CHARS = 1000
MAX_QUERY_WORDS = 64


def _load_stemmer() -> Any:
    """Snowball's English module alone: its package imports 36 languages, 150 ms at every start.

    The pure Python one is used even where a C one is installed: another version may stem
    otherwise, and the words of the index must not depend on the machine.
    """
    spec = importlib.util.find_spec("snowballstemmer")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("snowballstemmer is not installed")
    package = types.ModuleType("_thane_snowball")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[package.__name__] = package
    return importlib.import_module("_thane_snowball.english_stemmer").EnglishStemmer()


_STEMMER = _load_stemmer()
_STEMMER_LOCK = threading.Lock()  # the stemmer keeps the word it works on in itself


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of one folded word."""
    if not (word.isascii() and word.isalpha()):
        return word
    with _STEMMER_LOCK:
        return str(_STEMMER.stemWord(word))


# -- the analyser --------------------------------------------------------------------

_ASCII_WORD = re.compile(r"[a-z]+|[0-9]+")
_CLASS_WORD = re.compile(r"L+|D+|C")
# Han, Hiragana, Katakana and their neighbours (Unicode blocks), where no blank ends a word.
_UNSPACED = ((0x2E80, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_UNSPACED_FROM, _UNSPACED_TO = 0x20000, 0x3FFFF


class _Classes(dict[int, str]):
    """Character to class for `str.translate`: L letter, D digit, C a word of its own, blank for the rest."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))[0]
        unspaced = (
            any(low <= code <= high for low, high in _UNSPACED) or _UNSPACED_FROM <= code <= _UNSPACED_TO
        )
        found = "D" if category == "N" else " " if category not in "LM" else "C" if unspaced else "L"
        self[code] = found
        return found


_CLASSES = _Classes()


def words(text: str) -> list[str]:
    """The folded words of `text` in order, not stemmed."""
    if text.isascii():
        found = _ASCII_WORD.findall(text.lower())
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        classes = folded.translate(_CLASSES)
        found = [folded[match.start() : match.end()] for match in _CLASS_WORD.finditer(classes)]
    return [word if len(word) <= MAX_WORD else word[:MAX_WORD] for word in found]


def analyse(text: str, limit_bytes: int | None = None) -> list[str]:
    """The words under which `text` is found, in order, with repetitions.

    Only the first `limit_bytes` bytes of its UTF-8 are read; a word cut there is left out.
    """
    if limit_bytes is not None and len(text) * 4 > limit_bytes:
        raw = text.encode("utf-8", "replace")
        if len(raw) > limit_bytes:
            text = raw[: max(limit_bytes, 0)].decode("utf-8", "ignore")
            return list(map(stem, _without_cut(words(text), text)))
    return list(map(stem, words(text)))


def _without_cut(found: list[str], text: str) -> list[str]:
    return found[:-1] if found and words(text[-1:]) else found


# -- the query -----------------------------------------------------------------------


class Word(msgspec.Struct, frozen=True, tag=True):
    """The document has this word. `text` is a stem, as in the index."""

    text: str


class Prefix(msgspec.Struct, frozen=True, tag=True):
    """The document has a word that begins so. Compared with the stems of the index."""

    text: str


class Phrase(msgspec.Struct, frozen=True, tag=True):
    """The document has these words one after the other; at least two."""

    words: tuple[str, ...]


class And(msgspec.Struct, frozen=True, tag=True):
    """All of at least two."""

    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True, tag=True):
    """One of at least two."""

    parts: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True, tag=True):
    """Not this. Stands only in the And at the top, beside something that is wanted."""

    part: Node


Node = Word | Prefix | Phrase | And | Or | Not


class TextQuery(msgspec.Struct, frozen=True):
    """A search. `root` wants at least one thing; a Not stands only in an And at the top."""

    root: Node


_TERM = re.compile(r'(?P<minus>-?)"(?P<phrase>[^"]*)"(?P<star>\*?)|(?P<quote>-?")|(?P<bare>[^\s"]+)')


def parse_query(text: str, pointer: str = "/search") -> TextQuery:
    """Read the one search grammar. Invalid says what is wrong; `pointer` is where the search stood.

    `a b` both · `a OR b` one of them (it binds its neighbours only: `a OR b c` is one of
    a and b, and c) · `-a` not · `"a b"` one after the other · `a*` begins so. What holds
    several words without blanks, such as `snake_case` or `os.path`, is a phrase.
    A prefix is compared with stems: `running*` finds run, runs and runner.
    """
    try:
        return TextQuery(_parse(text))
    except _Wrong as error:
        raise Invalid(
            error.detail,
            hint='Write words, "a phrase", begin* or -not; OR between two words.',
            faults=(Fault(pointer, error.code, error.detail),),
        ) from None


class _Wrong(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _parse(text: str) -> Node:
    if len(text) > MAX_QUERY_CHARS:
        raise _Wrong("too_long", f"the search has {len(text)} characters; at most {MAX_QUERY_CHARS} are read")
    wanted: list[list[Node]] = []
    unwanted: list[Node] = []
    joining = False
    count = 0
    for match in _TERM.finditer(text):
        if match["bare"] == "OR":
            if not wanted or joining:
                raise _Wrong("or", "OR needs a word on both sides")
            joining = True
            continue
        node, negated, size = _term(match)
        count += size
        if count > MAX_QUERY_WORDS:
            raise _Wrong("too_long", f"the search has more than {MAX_QUERY_WORDS} words")
        if node is None:  # punctuation only: nothing that could be in the index
            continue
        if negated and joining:
            raise _Wrong("or", f"{match[0]} cannot be one side of OR; -word holds for the whole search")
        if negated:
            unwanted.append(node)
        elif joining:
            wanted[-1].append(node)
        else:
            wanted.append([node])
        joining = False
    if joining:
        raise _Wrong("or", "OR needs a word on both sides")
    if not wanted:
        raise _nothing(unwanted)
    parts = [group[0] if len(group) == 1 else Or(_flat(group)) for group in wanted]
    every = (*parts, *(Not(node) for node in unwanted))
    return every[0] if len(every) == 1 else And(every)


def _nothing(unwanted: list[Node]) -> _Wrong:
    if unwanted:
        return _Wrong("only_negations", "the search only says what is not wanted; add a word that is")
    return _Wrong("empty", "the search has no word; it needs a letter or a digit")


def _term(match: re.Match[str]) -> tuple[Node | None, bool, int]:
    """One term: its node, whether it is not wanted, and how many words it has."""
    if match["quote"]:
        raise _Wrong("quote", f'the " at position {match.end()} is never closed')
    if match["star"]:
        raise _Wrong("prefix", f"the * after {match[0][:-1]} has no meaning; it stands at the end of a word")
    if match["bare"] is None:
        found = [stem(word) for word in words(match["phrase"])]
        return _sequence(found), bool(match["minus"]), len(found)
    bare = match["bare"]
    raw = words(bare)
    negated = bare.startswith("-")
    if not bare.endswith("*") or not raw:
        return _sequence([stem(word) for word in raw]), negated, len(raw)
    head = _sequence([stem(word) for word in raw[:-1]])
    tail = _prefix(raw[-1])
    return tail if head is None else And((head, tail)), negated, len(raw)


def _sequence(found: list[str]) -> Node | None:
    if not found:
        return None
    return Word(found[0]) if len(found) == 1 else Phrase(tuple(found))


def _prefix(word: str) -> Node:
    """The index holds stems: what is longer than its own stem would miss the very word it begins."""
    root = stem(word)
    if word.startswith(root):
        return Prefix(root)
    return Prefix(word) if root.startswith(word) else Or((Prefix(word), Prefix(root)))


def _flat(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(chain.from_iterable(node.parts if isinstance(node, Or) else (node,) for node in nodes))


# -- what it means -------------------------------------------------------------------


def matches_text(query: TextQuery, tokens: Sequence[str]) -> bool:
    """Whether a document with these words (of `analyse`) is found. The reference, not fast.

    An empty token is a wall between two fields: no phrase reaches across it.
    """
    return _holds(query.root, tokens)


def _holds(node: Node, tokens: Sequence[str]) -> bool:
    match node:
        case Word(text):
            return text in tokens
        case Prefix(text):
            return any(token.startswith(text) for token in tokens)
        case Phrase(wanted):
            size = len(wanted)
            return any(tuple(tokens[i : i + size]) == wanted for i in range(len(tokens) - size + 1))
        case And(parts):
            return all(_holds(part, tokens) for part in parts)
        case Or(parts):
            return any(_holds(part, tokens) for part in parts)
        case Not(part):
            return not _holds(part, tokens)
