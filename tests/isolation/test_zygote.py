"""The zygote: what its jails share and what they must not, and that its death hurts nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.isolation.conftest import Programs
from tests.isolation.jailing import Run, is_alive, job, program_pid, run, run_job, wait_until
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import Outcome, OutputChunk, Tier

pytestmark = pytest.mark.anyio


def children_named(parent: int, name: str) -> list[int]:
    """Living children of `parent` whose process name is `name`."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            before, _, after = (entry / "stat").read_text().rpartition(")")
        except OSError:
            continue  # ended between two looks
        if int(after.split()[1]) == parent and before.partition("(")[2] == name and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def the_zygote(program: int) -> int:
    """Its midwives have its name for a moment, and may outlive it by one."""
    wait_until(lambda: len(children_named(program, "thane-zygote")) == 1, "no midwife is under way")
    return children_named(program, "thane-zygote")[0]


@pytest.fixture
def walled(tier: Tier) -> Tier:
    if tier in (Tier.T1, Tier.T3):
        pytest.skip(f"tier {tier} has no zygote")
    return tier


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="thane-zygote-") as name:
        yield Path(name)


def a_client(folder: Path, tier: Tier, *more: str) -> IsolationClient:
    arguments = ("--idle", "0.3", "--force-tier", str(tier), *more)
    return IsolationClient(folder / "i.sock", folder / "i.log", 2, "zygote", program_arguments=arguments)


@pytest.mark.for_others
async def test_its_death_is_made_good_and_running_jobs_go_on(folder: Path, walled: Tier) -> None:
    client = a_client(folder, walled)
    program = None
    result = Run()
    # Endless until told otherwise by its own folder: it is killed only by our cancel.
    what = job("import time\nprint('begun')\nwhile True: time.sleep(0.01)")
    async for event in client.run(what):
        result.take(event)
        if isinstance(event, OutputChunk) and program is None:
            program = program_pid(folder / "i.sock")
            zygote = the_zygote(program)
            os.kill(zygote, signal.SIGKILL)
            others = [await run(client, f"print({number})") for number in range(5)]
            assert [other.stdout for other in others] == [f"{number}\n".encode() for number in range(5)]
            assert the_zygote(program) != zygote
            await client.cancel(what.id)
    assert result.verdict.outcome == Outcome.CANCELLED, "it ran on until we ended it"
    await client.close()


@pytest.mark.for_others
async def test_random_numbers_differ_between_jails(client: IsolationClient, walled: Tier) -> None:
    code = "import random, uuid, secrets; print(random.random(), uuid.uuid4(), secrets.token_hex())"
    runs = [await run(client, code) for _ in range(6)]
    assert len({result.stdout for result in runs}) == 6


@pytest.mark.for_others
async def test_a_jail_is_used_once(client: IsolationClient, walled: Tier) -> None:
    code = """
import builtins, os
print(hasattr(builtins, "left"), os.listdir("/workspace"), os.listdir("/tmp"), os.listdir("/dev/shm"))
builtins.left = 1
for folder in ("/workspace", "/tmp", "/dev/shm"): open(folder + "/left", "w").close()
"""
    for _ in range(5):
        assert (await run(client, code)).stdout == b"False [] [] []\n"


@pytest.mark.for_others
async def test_the_root_is_read_only_and_devices_are_few(client: IsolationClient, walled: Tier) -> None:
    code = """
import os, sys
for folder in ("/", "/usr", "/etc", "/dev", "/run", "/run/code", "/proc/sys", os.path.dirname(os.__file__)):
    try: open(folder + "/planted", "w"); print("wrote to", folder)
    except OSError: pass
print(sorted(os.listdir("/dev")), os.getpid() != 1, os.uname().nodename)
"""
    expected = sorted("full null ptmx pts random shm stderr stdin stdout tty urandom zero fd".split())
    assert (await run(client, code)).stdout.decode() == f"{expected} True sandbox\n"


@pytest.mark.for_others
async def test_a_program_sees_a_loopback_of_its_own(client: IsolationClient, walled: Tier) -> None:
    code = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
print([line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]])
"""
    assert (await run(client, code)).stdout == b"['lo']\n"


async def test_nothing_of_the_machinery_is_in_the_program(client: IsolationClient, walled: Tier) -> None:
    here = str(Path(__file__).parents[2])
    code = f"""
import sys
seen = [name for name in sys.modules if "thane" in name]
places = [*sys.path, *sys.path_importer_cache, *sys.orig_argv, open("/proc/self/cmdline").read()]
print(seen, [place for place in places if {here!r} in place])
print(open("/proc/self/environ").read())
"""
    assert (await run(client, code)).stdout == b"[] []\nLANG=C.UTF-8\0\n"


async def test_it_is_replaced_after_its_number_of_jails(folder: Path, walled: Tier) -> None:
    client = a_client(folder, walled, "--jails-per-zygote", "3")
    seen: set[int] = set()
    for number in range(8):
        assert (await run(client, f"print({number})")).stdout == f"{number}\n".encode()
        seen.update(children_named(program_pid(folder / "i.sock"), "thane-zygote"))
    assert len(seen) >= 3
    wait_until(lambda: sum(map(is_alive, seen)) <= 1, "the old ones have ended")
    await client.close()


@pytest.mark.for_others
async def test_a_jail_that_died_before_its_job_is_not_used(folder: Path, walled: Tier) -> None:
    client = a_client(folder, walled, "--stock", "2")
    assert (await run(client, "print(1)")).stdout == b"1\n"
    program = program_pid(folder / "i.sock")
    for _ in range(3):
        wait_until(lambda: len(children_named(program, "thane-jail")) == 2, "the stock is full")
        stock = children_named(program, "thane-jail")
        for jail in stock:
            os.kill(jail, signal.SIGKILL)
        wait_until(lambda stock=stock: not any(map(is_alive, stock)), "they have ended")  # type: ignore[misc]
        result = await run(client, "print(2)")
        assert result.stdout == b"2\n", result
    await client.close()


async def test_more_jobs_than_slots_and_stock(
    programs: Programs, client: IsolationClient, walled: Tier
) -> None:
    runs = await asyncio.gather(*(run_job(client, job(f"print({number})")) for number in range(16)))
    assert [result.stdout for result in runs] == [f"{number}\n".encode() for number in range(16)]
