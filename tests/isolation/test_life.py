"""The program's life: starts once, ends when nobody needs it, and takes everything with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.isolation.conftest import Programs
from tests.isolation.jailing import (
    BOUND,
    JobProcesses,
    Run,
    is_alive,
    job,
    new_id,
    processes_with,
    program_pid,
    remains_of,
    run,
    run_job,
    wait_until,
)
from thane.adapters.isolation import IsolationClient, frames
from thane.kernel.errors import IsolationUnavailable
from thane.kernel.ports.isolation import Outcome, OutputChunk, Tier, Verdict

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="thane-life-") as name:
        yield Path(name)


def a_client(folder: Path, *arguments: str, idle: str = "0.3", slots: int = 2) -> IsolationClient:
    more = ("--idle", idle, *arguments)
    return IsolationClient(folder / "i.sock", folder / "i.log", slots, "life", program_arguments=more)


def endless(marker: str) -> str:
    """A program that leaves grandchildren in sessions of their own, whose command lines hold `marker`."""
    return f"""
import os, subprocess, sys, time
for _ in range(3):
    command = [sys.executable, "-c", "import time; time.sleep(1000)", {marker!r}]
    subprocess.Popen(command, start_new_session=True)
os.write(1, b"begun\\n")
while True: time.sleep(0.01)
"""


async def until_output(client: IsolationClient, what: object, result: Run) -> asyncio.Task[None]:
    """Start a job and return once it has printed something."""
    begun = asyncio.Event()

    async def follow() -> None:
        async for event in client.run(what):  # type: ignore[arg-type]
            result.take(event)
            if isinstance(event, (OutputChunk, Verdict)):
                begun.set()

    task = asyncio.create_task(follow())
    await asyncio.wait_for(begun.wait(), 20)
    assert not result.verdicts, result
    return task


@pytest.mark.for_others
async def test_a_running_job_is_cancelled_with_all_its_processes(
    programs: Programs, client: IsolationClient, tier: Tier
) -> None:
    marker = new_id()
    processes = JobProcesses(marker, tier, programs.socket(tier))
    what, result = job(endless(marker)), Run()
    task = await until_output(client, what, result)
    wait_until(lambda: len(processes.alive()) >= 3, "its processes run")
    await client.cancel(what.id)
    await task
    assert result.verdict.outcome == Outcome.CANCELLED
    assert result.verdict.message == "cancelled"
    assert processes.alive() == [], "they are gone before the verdict comes"
    assert await client.recall(what.id) == result.verdict


async def test_closing_the_iterator_cancels(programs: Programs, client: IsolationClient, tier: Tier) -> None:
    marker = new_id()
    processes = JobProcesses(marker, tier, programs.socket(tier))
    what = job(endless(marker))
    iterator = client.run(what)
    async for event in iterator:
        if isinstance(event, OutputChunk):
            break
    assert processes.alive() != [], "they run until it is closed"
    await iterator.aclose()  # type: ignore[attr-defined]
    wait_until(lambda: not processes.alive(), "its processes are gone")
    async with asyncio.timeout(20):
        while (verdict := await client.recall(what.id)) is None:
            await asyncio.sleep(0.005)
    assert verdict.outcome == Outcome.CANCELLED


async def test_a_queued_job_is_cancelled_before_it_starts(best: IsolationClient) -> None:
    first = [(job(endless(new_id())), Run()) for _ in range(2)]
    tasks = [await until_output(best, what, result) for what, result in first]
    queued = job("print('never')")
    waiting = asyncio.create_task(run_job(best, queued))
    while not waiting.done():
        await best.cancel(queued.id)  # until it has arrived
        await asyncio.sleep(0)
    result = await waiting
    assert result.verdict.outcome == Outcome.CANCELLED
    assert result.stdout == b""
    for what, _ in first:
        await best.cancel(what.id)
    await asyncio.gather(*tasks)


async def test_cancelling_what_is_unknown_is_no_error(best: IsolationClient) -> None:
    await best.cancel("nobody")
    await best.release("nobody")
    assert await best.recall("nobody") is None


async def test_two_jobs_of_one_id_are_not_run(best: IsolationClient) -> None:
    what, result = job(endless(new_id())), Run()
    task = await until_output(best, what, result)
    with pytest.raises(Exception, match="running already"):
        await run_job(best, what)
    await best.cancel(what.id)
    await task


async def test_a_lost_connection_ends_its_jobs_and_the_next_one_recalls_them(
    programs: Programs, client: IsolationClient, tier: Tier
) -> None:
    """Another client speaks the protocol by itself and goes away without a word."""
    marker = new_id()
    processes = JobProcesses(marker, tier, programs.socket(tier))
    what = job(endless(marker))
    header, body = frames.run_frame(what)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(programs.socket(tier)))
        raw.sendall(frames.encode({"t": "hello", "versions": [1], "server_name": "raw"}))
        raw.sendall(frames.encode({**header, "id": 1}, body))
        raw.settimeout(BOUND)
        said = b""
        while b"begun" not in said:
            said += raw.recv(4096)
        wait_until(lambda: len(processes.alive()) >= 3, "its processes run")
    wait_until(lambda: not processes.alive(), "its processes are gone")
    verdict = None
    while verdict is None:
        verdict = await client.recall(what.id)
    assert verdict.outcome == Outcome.CANCELLED
    assert "connection" in verdict.message
    assert verdict.usage.wall_us > 0


@pytest.mark.for_others
async def test_nothing_is_left_of_a_program_that_was_killed(folder: Path, tier: Tier) -> None:
    marker = new_id()
    processes = JobProcesses(marker, tier, folder / "i.sock")
    client = a_client(folder, "--force-tier", str(tier))
    results = [Run(), Run()]
    tasks = [await until_output(client, job(endless(marker)), result) for result in results]
    pid = program_pid(folder / "i.sock")
    wait_until(lambda: len(processes.alive()) >= 6, "the jails run")
    assert remains_of(pid)
    os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*tasks)
    for result in results:
        assert result.verdict.outcome == Outcome.HOST_LOST
        assert result.stdout == b"begun\n"
    wait_until(lambda: not processes.alive(), "no process is left", 5)
    wait_until(lambda: not remains_of(pid), "no folder and no control group is left", 5)
    assert (await run(client, "print(1)")).stdout == b"1\n", "the next job starts a new program"
    await client.close()


async def test_two_starters_end_up_with_one_program(folder: Path) -> None:
    clients = [a_client(folder, idle="5") for _ in range(4)]
    await asyncio.gather(*(client.start() for client in clients))
    runs = await asyncio.gather(*(run(client, f"print({number})") for number, client in enumerate(clients)))
    assert [result.stdout for result in runs] == [f"{number}\n".encode() for number in range(4)]
    wait_until(
        lambda: len(processes_with(str(folder / "i.sock"))) == 2, "one program and its janitor are left"
    )
    pid = program_pid(folder / "i.sock")
    for client in clients:
        await client.close()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(pid), "it ends")


async def test_it_ends_when_its_last_client_has_gone(folder: Path) -> None:
    client = a_client(folder)
    assert (await run(client, "print(1)")).stdout == b"1\n"
    pid = program_pid(folder / "i.sock")
    await client.close()
    wait_until(lambda: not is_alive(pid), "it ends")
    wait_until(lambda: not remains_of(pid), "nothing is left of it")
    assert not (folder / "i.sock").exists()


async def test_a_client_whose_program_has_ended_starts_another(folder: Path) -> None:
    client = a_client(folder)
    await client.start()
    os.kill(program_pid(folder / "i.sock"), signal.SIGTERM)
    wait_until(lambda: not (folder / "i.sock").exists(), "it ends")
    assert client._connection is not None
    while client._connection.alive:
        await asyncio.sleep(0)  # until the client has seen it
    assert (await run(client, "print(2)")).stdout == b"2\n"
    await client.close()


async def test_the_socket_is_its_owners_alone(folder: Path) -> None:
    client = a_client(folder)
    await client.start()
    assert (folder / "i.sock").stat().st_mode & 0o777 == 0o600
    assert (folder / "i.log").stat().st_mode & 0o777 == 0o600
    await client.close()


async def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    deep = folder / ("d" * 100) / ("e" * 60)
    deep.mkdir(parents=True)
    client = a_client(deep)
    assert (await run(client, "print(3)")).stdout == b"3\n"
    await client.close()


async def test_the_program_has_an_empty_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "canary")
    client = a_client(folder)
    await client.start()
    assert Path(f"/proc/{program_pid(folder / 'i.sock')}/environ").read_bytes() == b""
    await client.close()


async def test_the_program_imports_nothing_else_of_thane() -> None:
    code = (
        "import sys; import thane.isolation.__main__\n"
        "print(*sorted(name for name in sys.modules if name.startswith('thane')))\n"
        "print(*sorted({'msgspec', 'apsw', 'cryptography', 'uvloop'} & set(sys.modules)))"
    )
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({source!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    ours, foreign = done.stdout.split("\n")[:2]
    assert all(name == "thane" or name.startswith("thane.isolation") for name in ours.split())
    assert foreign == ""


async def test_another_version_is_refused_with_what_to_do(
    programs: Programs, client: IsolationClient, tier: Tier
) -> None:
    reader, writer = await asyncio.open_unix_connection(programs.socket(tier))
    writer.write(frames.encode({"t": "hello", "versions": [99], "server_name": "future"}))
    header, _ = await frames.read(reader)
    assert (header["t"], header["code"]) == ("error", "version")
    assert header["hint"]
    assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 8,
        b"\x00\x00\x00\x05\x00\x00\x00\x00nojson",
        b"\x00\x00\x00\x02\x00\x00\x00\x00[]",
    ],
)
async def test_bytes_that_are_no_frame_end_the_connection_and_nothing_else(
    programs: Programs, client: IsolationClient, tier: Tier, sent: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(programs.socket(tier))
    writer.write(sent)
    writer.write_eof()
    await reader.read()
    writer.close()
    assert (await run(client, "print(1)")).stdout == b"1\n"


async def test_frames_of_an_unknown_type_are_answered_as_unsupported(
    programs: Programs, client: IsolationClient, tier: Tier
) -> None:
    reader, writer = await asyncio.open_unix_connection(programs.socket(tier))
    writer.write(frames.encode({"t": "hello", "versions": [1], "server_name": "x"}))
    await frames.read(reader)
    writer.write(frames.encode({"t": "context.fly", "id": 7}))
    header, _ = await frames.read(reader)
    assert (header["t"], header["id"], header["code"]) == ("error", 7, "unsupported")
    writer.close()


async def test_every_rung_of_the_ladder_says_what_it_is(best: IsolationClient) -> None:
    reports = await best.ladder()
    assert [report.tier for report in reports] == [Tier.T3, Tier.T2, Tier.T2_MINUS, Tier.T1, Tier.T0]
    for report in reports:
        assert report.detail
        assert bool(report.missing) == bool(report.remedy) == (not report.available)
    assert not reports[0].available
    assert not reports[-1].available


async def test_a_program_that_cannot_start_is_reported_with_its_log(folder: Path) -> None:
    client = a_client(folder, "--no-such-option")
    client._start_seconds = 1.0
    with pytest.raises(IsolationUnavailable, match="no-such-option"):
        await client.start()
