"""One entry per change, ETags, If-Match, lists; nothing of a refused request stays."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.kernel.operations.house import TENANT, House
from thane.kernel.errors import AlreadyExists, Invalid, NotFound, PreconditionFailed
from thane.kernel.operations.details import read_details


async def test_an_entry_is_appended_also_when_no_row_changed(house: House) -> None:
    reply = await house.ask("notes.ping", ip="192.0.2.1", user_agent="curl")
    assert reply.index == 0
    leaf, details, leaf_hash = await read_details(house.records, TENANT, 0)
    assert (leaf.kind, leaf.outcome, leaf.changes.count) == ("record", "done", 0)
    assert (details.ip, details.user_agent) == ("192.0.2.1", "curl")
    assert bytes(details.result) == reply.body
    assert leaf_hash.hex() == reply.leaf_hash


async def test_details_hold_what_was_asked_and_answered(house: House) -> None:
    reply = await house.ask("notes.create", {"title": "Milk"})
    _, details, _ = await read_details(house.records, TENANT, 0)
    assert msgspec.json.decode(details.args)["title"] == "Milk"
    assert bytes(details.result) == reply.body


async def test_a_refused_change_leaves_nothing_but_an_access_row(house: House) -> None:
    await house.ask("notes.create", {"title": "Milk"})
    with pytest.raises(AlreadyExists):
        await house.ask("notes.create", {"title": "Milk"})
    assert len(await house.entries()) == 1
    assert [(r.status, r.code) for r in await house.access()] == [(409, "already_exists")]


async def test_a_foreign_row_is_not_found(house: House) -> None:
    made = await house.ask("notes.create", {"title": "Milk"})
    for name, body in (("notes.get", None), ("notes.rename", {"title": "x"}), ("notes.delete", None)):
        with pytest.raises(NotFound):
            await house.ask(name, body, path={"note_id": made.resource}, bearer="stranger")


async def test_if_match_holds_or_fails_whole(house: House) -> None:
    made = await house.ask("notes.create", {"title": "Milk"})
    path = {"note_id": made.resource}
    renamed = await house.ask("notes.rename", {"title": "Bread"}, path=path, if_match=1)
    assert renamed.version == 2
    with pytest.raises(PreconditionFailed, match='"2"'):
        await house.ask("notes.rename", {"title": "Eggs"}, path=path, if_match=1)
    with pytest.raises(PreconditionFailed, match="no single resource"):
        await house.ask("notes.create", {"title": "Eggs"}, if_match=1)
    assert (await house.ask_json("notes.get", path=path))["title"] == "Bread"


async def test_of_two_that_read_the_same_version_one_wins(house: House) -> None:
    made = await house.ask("notes.create", {"title": "Milk"})
    path = {"note_id": made.resource}
    asked = [house.ask("notes.rename", {"title": f"t{i}"}, path=path, if_match=1) for i in range(5)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(r, PreconditionFailed) for r in results) == 4


async def test_without_if_match_all_writers_get_their_turn(house: House) -> None:
    made = await house.ask("notes.create", {"title": "Milk"})
    path = {"note_id": made.resource}
    asked = [house.ask("notes.rename", {"title": f"t{i}"}, path=path) for i in range(5)]
    replies = await asyncio.gather(*asked)
    assert sorted(r.version or 0 for r in replies) == [2, 3, 4, 5, 6]


async def test_a_deletion_answers_nothing_and_leaves_an_entry(house: House) -> None:
    made = await house.ask("notes.create", {"title": "Milk"})
    gone = await house.ask("notes.delete", path={"note_id": made.resource})
    assert (gone.status, gone.body, gone.index) == (204, b"", 1)
    assert (await house.entries())[1]["resource"] == made.resource


async def test_lists_page_filter_sort_and_count(house: House) -> None:
    for i in range(7):
        await house.ask("notes.create", {"title": f"n{i}", "price": str(i)})
    first = await house.ask_json("notes.list", query=[("limit", "3"), ("sort", "-price"), ("total", "true")])
    assert [n["title"] for n in first["items"]] == ["n6", "n5", "n4"]
    assert first["total"] == 7
    more = [("limit", "3"), ("sort", "-price"), ("cursor", first["next_cursor"])]
    second = await house.ask_json("notes.list", query=more)
    assert [n["title"] for n in second["items"]] == ["n3", "n2", "n1"]
    found = await house.ask_json("notes.list", query=[("filter", 'price >= 5 || title = "n0"')])
    assert [n["title"] for n in found["items"]] == ["n6", "n5", "n0"], "the newest first by default"
    assert (await house.ask_json("notes.list", bearer="stranger"))["items"] == []
    with pytest.raises(Invalid):
        await house.ask("notes.list", query=[("starts", "n"), ("cursor", first["next_cursor"])])
    with pytest.raises(Invalid):
        await house.ask("notes.list", query=[("filter", "colour = 1")])
