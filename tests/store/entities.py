"""The declarations that the conformance suite stores: every kind of field and of row once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from thane.kernel.records import Field, Index, Record, Registry, col, entity, field, key, ref, schema_of
from thane.kernel.records.keys import SubjectKeyRow
from thane.kernel.records.schema import OnDelete

DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    NEW = "new"
    OPEN = "open"
    SHUT = "shut"


class Limits(msgspec.Struct, frozen=True):
    memory: int = 1
    price: Decimal = Decimal(0)
    tags: tuple[str, ...] = ()


@entity("tenants", "tnt", scoped=False)
class Tenant(Record):
    id: Field[str] = key()
    name: Field[str] = field()


@entity("users", "usr", Index("email", unique=True), Index("tenant_id", "name"))
class User(Record):
    """`email` and `phone` are sealed; `email` is found by its blind index; `token` is in no entry."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    name: Field[str] = field(default="")
    email: Field[str] = field(sealed=True, blind_index=True)
    phone: Field[str | None] = field(default=None, sealed=True)
    picture: Field[bytes | None] = field(default=None, sealed=True)
    token: Field[bytes | None] = field(default=None, secret=True)


@entity(
    "boxes",
    "box",
    Index("tenant_id", "name", unique=True),
    Index("tenant_id", "slot", unique=True, where=col("status") == Status.OPEN, name="ux_boxes_open_slot"),
    Index("tenant_id", "status", "created_at DESC"),
)
class Box(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    user_id: Field[str | None] = ref("users", edge="owns")
    name: Field[str] = field()
    slot: Field[int | None] = field(default=None)
    status: Field[Status] = field(default=Status.NEW)
    number: Field[int] = field(default=0)
    cost: Field[Decimal] = field(default=Decimal(0))
    price: Field[Decimal | None] = field(default=None, precision=12, scale=4)
    open: Field[bool] = field(default=False)
    seen_at: Field[datetime | None] = field(default=None)
    created_at: Field[datetime] = field(default=DAY)
    raw: Field[bytes | None] = field(default=None)
    meta: Field[dict[str, object]] = field(default_factory=dict)
    limits: Field[Limits | None] = field(default=None)
    title: Field[str | None] = field(default=None, text=True)
    code: Field[str | None] = field(default=None, text=True)


@entity("parts", "prt", Index("box_id"))
class Part(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    box_id: Field[str] = ref("boxes", edge="holds")
    weight: Field[int] = field(default=0)


@entity("samples", "smp", Index("box_id", "seq", unique=True), history=False, stream="box_id")
class Sample(Record):
    """A stream: (box, gapless seq), given by its single writer."""

    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    box_id: Field[str] = ref("boxes", on_delete=OnDelete.CASCADE)
    seq: Field[int] = field()
    value: Field[int] = field(default=0)


@entity("tallies", "tly", counter=True, history=False)
class Tally(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    total: Field[Decimal] = field(default=Decimal(0))
    n: Field[int] = field(default=0)
    kinds: Field[dict[str, object]] = field(default_factory=dict)


ENTITIES = (Tenant, User, Box, Part, Sample, Tally, SubjectKeyRow)


def registry() -> Registry:
    found = Registry()
    for declared in ENTITIES:
        found.add(schema_of(declared))
    return found
