"""One key, one effect: replays, other bodies, races, scope, expiry, secrets, erasure."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.kernel.operations.house import TENANT, House
from tests.kernel.operations.notes import Note
from thane.kernel.errors import Gone, IdempotencyReused, Invalid
from thane.kernel.operations.stages.idempotency import LIFETIME_US


async def test_a_replay_is_the_same_bytes_and_does_nothing(house: House) -> None:
    first = await house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1")
    again = await house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.body, again.status, again.version, again.index) == (first.body, 201, 1, 0)
    assert again.leaf_hash == first.leaf_hash
    assert house.service.runs == 1
    assert len(await house.entries()) == 1
    assert [row.status for row in await house.access()] == [201], (
        "a replay is a read and leaves an access row"
    )


async def test_another_spelling_of_the_same_request_is_the_same(house: House) -> None:
    await house.ask("notes.create", b'{"title":"Milk","price":1.50}', idempotency_key="k1")
    again = await house.ask("notes.create", b'{ "price": "1.50", "title": "Milk" }', idempotency_key="k1")
    assert again.replayed


async def test_another_body_is_refused(house: House) -> None:
    await house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1")
    with pytest.raises(IdempotencyReused):
        await house.ask("notes.create", {"title": "Bread"}, idempotency_key="k1")


async def test_a_race_for_one_key_has_one_effect(house: House) -> None:
    asked = [house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1") for _ in range(20)]
    replies = await asyncio.gather(*asked)
    assert len({r.body for r in replies}) == 1
    assert sum(not r.replayed for r in replies) == 1
    assert len(await house.records.across(Note)) == 1
    assert len(await house.entries()) == 1


async def test_a_key_belongs_to_a_principal_and_an_operation(house: House) -> None:
    await house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1")
    await house.ask("notes.ping", idempotency_key="k1")
    stranger = await house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1", bearer="stranger")
    assert not stranger.replayed


async def test_a_refused_request_leaves_its_key_free(house: House) -> None:
    await house.ask("notes.create", {"title": "Milk"})
    with pytest.raises(Exception, match="exists"):
        await house.ask("notes.create", {"title": "Milk"}, idempotency_key="k1")
    assert not (await house.ask("notes.create", {"title": "Bread"}, idempotency_key="k1")).replayed


async def test_after_a_day_the_key_is_new(house: House) -> None:
    await house.ask("notes.ping", idempotency_key="k1")
    house.clock.ahead_us += LIFETIME_US + 1_000_000
    assert not (await house.ask("notes.ping", idempotency_key="k1")).replayed
    assert (await house.ask("notes.ping", idempotency_key="k1")).index == 1


async def test_secrets_are_shown_once_and_never_stored(house: House) -> None:
    body = {"name": "db", "password": "hunter2"}
    first = await house.ask_json("secrets.create", body, idempotency_key="k1")
    assert first["token"] == "tok-hunter2"
    again = await house.ask_json("secrets.create", body, idempotency_key="k1")
    assert again == {"id": first["id"], "name": "db", "secret_shown": True}
    with pytest.raises(IdempotencyReused):
        await house.ask("secrets.create", {"name": "db", "password": "hunter3"}, idempotency_key="k1")
    (row,) = await house.engine.entries(TENANT, 0, 10)
    leaf = msgspec.json.decode(row.leaf)
    assert row.details is not None
    plain = await house.records.preparer.open_details(TENANT, leaf["request"], leaf["operation"], row.details)
    assert b"hunter2" not in plain
    assert msgspec.json.decode(plain)["args"] == {"name": "db"}


async def test_a_blanked_entry_is_gone(house: House) -> None:
    await house.ask("notes.ping", idempotency_key="k1")
    await house.engine.blank(TENANT, 0, (), True)
    with pytest.raises(Gone):
        await house.ask("notes.ping", idempotency_key="k1")


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
async def test_a_key_that_is_none_is_refused(house: House, key: str) -> None:
    with pytest.raises(Invalid):
        await house.ask("notes.ping", idempotency_key=key)
