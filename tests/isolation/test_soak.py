"""Many executions and sandboxes leave nothing behind: no process, descriptor, mount, group, file or memory.

The short version is part of every run. The long one, 10 000 executions and 200
sandboxes: `pytest tests/isolation/test_soak.py --soak -s`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.isolation.jailing import MB, Run, family, is_alive, job, program_pid, run_job
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import Job, Outcome, Tier

pytestmark = pytest.mark.anyio

_SHORT, _LONG = (200, 20), (10_000, 200)  # executions, sandboxes
AT_ONCE = 16
_WARM_UP = 32
_MEMORY_SLACK = 8 * MB


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="thane-soak-") as name:
        yield Path(name)


@dataclass(frozen=True)
class Holdings:
    """What the program holds at one moment."""

    processes: int  # its children and theirs, zombies too
    descriptors: int
    mounts: int
    groups: int
    files: int  # entries in its folder, as it sees them
    memory: int  # private, of it and its zygote

    @classmethod
    def of(cls, pid: int) -> Holdings:
        stage = next(Path("/tmp").glob(f"thane-isolation-{pid}-*"))
        inside = Path(f"/proc/{pid}/root{stage}")
        groups = sum(
            entry.startswith("jail-")
            for path, names, _ in os.walk("/sys/fs/cgroup")
            if f"thane-isolation-{pid}-" in path
            for entry in names
        )
        return cls(
            processes=len(family(pid)),
            descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            mounts=len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
            groups=groups,
            files=sum(1 for _ in inside.glob("jobs/*")) + sum(1 for _ in inside.glob("code/*")),
            memory=private(pid),
        )


def private(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def settled(pid: int, expected: Holdings | None = None) -> Holdings:
    """The holdings once they are as expected, or once two looks agree; bounded."""
    deadline = time.monotonic() + 20
    last = Holdings.of(pid)
    while time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        now = Holdings.of(pid)
        wanted = expected or last
        if same(now, wanted):
            return now
        last = now
    return last


def same(one: Holdings, other: Holdings) -> bool:
    return all_but_memory(one) == all_but_memory(other)


def all_but_memory(holdings: Holdings) -> tuple[int, ...]:
    """All but memory, which is compared by itself."""
    return (
        holdings.processes,
        holdings.descriptors,
        holdings.mounts,
        holdings.groups,
        holdings.files,
    )


async def use_sandbox(client: IsolationClient, number: int) -> None:
    for context in ("a", "b"):
        what = msgspec.structs.replace(
            job(f"x = {number}; print(x)", context=context), sandbox_id=f"s{number}"
        )
        result = await run_job(client, what)
        assert result.stdout == f"{number}\n".encode(), result
    await client.close_sandbox(f"s{number}")


async def many(client: IsolationClient, jobs: list[Job]) -> list[Run]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(what: Job) -> Run:
        async with gate:
            return await run_job(client, what)

    return list(await asyncio.gather(*(one(what) for what in jobs)))


async def test_nothing_is_left_behind(folder: Path, tier: Tier, pytestconfig: pytest.Config) -> None:
    executions, sandboxes = _LONG if pytestconfig.getoption("--soak") else _SHORT
    arguments = ("--idle", "0.3", "--force-tier", str(tier), "--jails-per-zygote", "100")
    client = IsolationClient(folder / "i.sock", folder / "i.log", 2, "soak", program_arguments=arguments)
    await many(client, [job("print(1)", collect=False) for _ in range(_WARM_UP)])
    pid = program_pid(folder / "i.sock")
    before = await settled(pid)
    began = time.monotonic()
    for start in range(0, executions, 200):
        count = min(200, executions - start)
        runs = await many(client, [job(f"print({n})", collect=False) for n in range(count)])
        assert [run.stdout for run in runs] == [f"{n}\n".encode() for n in range(count)]
        assert {run.verdict.outcome for run in runs} == {Outcome.COMPLETED}
    if tier not in (Tier.T1, Tier.T3):
        for start in range(0, sandboxes, 10):
            await asyncio.gather(*(use_sandbox(client, number) for number in range(start, start + 10)))
    took = time.monotonic() - began
    after = await settled(pid, before)
    print(f"\n{executions} executions, {sandboxes} sandboxes in {took:.1f} s\n  {before}\n  {after}")
    assert same(before, after), (before, after)
    remembered = (executions + 2 * sandboxes) * 4096  # verdicts are kept for ten minutes
    assert after.memory < before.memory + _MEMORY_SLACK + remembered
    await client.close()
    deadline = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert not is_alive(pid)


async def test_a_greedy_share_delays_another_by_its_own_share_only(folder: Path, best_tier: Tier) -> None:
    """Sixty jobs wait for two slots; one of another share is through before four of them have ended."""
    arguments = ("--idle", "0.3", "--force-tier", str(best_tier))
    client = IsolationClient(folder / "i.sock", folder / "i.log", 2, "fair", program_arguments=arguments)
    ended: list[str] = []

    async def one(share: str) -> None:
        assert (await run_job(client, job("print(1)", share=share, collect=False))).stdout == b"1\n"
        ended.append(share)

    await client.start()
    greedy = [asyncio.create_task(one("greedy")) for _ in range(60)]
    while not ended:
        await asyncio.sleep(0)
    already = len(ended)
    await one("modest")
    assert ended.index("modest") - already <= 4, ended
    await asyncio.gather(*greedy)
    await client.close()
