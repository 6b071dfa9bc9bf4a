"""A jail that ends at once is reaped like any other, however quick it is."""

from __future__ import annotations

import asyncio

import pytest

from tests.isolation.jailing import run
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import Outcome

pytestmark = pytest.mark.anyio

# A grandchild of its own session is left behind; the program ends while the jail is still being handed on.
QUICK = "import os\nif os.fork() == 0:\n    os.setsid()\n    os._exit(0)\nos._exit(3)\n"


async def test_none_of_many_quick_ends_is_lost(client: IsolationClient) -> None:
    async def worker() -> list[tuple[Outcome, int]]:
        verdicts = [(await run(client, QUICK)).verdict for _ in range(25)]
        return [(v.outcome, v.exit_code) for v in verdicts]

    ends = await asyncio.gather(*(worker() for _ in range(8)))
    assert {end for worker_ends in ends for end in worker_ends} == {(Outcome.FAILED, 3)}
