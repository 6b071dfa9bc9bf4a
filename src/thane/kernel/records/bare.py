"""Digests of rows as they lie in a store, without making records of them: for who checks millions.

What is made here is the canonical row of `thane.kernel.records.rows` by a shorter way, which
knows neither the types inside JSON nor the odd cases of numbers and keys. So it may only be
used to find a digest confirmed: two equal digests are of equal bytes. A row whose digest is
another one must be looked at through its record before anything is said of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from thane.kernel.records.engine import BareRow
from thane.kernel.records.schema import FieldSchema, Kind, Schema
from thane.kernel.sealing.commitment import commitment_of

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


def bare_fields(schema: Schema) -> tuple[str, ...]:
    """The fields that a digest covers, as `Engine.bare_rows` is to give them."""
    return tuple(f.name for f in schema.fields if not f.secret)


def bare_digest(schema: Schema) -> Callable[[BareRow], str]:
    """What makes the digest (hex) of a bare row of `bare_fields`, its version, salt and entry.

    It raises whatever a value that is not of its field's kind brings about.
    """
    names = (*bare_fields(schema), "version")
    order = sorted(range(len(names)), key=lambda i: names[i])
    # Nulls are left out of a canonical row, as this struct leaves out what is at its default.
    made = msgspec.defstruct(
        f"Bare_{schema.table}",
        [(names[i], Any, None) for i in order],
        omit_defaults=True,
        gc=False,
    )
    scope: dict[str, Any] = {"made": made, "encode": _encode, "sha256": sha256}
    parts = []
    for i in order:
        convert = None if names[i] == "version" else _converter(schema.by_name[names[i]])
        if convert is None:
            parts.append(f"r[{i}]")
        else:
            scope[f"c{i}"] = convert
            parts.append(f"(None if r[{i}] is None else c{i}(r[{i}]))")
    # Positions only; nothing in it comes from outside.
    expression = f"lambda r: sha256(r[{len(names)}] + encode(made({', '.join(parts)}))).hexdigest()"
    digest: Callable[[BareRow], str] = eval(expression, scope)  # noqa: S307
    return digest


def _converter(field: FieldSchema) -> Callable[[Any], Any] | None:
    if field.sealed:
        return lambda stored: commitment_of(stored).hex()
    return _sorted if field.kind is Kind.JSON else None


@lru_cache(4096)
def _sorted(text: str) -> msgspec.Raw:
    """JSON with its keys in order. Many rows hold the same: limits, settings, nothing."""
    return msgspec.Raw(_encode(_decode(text)))
