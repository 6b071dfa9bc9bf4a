"""Sealed fields: ciphertext on the disk, plain to who may read, found by their blind index."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.entities import User
from tests.store.world import World
from thane.kernel.records import Unit, schema_of
from thane.kernel.records.engine import Stored
from thane.kernel.sealing.commitment import commitment_of
from thane.kernel.sealing.errors import KeyMissing

EMAIL = "someone.unmistakable@example.com"
SECRETS = {"email": EMAIL, "phone": "+49 30 1234567890", "picture": b"\x89PNG unmistakable"}


async def make(world: World, **values: Any) -> User:
    async def handler(unit: Unit) -> User:
        return unit.create(User(id=unit.new_id(User), tenant_id=world.a, **(SECRETS | values)))

    user: User = (await world.run(handler)).value
    return user


async def change(world: World, user: User, **values: Any) -> User:
    async def handler(unit: Unit) -> User:
        return await unit.update(await unit.get(User, user.id), **values)

    changed: User = (await world.run(handler)).value
    return changed


async def stored(world: World, user: User) -> Stored:
    found = await world.engine.fetch(schema_of(User), world.a, user.id)
    assert found is not None
    return found


async def test_sealed_values_are_plain_to_the_unit_and_nowhere_on_the_disk(world: World) -> None:
    user = await make(world, token=b"a hash of a token, unmistakable")

    async def look(unit: Unit) -> User:
        assert await unit.list(User, User.id == user.id) == [await unit.get(User, user.id)]
        return await unit.get(User, user.id)

    assert await world.read(look) == user
    await world.reopen()
    assert await world.read(look) == user
    disk = world.under.stored_bytes()
    if disk is not None:
        assert user.id.encode() in disk  # it is the right disk
        for secret in (EMAIL.encode(), b"1234567890", b"\x89PNG unmistakable"):
            assert secret not in disk


async def test_a_sealed_value_is_found_by_its_blind_index_in_any_tenant(world: World) -> None:
    user = await make(world)
    assert await world.records.identify_blind(User, "email", EMAIL) == user
    assert await world.records.identify_blind(User, "email", EMAIL.upper()) is None
    await change(world, user, email="new@example.com")
    assert await world.records.identify_blind(User, "email", EMAIL) is None
    found = await world.records.identify_blind(User, "email", "new@example.com")
    assert found is not None
    assert found.id == user.id


async def test_an_update_keeps_bytes_and_commitment_of_what_it_does_not_change(world: World) -> None:
    user = await make(world)
    before = (await stored(world, user)).record
    await change(world, user, name="another name", phone="+1", picture=SECRETS["picture"])
    after = (await stored(world, user)).record
    assert (after.email, after.picture) == (before.email, before.picture)
    assert commitment_of(after.phone) != commitment_of(before.phone)
    assert await world.records.identify_blind(User, "email", EMAIL) is not None


async def test_equal_values_look_different_on_the_disk(world: World) -> None:
    one, two = await make(world), await make(world, email="two@example.com")
    a, b = (await stored(world, one)).record, (await stored(world, two)).record
    assert a.phone != b.phone
    assert commitment_of(a.phone) != commitment_of(b.phone)


async def test_a_sealed_value_can_be_null_and_come_back(world: World) -> None:
    user = await make(world, phone=None)
    await change(world, user, phone="+2", picture=None)

    async def look(unit: Unit) -> tuple[str | None, bytes | None]:
        found = await unit.get(User, user.id)
        return found.phone, found.picture

    assert await world.read(look) == ("+2", None)


async def test_bodies_hold_no_secret_and_no_sealed_value(world: World) -> None:
    user = await make(world, token=b"hash")
    entry = (await world.entries())[-1]
    plain = await world.records.preparer.open_body("users", user.id, entry.bodies[0])
    assert b'"email":"' + commitment_of((await stored(world, user)).record.email).hex().encode() in plain
    assert EMAIL.encode() not in plain
    assert b"token" not in plain


async def test_without_its_subjects_key_nothing_is_sealed(world: World) -> None:
    async def handler(unit: Unit) -> None:
        unit.create(world.box("tnt_nobody", user_id=None))

    with pytest.raises(KeyError):
        world.box("tnt_nobody")

    async def keyless(unit: Unit) -> None:
        del unit

    with pytest.raises(KeyMissing):
        await world.run(keyless, "tnt_nobody")
    del handler
