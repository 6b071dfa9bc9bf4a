"""Analysed words as FTS5 stores them, and searches as FTS5 expressions.

The kernel's analyser has done the work; FTS5 only splits at blanks. Words that are not
plain ASCII are written as `_` and the hex of their UTF-8, because FTS5's own notion of
letters is another. No word begins with `_` otherwise, so neither a word nor a prefix can
meet one of those by chance; and operators and quotes can never come from outside.
"""

from __future__ import annotations

from thane.kernel.records.text import And, Node, Not, Or, Phrase, Prefix, TextQuery, Word


def stored_words(words: str) -> str:
    """What is put into the index for a blank-separated list of words."""
    return words if words.isascii() else " ".join(_word(w) for w in words.split(" "))


def match_text(query: TextQuery) -> str:
    """The FTS5 expression of a query."""
    return _render(query.root)


def _word(word: str) -> str:
    return word if word.isascii() else f"_{word.encode().hex()}"


def _render(node: Node) -> str:
    match node:
        case Word(text):
            return f'"{_word(text)}"'
        case Prefix(text):
            if not text.isascii():
                return f'"{_word(text)}"*'
            # An ASCII beginning may go on with other letters, and those words are stored in hex.
            return f'("{text}"* OR "_{text.encode().hex()}"*)'
        case Phrase(words):
            return f'"{" ".join(_word(w) for w in words)}"'
        case Or(parts):
            return f"({' OR '.join(_render(p) for p in parts)})"
        case And(parts):
            wanted = [_render(p) for p in parts if not isinstance(p, Not)]
            unwanted = [_render(p.part) for p in parts if isinstance(p, Not)]
            text = f"({' AND '.join(wanted)})"
            return f"({text} NOT ({' OR '.join(unwanted)}))" if unwanted else text
        case Not(_):
            raise TypeError("a negation stands only inside an And")
