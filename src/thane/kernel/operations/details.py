"""What an entry's sealed details hold, and an answer made again out of them.

Details are JSON, sealed before they are stored; their digest is over the ciphertext, so
their text needs no canonical form, and the answer's bytes go in as they were sent: a
replay is the same bytes. Transient fields of a request and secret fields of an answer are
never in it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from thane.kernel.answers import encode
from thane.kernel.context import Context
from thane.kernel.errors import Gone
from thane.kernel.ledger.leaf import Leaf, decode_leaf
from thane.kernel.operations.call import Reply
from thane.kernel.operations.registry import Bound
from thane.kernel.records.engine import EntryRow
from thane.kernel.records.store import Records
from thane.kernel.sealing.errors import KeyMissing

_encode_details = msgspec.json.Encoder().encode
SPOOLED = "spooled"
NOTHING = msgspec.Raw(b"null")


class Details(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An entry's details. An intent has `intent`, what was committed has `result`."""

    args: msgspec.Raw = NOTHING
    intent: msgspec.Raw = NOTHING
    result: msgspec.Raw = NOTHING
    ip: str | None = None
    user_agent: str | None = None


_decode = msgspec.json.Decoder(Details).decode


class _Versioned(msgspec.Struct):
    version: Any = None


def details(
    context: Context, *, args: bytes | None = None, intent: Any = None, result: bytes | None = None
) -> bytes:
    """Encode what an entry says beside its leaf."""
    return _encode_details(
        Details(
            args=NOTHING if args is None else msgspec.Raw(args),
            intent=NOTHING if intent is None else msgspec.Raw(encode(intent)),
            result=NOTHING if result is None else msgspec.Raw(result),
            ip=context.ip,
            user_agent=context.user_agent,
        )
    )


def arguments(bound: Bound, request: Any) -> bytes:
    """The request as it may be stored."""
    return encode(_without(request, bound.declaration.transient))


def answer(bound: Bound, value: Any) -> tuple[bytes, bytes]:
    """(the answer's bytes, the bytes of it that may be stored)."""
    body = encode(value)
    secret = bound.declaration.secret_fields
    if not secret:
        return body, body
    return body, encode({**_without(value, secret), "secret_shown": True})


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if not names:
        return value
    return {
        f.encode_name: getattr(value, f.name) for f in msgspec.structs.fields(value) if f.name not in names
    }


def version_of(body: bytes) -> int | None:
    """The `version` of an answer that is a row, for its ETag."""
    if not body.startswith(b"{"):
        return None
    found = msgspec.json.decode(body, type=_Versioned).version
    return found if type(found) is int else None


def place_of(reply: Reply) -> dict[str, Any]:
    """Where an effect stands in the ledger, as its answer shows it."""
    return {"index": reply.index, "leaf_hash": reply.leaf_hash, "intent_index": reply.intent_index}


def recorded(body: bytes, place: dict[str, Any] | None, outcome: str = SPOOLED) -> bytes:
    """An effect's answer: the operation's own, and where it is recorded (`ledger: null` if not yet)."""
    tail = b'"ledger":' + encode(place) + b',"outcome":' + encode(outcome) + b"}"
    return body[:-1] + (b"" if body == b"{}" else b",") + tail


async def read_details(records: Records, tenant_id: str, index: int) -> tuple[Leaf, Details, bytes]:
    """An entry's leaf, opened details and leaf hash. Gone if they were blanked or their subject erased."""
    rows = await records.engine.entries(tenant_id, index, 1)
    if not rows:
        raise Gone(f"what entry {index} said is past the retention horizon")
    leaf = decode_leaf(rows[0].leaf)
    return leaf, await open_details(records, tenant_id, rows[0], leaf), rows[0].leaf_hash


async def open_details(records: Records, tenant_id: str, row: EntryRow, leaf: Leaf) -> Details:
    """The details of an entry that was read already. Gone as with `read_details`."""
    if row.details is None:
        raise Gone(f"what entry {row.index} said is past the retention horizon")
    try:
        plain = await records.preparer.open_details(tenant_id, leaf.request, leaf.operation, row.details)
    except KeyMissing as missing:
        raise Gone(f"what entry {row.index} said was erased") from missing
    return _decode(plain)
