"""`fields=`: show only some fields of an answer, of its items if it is a page. `a.b` reaches inside."""

from __future__ import annotations

from typing import Any

import msgspec

from thane.kernel.answers import pick
from thane.kernel.errors import Fault, Invalid

MOST = 64


def project(body: bytes, fields: str) -> bytes:
    """The answer with these fields; Invalid for one that no item has, so that a typing error is seen."""
    names = [n for n in (part.strip() for part in fields.split(",")) if n]
    if not names or len(names) > MOST:
        raise _refused(f"name 1 to {MOST} fields, separated by commas")
    document = msgspec.json.decode(body)
    if isinstance(document, dict) and isinstance(document.get("items"), list) and "next_cursor" in document:
        items = document["items"]
        picked = [pick(item, names) for item in items]
        for name in names:
            if items and not any(_has(item, name) for item in items):
                raise _refused(f"`{name}` is no field of these items; they have {', '.join(items[0])}")
        return msgspec.json.encode({**document, "items": picked})
    if not isinstance(document, dict):
        raise _refused("the answer is no object")
    for name in names:
        if not _has(document, name):
            raise _refused(f"`{name}` is no field of the answer; it has {', '.join(document)}")
    return msgspec.json.encode(pick(document, names))


def _has(document: Any, name: str) -> bool:
    head, _, rest = name.partition(".")
    if not isinstance(document, dict) or head not in document:
        return False
    return not rest or document[head] is None or _has(document[head], rest)


def _refused(detail: str) -> Invalid:
    return Invalid(detail, faults=(Fault("/fields", "unknown", detail),))
