"""The spool keeps an outcome whole or not at all, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.kernel.operations.house import TENANT, House
from thane.kernel.operations.spool import Spool, Spooled, SpoolRefused
from thane.kernel.sealing.errors import SealedCorrupt, SealingError


def item(index: int = 7) -> Spooled:
    return Spooled(TENANT, index, "deeds.do", msgspec.Raw(b'{"text":"plain"}'))


@pytest.fixture
def spool(house: House) -> Spool:
    return house.pipeline.settler.spool


async def test_what_is_put_is_got_and_dropped(house: House, spool: Spool) -> None:
    assert await spool.waiting() == []
    assert await spool.get(TENANT, 7) is None
    await spool.put(item(), "usr_1")
    await spool.put(item(3), "usr_1")
    assert await spool.waiting() == [(TENANT, 3), (TENANT, 7)]
    found = await spool.get(TENANT, 7)
    assert found is not None
    assert bytes(found.outcome) == b'{"text":"plain"}'
    (one, two) = sorted((house.folder / "spool").iterdir())
    assert b"plain" not in one.read_bytes() + two.read_bytes()
    assert (house.folder / "spool").stat().st_mode & 0o777 == 0o700
    await spool.drop(TENANT, 7)
    await spool.drop(TENANT, 7)
    assert await spool.waiting() == [(TENANT, 3)]


async def test_a_file_cannot_be_passed_off_as_anothers(house: House, spool: Spool) -> None:
    await spool.put(item(), "usr_1")
    folder = house.folder / "spool"
    (folder / f"{TENANT}-7.outcome").rename(folder / f"{TENANT}-8.outcome")
    with pytest.raises(SealedCorrupt):
        await spool.get(TENANT, 8)


async def test_names_that_are_not_the_spools_are_left_alone(house: House, spool: Spool) -> None:
    folder = house.folder / "spool"
    folder.mkdir()
    for name in ("readme.txt", ".tnt-7.outcome", "no-index.outcome", "x.outcome"):
        (folder / name).write_text("")
    assert await spool.waiting() == []


async def test_a_spool_that_cannot_be_used_is_told(house: House, spool: Spool) -> None:
    (house.folder / "spool").write_text("no folder")
    for attempt in (spool.waiting(), spool.get(TENANT, 1), spool.drop(TENANT, 1), spool.put(item(), "usr_1")):
        with pytest.raises(SpoolRefused):
            await attempt


async def test_without_a_key_there_is_no_spooling(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(SealingError):
        await spool.put(item(), "usr_unknown")
