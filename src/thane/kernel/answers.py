"""JSON for people: what answers, details and stored JSON are written with.

msgspec writes a Decimal as Python's `str` does, which for small amounts is scientific
(`1.9E-7`). Amounts are always plain text here (`0.00000019`). Nothing else is changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(decimal_format="string").encode
# Only a hint that a Decimal may have been written so; a text that looks alike costs a second pass, no more.
_SCIENTIFIC = re.compile(rb'"-?\d(?:\.\d+)?E[+-]?\d+"')
# Its end alone, which begins with a fixed letter and is found ten times as fast.
_EXPONENT = re.compile(rb'E[+-]?\d+"')


def encode(value: Any) -> bytes:
    """`value` as UTF-8 JSON, decimals as plain text."""
    body = _encode(value)
    if _EXPONENT.search(body) is None or _SCIENTIFIC.search(body) is None:
        return body
    return _encode(_plain(msgspec.to_builtins(value, builtin_types=(Decimal,), str_keys=True)))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def pick(document: Any, names: Sequence[str]) -> Any:
    """The part of a decoded JSON object that these names say; `a.b` reaches inside."""
    if not isinstance(document, dict):
        return document
    made: dict[str, Any] = {}
    for name in names:
        head, _, rest = name.partition(".")
        if head not in document:
            continue
        if not rest or document[head] is None:
            made[head] = document[head]
        elif isinstance(document[head], dict):
            inner = pick(document[head], [rest])
            made[head] = {**made[head], **inner} if isinstance(made.get(head), dict) else inner
    return made
