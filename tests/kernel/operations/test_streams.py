"""Open streams: who may go on is asked once per key and permission, and every end is noted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.interfaces.http.test_live import Fake
from tests.kernel.jobs.world import until
from tests.kernel.operations.notes import Told
from thane.kernel.errors import Denied, QueryFailed, ThaneError, Unauthorized, Unavailable
from thane.kernel.operations.call import Call
from thane.kernel.operations.declare import Effect, Example, operation
from thane.kernel.operations.registry import Operations, RefusedDeclaration
from thane.kernel.operations.streams import OpenStreams
from thane.kernel.ports.identity import Identified


class Guarded:
    """Streams with a gate that is shut per bearer."""

    def __init__(self, **options: Any) -> None:
        self.shut: dict[str | None, ThaneError] = {}
        self.asked: list[str | None] = []
        self.over: list[tuple[str | None, str]] = []
        self.streams = OpenStreams(self._again, self._ended, **options)

    async def _again(self, call: Call) -> None:
        self.asked.append(call.bearer)
        if call.bearer in self.shut:
            raise self.shut[call.bearer]

    def _ended(self, call: Call, reason: str) -> None:
        self.over.append((call.bearer, reason))


def call(bearer: str | None, needs: str = "notes.list", identified: Identified | None = None) -> Call:
    bound = SimpleNamespace(needs=needs, declaration=SimpleNamespace(needs_of=None))
    return Call(operation=cast("Any", bound), request_id="req_1", bearer=bearer, identified=identified)


async def test_a_key_that_no_longer_holds_ends_its_streams_and_no_others() -> None:
    house = Guarded()
    a, b, c, owner = Fake(), Fake(), Fake(), Fake()
    trusted = cast("Identified", object())
    async with (
        house.streams.hold(call("a"), a),
        house.streams.hold(call("a"), b),
        house.streams.hold(call("c"), c),
        house.streams.hold(call(None, identified=trusted), owner),
    ):
        await house.streams.look()
        assert house.asked == ["a", "c"]
        house.shut = {"a": Unauthorized("the key was revoked"), "c": QueryFailed("the store is busy")}
        await house.streams.look()
        assert (a.reason, b.reason, c.reason, owner.reason) == ("unauthorized", "unauthorized", None, None)
        house.shut = {"c": Denied("no longer")}
        await house.streams.look()
        assert c.reason == "denied"
        assert len(house.streams) == 4
    assert house.over == [(None, "hung_up"), ("c", "denied"), ("a", "unauthorized"), ("a", "unauthorized")]
    assert all(stream.closed for stream in (a, b, c, owner))
    await house.streams.close()


async def test_the_watchman_looks_by_itself_and_the_end_is_told_to_all() -> None:
    house = Guarded(recheck_seconds=0.01)
    stream = Fake()
    async with house.streams.hold(call("a"), stream):
        house.shut = {"a": Unauthorized("the key has expired")}
        await until(lambda: stream.reason == "unauthorized")
        other = Fake()
        async with house.streams.hold(call("b"), other):
            house.streams.stop()
            assert other.reason == "stopping"
    await house.streams.close()


async def test_there_is_room_for_so_many() -> None:
    house = Guarded(most=1)
    house.streams.check_room()
    async with house.streams.hold(call("a"), Fake()):
        with pytest.raises(Unavailable) as full:
            house.streams.check_room()
        assert full.value.retry_after
    house.streams.check_room()
    await house.streams.close()


def test_only_what_reads_may_be_a_stream() -> None:
    from tests.kernel.operations.notes import Nothing

    async def changes(service: object, unit: object, request: Nothing) -> Told:
        """Change something, and stream."""
        raise NotImplementedError

    changes.__annotations__ = {"request": Nothing, "return": Told}
    declared = operation(
        "notes.stream",
        http="POST /stream",
        needs="x.y",
        effect=Effect.RECORDS,
        example=Example(),
        streams=(Told,),
    )(changes)
    with pytest.raises(RefusedDeclaration, match="is a stream"):
        Operations().bind(object(), declared)
