"""A module of `_async` as the module of `_sync`: the same without `async` and `await`."""

from __future__ import annotations

import io
import re
import tokenize

_NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "asynccontextmanager": "contextmanager",
    "_async": "_sync",
}
_DROPPED = ("async", "await")


def twin(text: str) -> str:
    """The synchronous text; format it afterwards."""
    lines = text.splitlines(keepends=True)
    edits: list[tuple[int, int, int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        (row, start), (last, end) = token.start, token.end
        if token.type == tokenize.NAME:
            new = _name(token.string)
            edits.append((row, start, end + (1 if new == "" else 0), new))
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            for number in range(row, last + 1):
                left = start if number == row else 0
                right = end if number == last else len(lines[number - 1])
                edits.append((number, left, right, _words(lines[number - 1][left:right])))
    # From the end, so that what is still to be edited keeps its place.
    for row, start, end, new in reversed(edits):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + new + line[end:]
    return "".join(lines)


def _name(name: str) -> str:
    if name in _DROPPED:
        return ""
    return _NAMES.get(name) or name.removeprefix("Async")


def _words(text: str) -> str:
    """Text for people, which shows code."""
    text = re.sub(r"\basync (?=with|for|def)", "", text)
    text = re.sub(r"\bawait (?=\w+[.(])", "", text)
    return re.sub(r"\bAsync(?=[A-Z])", "", text)
