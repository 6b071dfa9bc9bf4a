"""Stateful sandboxes: what survives, what is apart, and what ends with what."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.isolation.jailing import (
    MB,
    Run,
    is_alive,
    job,
    new_id,
    processes_with,
    program_pid,
    remains_of,
    run,
    wait_until,
)
from thane.adapters.isolation import IsolationClient
from thane.kernel.errors import Gone, NotFound
from thane.kernel.ports.isolation import Outcome, OutputChunk, Tier

pytestmark = [pytest.mark.anyio, pytest.mark.for_others]


@pytest.fixture
def walled(tier: Tier) -> Tier:
    if tier in (Tier.T1, Tier.T3):
        pytest.skip(f"tier {tier} has no stateful sandboxes")
    return tier


class Sandbox:
    def __init__(self, client: IsolationClient) -> None:
        self.client = client
        self.id = new_id()

    async def run(self, code: str, language: str = "python", context: str = "a", **changes: Any) -> Run:
        result = Run()
        async for event in self.client.run(self.job(code, language, context, **changes)):
            result.take(event)
        return result

    def job(self, code: str, language: str = "python", context: str = "a", **changes: Any) -> Any:
        made = job(code, language, context=context, **changes)
        return msgspec.structs.replace(made, sandbox_id=self.id)


@pytest.fixture
async def sandbox(client: IsolationClient, walled: Tier) -> AsyncIterator[Sandbox]:
    made = Sandbox(client)
    yield made
    await client.close_sandbox(made.id)


async def test_variables_survive_and_contexts_are_apart(sandbox: Sandbox) -> None:
    assert (await sandbox.run("x = 41; import json")).verdict.outcome == Outcome.COMPLETED
    result = await sandbox.run("x += 1; print(x, json.dumps([x]))")
    assert result.stdout == b"42 [42]\n", result
    other = await sandbox.run("print('x' in globals())", context="b")
    assert other.stdout == b"False\n"
    found = {context.name: context for context in await sandbox.client.contexts(sandbox.id)}
    assert {name: (c.alive, c.executions) for name, c in found.items()} == {"a": (True, 2), "b": (True, 1)}


async def test_each_execution_has_its_own_output_exit_code_and_input(sandbox: Sandbox) -> None:
    first = await sandbox.run("import sys; print(sys.stdin.read()); sys.exit(3)", stdin=b"first")
    assert (first.stdout, first.verdict.exit_code) == (b"first\n", 3)
    second = await sandbox.run("print(sys.stdin.read(), file=sys.stderr); 1 / 0", stdin=b"second")
    assert second.stderr.startswith(b"second\n")
    assert second.stderr.endswith(b"ZeroDivisionError: division by zero\n")
    assert b"agent" not in second.stderr
    assert second.verdict.outcome == Outcome.FAILED
    third = await sandbox.run("print('alive')", limits={"output_bytes": 3})
    assert third.stdout.startswith(b"ali\n[output limit of 3 bytes")
    assert third.verdict.stdout_truncated


async def test_files_persist_and_come_out_and_go_in_while_it_lives(sandbox: Sandbox, tmp_path: Path) -> None:
    await sandbox.run("open('kept.txt', 'w').write('kept')", collect=False)
    what = sandbox.job(
        "print(open('kept.txt').read(), open('d/in.txt').read())", files={"d/in.txt": b"given"}
    )
    result = Run()
    async for event in sandbox.client.run(what):
        result.take(event)
    assert result.stdout == b"kept given\n", result
    assert [file.name for file in result.verdict.files] == ["kept.txt"]
    await sandbox.client.collect(what.id, tmp_path)
    assert (tmp_path / "kept.txt").read_text() == "kept"
    await sandbox.client.release(what.id)
    assert (await sandbox.run("print(open('kept.txt').read())")).stdout == b"kept\n", (
        "it is not its own to give"
    )


async def test_files_that_go_in_follow_no_link(sandbox: Sandbox, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    code = (
        f"import os; os.symlink({str(tmp_path)!r}, 'way'); os.symlink('/etc/passwd', 'file'); open('x','w')"
    )
    await sandbox.run(code)
    with pytest.raises(Exception, match="do not fit the workspace"):
        await sandbox.run("pass", files={"way/planted": b"x"})
    assert list(tmp_path.iterdir()) == []
    result = await sandbox.run("print(open('file').read(), os.path.islink('file'))", files={"file": b"plain"})
    assert result.stdout == b"plain False\n", result


async def test_shell_commands_share_the_workspace(sandbox: Sandbox) -> None:
    await sandbox.run("open('n', 'w').write('7')")
    result = await sandbox.run("cat n; id -u; echo $WHO >&2; exit 4", "shell", env={"WHO": "me"})
    assert (result.stdout, result.stderr, result.verdict.exit_code) == (b"71000\n", b"me\n", 4), result


async def test_a_timeout_interrupts_and_keeps_the_variables(sandbox: Sandbox) -> None:
    await sandbox.run("x = 1")
    result = await sandbox.run("while True: pass", limits={"timeout_ms": 300})
    assert result.verdict.outcome == Outcome.TIMEOUT
    assert "are kept" in result.verdict.message
    assert b"KeyboardInterrupt" in result.stderr
    assert (await sandbox.run("print(x)")).stdout == b"1\n"


async def test_code_that_ignores_the_interrupt_loses_its_context_only(sandbox: Sandbox) -> None:
    await sandbox.run("y = 2", context="b")
    code = "import signal\nx = 1\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    before = time.monotonic()
    result = await sandbox.run(code, limits={"timeout_ms": 300})
    assert time.monotonic() - before < 8
    assert result.verdict.outcome == Outcome.TIMEOUT
    assert "are lost" in result.verdict.message
    assert (await sandbox.run("print('x' in globals())")).stdout == b"False\n"
    assert (await sandbox.run("print(y)", context="b")).stdout == b"2\n"


async def test_cancelling_interrupts(sandbox: Sandbox) -> None:
    await sandbox.run("x = 5")
    what, result = sandbox.job("print('begun')\nwhile True: pass"), Run()
    async for event in sandbox.client.run(what):
        result.take(event)
        if isinstance(event, OutputChunk) and event.stream == "stdout":
            await sandbox.client.cancel(what.id)
    assert result.verdict.outcome == Outcome.CANCELLED
    assert (await sandbox.run("print(x)")).stdout == b"5\n"


async def test_a_context_runs_in_order_and_contexts_at_the_same_time(sandbox: Sandbox) -> None:
    """The one in `a` ends only when the one in `b` has run."""
    wait = "import os, time\nwhile not os.path.exists('flag'): time.sleep(0.005)\nprint('seen')"
    first = asyncio.create_task(sandbox.run(wait))
    second = asyncio.create_task(sandbox.run("print(sorted(name for name in globals() if name == 'time'))"))
    await sandbox.run("open('flag', 'w').close()", context="b")
    assert (await first).stdout == b"seen\n"
    assert (await second).stdout == b"['time']\n", "it came after the first"


async def test_a_context_that_ends_or_is_ended_begins_anew(sandbox: Sandbox) -> None:
    await sandbox.run("x = 1")
    result = await sandbox.run("import os; os._exit(9)")
    assert (result.verdict.outcome, result.verdict.exit_code) == (Outcome.FAILED, 9)
    assert (await sandbox.run("print('x' in globals())")).stdout == b"False\n"
    await sandbox.run("x = 2")
    await sandbox.client.end_context(sandbox.id, "a")
    assert await sandbox.client.contexts(sandbox.id) == ()
    assert (await sandbox.run("print('x' in globals())")).stdout == b"False\n"
    with pytest.raises(NotFound):
        await sandbox.client.end_context(sandbox.id, "nobody")


async def test_too_much_memory_is_told(sandbox: Sandbox) -> None:
    code = "kept = []\nwhile True: kept.append(bytearray(8 << 20))"
    verdict = (await sandbox.run(code, limits={"memory_bytes": 96 * MB})).verdict
    assert verdict.outcome == Outcome.OUT_OF_MEMORY, verdict
    assert (await sandbox.run("print('again')", limits={"memory_bytes": 96 * MB})).stdout == b"again\n"


async def test_what_it_forges_and_leaves_open_hurts_nobody(sandbox: Sandbox) -> None:
    """The context's channel is in reach of its code; the agent's is not."""
    forging = """
