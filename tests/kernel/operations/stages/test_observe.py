"""What is told afterwards: access rows in bounded memory, figures by operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kernel.operations.house import TENANT, House
from tests.kernel.operations.notes import Broken
from thane.kernel.errors import NotFound
from thane.kernel.operations.access import AccessLog
from thane.kernel.operations.meters import Meters
from thane.kernel.records.engine import WriteSet
from thane.kernel.telemetry import Telemetry


class Told:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str | None]] = []
        self.dropped = 0

    def answered(self, operation: str, status: int, code: str | None, seconds: float) -> None:
        assert seconds > 0
        self.seen.append((operation, status, code))

    def access_rows_dropped(self, count: int) -> None:
        self.dropped += count


async def test_reads_leave_access_rows_and_changes_do_not(house: House) -> None:
    made = await house.ask("notes.create", {"title": "Milk"})
    await house.ask("notes.get", path={"note_id": made.resource}, ip="192.0.2.1", user_agent="curl")
    (row,) = await house.access()
    assert (row.operation, row.resource_type, row.resource_id) == ("notes.get", "notes", made.resource)
    assert (row.user_id, row.ip_address, row.user_agent, row.status) == ("usr_1", "192.0.2.1", "curl", 200)


async def test_every_end_of_a_request_is_observed(tmp_path: Path) -> None:
    observer = Told()
    house = await House.build(tmp_path, observer=observer)
    await house.ask("notes.ping")
    with pytest.raises(NotFound):
        await house.ask("notes.get", path={"note_id": "nte_1"})
    house.service.runs = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        await house.ask("notes.create", {"title": "x"})
    assert observer.seen == [
        ("notes.ping", 200, None),
        ("notes.get", 404, "not_found"),
        ("notes.create", 500, "internal"),
    ]
    assert [r.code for r in await house.access()] == ["not_found", "internal"]
    await house.close()


async def test_access_rows_that_cannot_be_kept_are_counted(house: House) -> None:
    observer = Told()

    class Full:
        def ride(self, write_set: WriteSet) -> None:
            raise Broken("no more")

    engine: Any = Full()
    log = AccessLog(engine, house.records.ids, observer, most=3)
    for _ in range(5):
        log.note(house.make("notes.list"), 200, None, 0)
    assert observer.dropped == 2
    log.flush()
    assert observer.dropped == 5


async def test_many_reads_become_few_write_sets(house: House) -> None:
    rides: list[WriteSet] = []
    ride = house.engine.ride

    def spy(write_set: WriteSet) -> None:
        rides.append(write_set)
        ride(write_set)

    house.engine.ride = spy  # type: ignore[method-assign]
    for _ in range(100):
        await house.ask("notes.list")
    assert len(await house.access()) == 100
    assert len(rides) <= 5
    assert {w.tenant_id for w in rides} == {TENANT}


def test_meters_count_by_operation_and_code() -> None:
    telemetry = Telemetry()
    meters = Meters(telemetry)
    meters.answered("notes.ping", 200, None, 0.001)
    meters.answered("notes.ping", 404, "not_found", 0.001)
    meters.access_rows_dropped(2)
    families = {f.name: f for f in telemetry.families()}
    dropped = families["thane_access_rows_dropped_total"].children()
    assert [child.value for _, child in dropped] == [2]  # type: ignore[union-attr]
