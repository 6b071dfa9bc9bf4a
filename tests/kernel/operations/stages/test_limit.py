"""Limits are taken by address before anything else, then by principal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.operations.house import House
from thane.kernel.context import Principal
from thane.kernel.errors import RateLimited, Unauthorized


class Counting:
    """Refuses the second request of an address and the third of a principal."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.principals: list[str] = []

    async def take_address(self, ip: str | None, operation: str) -> None:
        self.addresses.append(str(ip))
        if self.addresses.count("192.0.2.1") > 1:
            raise RateLimited("too fast", retry_after=3)

    async def take_principal(self, principal: Principal, operation: str) -> None:
        self.principals.append(principal.id)
        if len(self.principals) > 2:
            raise RateLimited("too fast", retry_after=3)


async def test_an_address_is_limited_before_its_key_is_looked_at(tmp_path: Path) -> None:
    limits = Counting()
    house = await House.build(tmp_path, limits=limits)
    with pytest.raises(Unauthorized):
        await house.ask("notes.list", bearer="wrong", ip="192.0.2.1")
    with pytest.raises(RateLimited):
        await house.ask("notes.list", ip="192.0.2.1")
    assert limits.principals == []
    assert [row.code for row in await house.access()] == ["unauthorized", "rate_limited"]
    await house.close()


async def test_a_principal_is_limited_whatever_its_address(tmp_path: Path) -> None:
    limits = Counting()
    house = await House.build(tmp_path, limits=limits)
    await house.ask("notes.list", ip="192.0.2.2")
    await house.ask("notes.list")
    with pytest.raises(RateLimited):
        await house.ask("notes.list", ip="192.0.2.3")
    assert limits.addresses == ["192.0.2.2", "192.0.2.3"], "the folder's own socket has no address"
    await house.close()