import os, time
for number in range(3, 64):
    try: os.write(number, b"done 99 0")
    except OSError: pass
time.sleep(600)
"""
    forged = await sandbox.run(forging)
    assert forged.verdict.outcome == Outcome.FAILED, forged
    assert "spoke out of turn" in forged.verdict.message
    code = """
import os
for name in ("environ", "mem", "maps"):
    try: print(open(f"/proc/1/{name}", "rb").read(1))
    except OSError: pass
for number in range(1, 32):
    try: os.kill(1, number)
    except OSError: pass
if os.fork() == 0: os.setsid(); print("child")
else: os.wait()
"""
    result = await sandbox.run(code)
    assert result.stdout == b"child\n", result
    closed = await sandbox.run("print('shut'); import os; os.closerange(3, 64)")
    assert closed.stdout == b"shut\n", closed
    assert closed.verdict.outcome != Outcome.COMPLETED
    assert (await sandbox.run("print('next')")).stdout == b"next\n"


async def test_sandboxes_do_not_see_each_other(sandbox: Sandbox) -> None:
    other = Sandbox(sandbox.client)
    await other.run("open('secret', 'w').write('s')")
    result = await sandbox.run(
        "import os; print(os.listdir('.'), sum(name.isdigit() for name in os.listdir('/proc')))"
    )
    assert result.stdout == b"[] 2\n", result
    await sandbox.client.close_sandbox(other.id)
    with pytest.raises(NotFound):
        await sandbox.client.contexts(other.id)
    await sandbox.client.close_sandbox(other.id)


async def test_closing_ends_its_processes_and_forgets_its_files(sandbox: Sandbox, tmp_path: Path) -> None:
    marker = new_id()
    sleeper = f"[sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}]"
    code = f"import subprocess, sys\nsubprocess.Popen({sleeper}, start_new_session=True)\nopen('f', 'w')"
    what = sandbox.job(code)
    result = Run()
    async for event in sandbox.client.run(what):
        result.take(event)
    # A process has its command line a moment after its maker knows that it started.
    wait_until(lambda: len(processes_with(marker)) == 1, f"the process runs on: {result}")
    await sandbox.client.close_sandbox(sandbox.id)
    assert processes_with(marker) == []
    with pytest.raises((Gone, NotFound)):
        await sandbox.client.collect(what.id, tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="thane-claim-") as name:
        yield Path(name)


def a_client(folder: Path, tier: Tier, name: str, claim: str) -> IsolationClient:
    arguments = ("--idle", "0.2", "--claim", claim, "--force-tier", str(tier))
    return IsolationClient(folder / "i.sock", folder / "i.log", 2, name, program_arguments=arguments)


async def test_a_server_that_comes_back_claims_its_sandboxes(folder: Path, walled: Tier) -> None:
    client = a_client(folder, walled, "one", "30")
    sandbox = Sandbox(client)
    await sandbox.run("x = 'still here'")
    await client.close()
    stranger = a_client(folder, walled, "two", "30")
    with pytest.raises(NotFound):
        await stranger.contexts(sandbox.id)
    again = sandbox.client = a_client(folder, walled, "one", "30")
    assert (await sandbox.run("print(x)")).stdout == b"still here\n"
    await again.close_sandbox(sandbox.id)
    for open_client in (again, stranger):
        await open_client.close()


async def test_a_server_that_does_not_come_back_loses_them(folder: Path, walled: Tier) -> None:
    client = a_client(folder, walled, "one", "0.3")
    sandbox, marker = Sandbox(client), new_id()
    sleeper = f"[sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}]"
    await sandbox.run(f"import subprocess, sys\nsubprocess.Popen({sleeper})")
    # Popen returns when the old program is gone, a moment before the new one has its command line.
    wait_until(lambda: bool(processes_with(marker)), "its process runs")
    pid = program_pid(folder / "i.sock")
    assert remains_of(pid) != [], "the program has a folder while it lives"
    await client.close()
    wait_until(lambda: not processes_with(marker), "its processes are gone")
    wait_until(lambda: not remains_of(pid), "and the program, as nobody else is there")
    wait_until(lambda: not is_alive(pid), "it has ended")


async def test_a_one_shot_job_beside_it_has_a_jail_of_its_own(sandbox: Sandbox) -> None:
    await sandbox.run("open('f', 'w'); x = 1")
    assert (
        await run(sandbox.client, "import os; print(os.listdir('.'), 'x' in globals())")
    ).stdout == b"[] False\n"
