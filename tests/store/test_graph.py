"""Traversal: along named edges, both ways, each row once, within the tenant."""

from __future__ import annotations

import pytest

from tests.store.entities import Box, Part, User
from tests.store.world import World
from thane.kernel.errors import Invalid
from thane.kernel.records import Unit


async def build(world: World, tenant_id: str) -> tuple[User, list[Box], list[Part]]:
    """One user who owns two boxes, which hold two parts each; and a box of nobody's."""
    user = world.users[tenant_id]
    boxes = [world.box(tenant_id, number=n) for n in range(2)]
    parts = [
        Part(id=world.ids.new("prt"), tenant_id=tenant_id, box_id=box.id, weight=n)
        for box in boxes
        for n in (1, 2)
    ]

    async def make(unit: Unit) -> None:
        unit.create_many([*boxes, world.box(tenant_id, user_id=None)])
        unit.create_many(parts)

    await world.run(make, tenant_id)
    return user, boxes, parts


async def test_edges_lead_forward_and_back(world: World) -> None:
    user, boxes, parts = await build(world, world.a)
    await build(world, world.b)

    async def look(unit: Unit) -> None:
        def ids(rows: list[Box] | list[Part] | list[User]) -> list[str]:
            return [row.id for row in rows]

        assert ids(await unit.traverse(User, user.id, "owns")) == sorted(b.id for b in boxes)
        assert ids(await unit.traverse(User, user.id, "owns", "holds")) == sorted(p.id for p in parts)
        assert ids(await unit.traverse(Box, boxes[0].id, "holds")) == sorted(p.id for p in parts[:2])
        assert ids(await unit.traverse(Part, parts[0].id, "~holds")) == [boxes[0].id]
        assert ids(await unit.traverse(Part, parts[0].id, "~holds", "~owns")) == [user.id]
        # There and back: each row once.
        assert ids(await unit.traverse(Part, parts[0].id, "~holds", "holds")) == sorted(
            p.id for p in parts[:2]
        )
        assert ids(await unit.traverse(User, user.id, "owns", "~owns")) == [user.id]
        assert (
            ids(await unit.traverse(User, user.id, "owns", "holds", limit=3))
            == sorted(p.id for p in parts)[:3]
        )

    await world.read(look)


async def test_rows_at_the_end_are_whole(world: World) -> None:
    user, boxes, _ = await build(world, world.a)

    async def look(unit: Unit) -> None:
        assert await unit.traverse(User, user.id, "owns") == [await unit.get(Box, b.id) for b in boxes]
        assert await unit.traverse(Box, boxes[0].id, "~owns") == [user]  # sealed fields in the plain

    await world.read(look)


async def test_from_nowhere_no_edge_leads_anywhere(world: World) -> None:
    await build(world, world.a)

    async def look(unit: Unit) -> None:
        assert await unit.traverse(User, "usr_0", "owns") == []
        assert await unit.traverse(User, "ü", "owns") == []
        for cls, edges in (
            (User, ("holds",)),
            (User, ("~owns",)),
            (Box, ("owns",)),
            (User, ("owns", "runs")),
        ):
            with pytest.raises(Invalid, match="no edge"):
                await unit.traverse(cls, "x", *edges)

    await world.read(look)
