"""Reads an entry's leaf and says in words what it records."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from thane_verify.report import Flaw

# The fields of leaf version 1, in the order in which people want to read them.
_FIELDS = [
    "operation", "kind", "outcome", "time", "actor", "tenant", "project", "run", "request",
    "resource", "intent", "changes", "details", "seq", "v",
]  # fmt: skip


def read_leaf(data: bytes) -> dict[str, Any]:
    """The leaf as a dict: version 1, with all its fields, in the one canonical spelling. Raises Flaw."""
    try:
        leaf = json.loads(data.decode("utf-8"), parse_float=_no_float, parse_constant=_no_float)
    except (UnicodeDecodeError, ValueError, RecursionError) as fault:
        raise Flaw(f"the entry's leaf is not JSON text: {fault}") from None
    if not isinstance(leaf, dict):
        raise Flaw("the entry's leaf is not a JSON object")
    if leaf.get("v") != 1:
        raise Flaw(
            f"the entry's leaf has version {leaf.get('v')!r} and this verifier reads 1: get a newer one"
        )
    if sorted(leaf) != sorted(_FIELDS):
        raise Flaw(f"the leaf's fields are not those of version 1: {', '.join(set(leaf) ^ set(_FIELDS))}")
    if any(type(leaf[name]) is not int or not 0 <= leaf[name] < 2**53 for name in ("seq", "time", "v")):
        raise Flaw("the leaf's seq, time and v are not whole numbers")
    # Also finds names given twice: the first would have been dropped when it was read.
    spelled = json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if spelled.encode("utf-8", "surrogatepass") != data:
        raise Flaw("the leaf is not in canonical form (RFC 8785): the same entry could have two hashes")
    return leaf


def _no_float(text: str) -> NoReturn:
    raise Flaw(f"the entry's leaf holds {text}, which is not a whole number")


def in_words(leaf: dict[str, Any]) -> list[str]:
    """What a leaf from `read_leaf` records, one field a line; what is null is left out."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=leaf["time"])
    shown = {**leaf, "time": f"{when.isoformat(timespec='microseconds')} by the server's clock"}
    # json.dumps escapes control characters, so that a leaf cannot play with the reader's terminal.
    return [f"{name}: {json.dumps(shown[name]).strip(chr(34))}" for name in _FIELDS if leaf[name] is not None]
