"""The step algebra on a real store: there, back and there again, on tables that hold rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
import pytest

from tests.store.entities import Status
from tests.store.world import World
from thane.kernel.errors import MigrationFailed
from thane.kernel.records import Field, Index, Record, col, entity, field, key, ref, schema_of
from thane.kernel.records.engine import Selection
from thane.kernel.records.keys import SubjectKeyRow
from thane.kernel.records.predicate import Predicate
from thane.kernel.records.schema import FieldSchema, IndexSchema, Kind, OnDelete, Schema
from thane.kernel.records.steps import (
    AddField,
    CreateIndex,
    CreateTable,
    DropField,
    DropIndex,
    DropTable,
    Step,
    difference,
    digest,
    reverse,
)


class Phase(StrEnum):
    ONE = "one"
    TWO = "it's"


@entity("things", "thg", Index("name", unique=True), history=False, scoped=False)
class Before(Record):
    id: Field[str] = key()
    name: Field[str] = field()
    old: Field[str | None] = field(default=None)
    thing_id: Field[str | None] = ref("things")


@entity(
    "things",
    "thg",
    Index("name", "amount DESC"),
    Index("phase", unique=True, where=col("phase") == Phase.TWO, name="ux_things_two"),
    history=False,
    scoped=False,
)
class After(Record):
    id: Field[str] = key()
    name: Field[str] = field()
    thing_id: Field[str | None] = ref("things")
    amount: Field[Decimal] = field(default=Decimal("-1.5"), precision=12, scale=4)
    phase: Field[Phase] = field(default=Phase.ONE)
    flag: Field[bool] = field(default=True)
    many: Field[dict[str, object]] = field(default_factory=dict)
    raw: Field[bytes] = field(default=b"\x00\xff")
    note: Field[str | None] = field(default=None)
    mail: Field[str | None] = field(default=None, sealed=True, blind_index=True)


@entity("others", "oth", Index("thing_id"), history=False, scoped=False)
class Other(Record):
    id: Field[str] = key()
    thing_id: Field[str] = ref("things")
    text: Field[str | None] = field(default=None, text=True)


KEYS = schema_of(SubjectKeyRow)
OLD: tuple[Schema, ...] = (KEYS, schema_of(Before))
NEW: tuple[Schema, ...] = (KEYS, schema_of(After), schema_of(Other))


async def apply(world: World, steps: Sequence[Step], schemas: Sequence[Schema]) -> None:
    """Run the steps, and open the store as a program with these schemas does."""
    await world.engine.apply_steps(steps, digest(schemas))
    world.registry = type(world.registry)()
    for schema in schemas:
        world.registry.add(schema)
    await world.reopen()


async def put(world: World, *records: Any) -> None:
    async def handler(unit: Any) -> None:
        for record in records:
            unit.create(record)

    await world.housekeep(handler)


async def rows(world: World, cls: type[Any]) -> dict[str, Any]:
    found = await world.engine.select(Selection(schema=schema_of(cls), tenant_id=None))
    return {s.record.id: s.record for s in found}


async def test_there_and_back_and_there_again_with_rows_in_the_tables(unborn: World) -> None:
    world = unborn
    steps, back = difference(OLD, NEW), reverse(difference(OLD, NEW))
    assert {type(s) for s in steps} == {AddField, DropField, CreateIndex, DropIndex, CreateTable}
    assert {type(s) for s in back} == {AddField, DropField, CreateIndex, DropIndex, DropTable}
    await apply(world, difference((), OLD), OLD)

    async def begin(unit: Any) -> None:
        unit.create_subject(world.a)

    await world.housekeep(begin)
    await put(
        world,
        Before(id="thg_1", name="a", old="x", thing_id=None),
        Before(id="thg_2", name="b", thing_id="thg_1"),
    )

    await apply(world, steps, NEW)
    found = await rows(world, After)
    expected = After(id="thg_1", name="a", thing_id=None)
    assert found["thg_1"] == msgspec.structs.replace(expected, version=1)  # type: ignore[type-var]
    assert found["thg_1"].amount == Decimal("-1.5")
    assert (found["thg_2"].thing_id, found["thg_2"].raw, found["thg_2"].phase) == (
        "thg_1",
        b"\x00\xff",
        Phase.ONE,
    )
    await put(
        world,
        After(id="thg_3", name="c", thing_id=None, phase=Phase.TWO),
        Other(id="oth_1", thing_id="thg_1"),
    )
    with pytest.raises(Exception, match="ux_things_two"):
        await put(world, After(id="thg_4", name="d", thing_id=None, phase=Phase.TWO))

    await apply(world, back, OLD)
    old = await rows(world, Before)
    assert {(r.id, r.name, r.old, r.thing_id) for r in old.values()} == {
        ("thg_1", "a", None, None),
        ("thg_2", "b", None, "thg_1"),
        ("thg_3", "c", None, None),
    }
    with pytest.raises(Exception, match="ux_things_name"):
        await put(world, Before(id="thg_5", name="a", thing_id=None))

    await apply(world, steps, NEW)
    assert set(await rows(world, After)) == {"thg_1", "thg_2", "thg_3"}
    assert await rows(world, Other) == {}
    await put(world, Other(id="oth_2", thing_id="thg_3", text="findable"))


async def test_everything_can_be_made_and_taken_away(world: World) -> None:
    everything = world.registry.all()
    await world.boxed(title="x")
    down = difference(everything, ())
    await world.engine.apply_steps(reverse(difference((), everything)), "down")
    await world.engine.apply_steps(difference((), everything), "up")
    await world.engine.apply_steps(down, "down")
    await world.engine.apply_steps(reverse(down), "up")
    await world.reopen()
    for tenant_id in (world.a, world.b):
        await world.begin(tenant_id)
    assert (await world.boxed(title="x")).version == 1


def test_a_way_back_is_the_way_there_reversed() -> None:
    steps = difference(OLD, NEW)
    assert reverse(reverse(steps)) == steps
    assert difference(NEW, NEW) == ()
    assert difference((), ()) == ()


def test_what_others_depend_on_goes_last_and_comes_first() -> None:
    @entity("a", "aaa", history=False, scoped=False)
    class A(Record):
        id: Field[str] = key()

    @entity("b", "bbb", Index("a_id"), history=False, scoped=False)
    class B(Record):
        id: Field[str] = key()
        a_id: Field[str | None] = ref("a")

    @entity("b", "bbb", history=False, scoped=False)
    class Bare(Record):
        id: Field[str] = key()

    a, b, bare = schema_of(A), schema_of(B), schema_of(Bare)
    assert [type(s) for s in difference((a, b), (bare,))] == [DropIndex, DropField, DropTable]
    assert [type(s) for s in difference((bare,), (a, b))] == [CreateTable, AddField, CreateIndex]
    assert [type(s) for s in difference((a, b), ())] == [DropIndex, DropTable, DropTable]


async def test_a_step_that_fails_leaves_all_as_it_was(world: World) -> None:
    before = await world.engine.schema_digest()
    box = await world.boxed()
    boxes = next(s for s in world.registry.all() if s.table == "boxes")
    fine = CreateTable(schema_of(Other))
    bad: list[Step] = [
        CreateTable(boxes),
        DropTable(schema_of(Before)),
        DropField(boxes, FieldSchema(name="nothing", kind=Kind.TEXT)),
        CreateIndex(boxes, IndexSchema(name="ux_all", columns=("status",), unique=True)),
        CreateIndex(
            boxes, IndexSchema(name="ix_odd", columns=("name",), where=Predicate(("<", "number"), (1,)))
        ),
        AddField(boxes, FieldSchema(name="must", kind=Kind.TEXT)),
    ]
    await world.boxed()
    for step in bad:
        with pytest.raises(MigrationFailed):
            await world.engine.apply_steps([fine, step], "never")
        assert await world.engine.schema_digest() == before
        assert await world.get(box) == box
    await world.boxed()
    await world.engine.apply_steps([fine], "now")
    assert await world.engine.schema_digest() == "now"


async def test_a_table_with_rows_that_are_referred_to_does_not_go(world: World) -> None:
    await world.boxed()
    users = next(s for s in world.registry.all() if s.table == "users")
    with pytest.raises(MigrationFailed):
        await world.engine.apply_steps([DropTable(users)], "never")
    await world.boxed()


async def test_an_empty_store_has_no_digest_and_a_made_one_keeps_its_own(unborn: World) -> None:
    assert await unborn.engine.schema_digest() is None
    await unborn.found()
    expected = digest(unborn.registry.all())
    assert await unborn.engine.schema_digest() == expected
    await unborn.reopen()
    assert await unborn.engine.schema_digest() == expected


def test_the_digest_changes_with_the_declaration() -> None:
    seen = {digest(OLD), digest(NEW), digest((schema_of(After),)), digest(())}
    base = schema_of(Before)
    name = base.by_name["name"]

    def with_field(**changes: Any) -> Schema:
        changed = FieldSchema(**({f: getattr(name, f) for f in name.__struct_fields__} | changes))
        return _replace(base, fields=tuple(changed if f is name else f for f in base.fields))

    variants = [
        with_field(nullable=True),
        with_field(kind=Kind.JSON),
        with_field(choices=("a",)),
        with_field(scale=2),
        with_field(precision=20),
        with_field(references="others"),
        with_field(edge="owns"),
        with_field(sealed=True),
        with_field(blind_index=True),
        with_field(text=True),
        with_field(secret=True),
        _replace(base, version=2),
        _replace(base, prefix="oth"),
        _replace(base, scoped=True),
        _replace(base, history=True),
        _replace(base, counter=True),
        _replace(base, stream="name"),
        _replace(base, subject="name"),
        _replace(base, indexes=()),
        _replace(base, indexes=(IndexSchema(name="ux_things_name", columns=("name",)),)),
        _replace(base, indexes=(IndexSchema(name="i", columns=("name",), where=col("name") == Status.NEW),)),
        _replace(base, fields=tuple(reversed(base.fields))),
    ]
    seen |= {digest((schema,)) for schema in variants}
    assert len(seen) == 4 + len(variants)


def test_the_digest_does_not_see_what_only_python_needs() -> None:
    base = schema_of(Before)
    python = [
        FieldSchema(
            **(
                {f: getattr(known, f) for f in known.__struct_fields__}
                | {"python_type": bytes, "has_default": True, "default": "x"}
            )
        )
        for known in base.fields
    ]
    assert digest((KEYS, _replace(base, fields=tuple(python), make=None, read=None))) == digest(OLD)
    assert digest(NEW) == digest(tuple(reversed(NEW)))


def _replace(schema: Schema, **changes: Any) -> Schema:
    return Schema(**({f: getattr(schema, f) for f in schema.__struct_fields__} | changes))


@pytest.mark.parametrize(
    ("extra", "history", "why"),
    [
        (FieldSchema(name="x", kind=Kind.TEXT), False, "no default"),
        (FieldSchema(name="x", kind=Kind.TEXT, has_default=True, default=""), True, "digests"),
        (FieldSchema(name="x", kind=Kind.TEXT, nullable=True, text=True), False, "searchable"),
        (FieldSchema(name="name", kind=Kind.INTEGER), False, "changed in place"),
    ],
)
def test_what_no_step_can_do_asks_for_a_written_migration(
    extra: FieldSchema, history: bool, why: str
) -> None:
    base = _replace(schema_of(Before), history=history)
    kept = tuple(f for f in base.fields if f.name != extra.name)
    with pytest.raises(ValueError, match=why):
        difference((base,), (_replace(base, fields=(*kept, extra), indexes=()),))


def test_contradictions_in_a_declaration_are_refused() -> None:
    base = schema_of(Before)
    text = FieldSchema(name="x", kind=Kind.TEXT)

    def field_of(**changes: Any) -> Schema:
        made = FieldSchema(**({f: getattr(text, f) for f in text.__struct_fields__} | changes))
        return _replace(base, fields=(*base.fields, made))

    for wrong, why in (
        (_replace(base, counter=True, history=True), "no history"),
        (_replace(base, stream="x", history=True), "no history"),
        (_replace(base, scoped=True), "tenant_id"),
        (_replace(base, indexes=(IndexSchema(name="i", columns=("nothing",)),)), "unknown field"),
        (field_of(blind_index=True), "sealed"),
        (field_of(text=True, kind=Kind.INTEGER), "searchable"),
        (field_of(text=True, sealed=True), "searchable"),
        (field_of(sealed=True, kind=Kind.DECIMAL), "sealed"),
        (_replace(field_of(on_delete=OnDelete.CASCADE, references="things"), history=True), "history"),
    ):
        with pytest.raises(TypeError, match=why):
            wrong.check()
