"""What a stateful sandbox's owner is told when state is gone; its files; more memory while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from pathlib import Path

import msgspec
import pytest

from tests.isolation.jailing import LIMITS, MB, Run, job, new_id, program_pid, run_job
from thane.adapters.isolation import IsolationClient
from thane.kernel.errors import Invalid, IsolationUnavailable, NotFound
from thane.kernel.ports.isolation import ContextLost, Home, Job, Outcome, Sample, SandboxLost, Tier

pytestmark = [pytest.mark.anyio, pytest.mark.for_others]


@pytest.fixture
def walled(tier: Tier) -> Tier:
    if tier in (Tier.T1, Tier.T3):
        pytest.skip(f"tier {tier} has no stateful sandboxes")
    return tier


def cell(sandbox: str, code: str, language: str = "python", **changes: object) -> Job:
    made = job(code, language, context="a")
    return msgspec.structs.replace(made, sandbox_id=sandbox, collect=False, **changes)


async def test_a_verdict_names_the_jail_and_says_whether_the_context_lives(
    client: IsolationClient, walled: Tier
) -> None:
    sandbox = new_id()
    first = (await run_job(client, cell(sandbox, "x = 1"))).verdict
    assert first.jail
    assert (first.jail_alive, first.context_alive) == (True, True)
    assert sandbox in await client.idle()
    second = await run_job(client, cell(sandbox, "print(x)", jail=first.jail, continues=True))
    assert (second.stdout, second.verdict.jail) == (b"1\n", first.jail)
    assert not (await run_job(client, cell(sandbox, "import os; os._exit(0)"))).verdict.context_alive
    with pytest.raises(ContextLost):
        await run_job(client, cell(sandbox, "print(x)", jail=first.jail, continues=True))
    third = await run_job(client, cell(sandbox, "print(2)", jail=first.jail))
    assert third.stdout == b"2\n", third
    await client.close_sandbox(sandbox)
    with pytest.raises(SandboxLost):
        await run_job(client, cell(sandbox, "print(x)", jail=first.jail))
    assert (await run_job(client, job("print(3)"))).verdict.jail == ""


async def test_what_used_up_the_memory_is_told_to_who_comes_next(
    client: IsolationClient, walled: Tier
) -> None:
    sandbox = new_id()
    jail = (await run_job(client, cell(sandbox, "x = 1"))).verdict.jail
    hungry = cell(sandbox, "kept = []\nwhile True: kept.append(bytearray(8 << 20))")
    ended = (await run_job(client, hungry)).verdict
    assert (ended.outcome, ended.jail, ended.jail_alive) == (Outcome.OUT_OF_MEMORY, jail, False)
    with pytest.raises(SandboxLost, match="used more memory"):
        await run_job(client, cell(sandbox, "print(x)", jail=jail))
    await client.close_sandbox(sandbox)


async def test_a_program_that_died_is_told_by_the_next_one(walled: Tier) -> None:
    with tempfile.TemporaryDirectory(prefix="thane-state-") as name:
        path = Path(name, "i.sock")
        more = ("--idle", "0.2", "--force-tier", str(walled))
        client = IsolationClient(path, Path(name, "i.log"), 2, "one", program_arguments=more)
        jail = (await run_job(client, cell("s", "x = 1"))).verdict.jail
        os.kill(program_pid(path), signal.SIGKILL)
        with contextlib.suppress(IsolationUnavailable):
            await client.recall("any")  # the first call may meet the connection's end
        with pytest.raises(SandboxLost):
            await run_job(client, cell("s", "print(x)", jail=jail, continues=True))
        with pytest.raises(SandboxLost):
            await client.list_files("s", jail)
        await client.close()


async def test_files_go_in_and_out_of_a_sandbox_that_nothing_has_run_in(
    client: IsolationClient, walled: Tier
) -> None:
    sandbox = new_id()
    large = os.urandom(3 * MB)
    home = Home(sandbox_id=sandbox, limits=LIMITS)
    jail = await client.write_file(home, "in/large.bin", large)
    again = Home(sandbox_id=sandbox, limits=LIMITS, jail=jail)
    assert await client.write_file(again, "small.txt", b"small") == jail
    code = "import os\nprint(os.path.getsize('in/large.bin'))\nos.mkfifo('pipe')\n"
    code += "open('small.txt', 'a').write('er')"
    assert (await run_job(client, cell(sandbox, code, jail=jail))).stdout == b"%d\n" % len(large)
    assert await client.read_file(sandbox, jail, "in/large.bin") == large
    assert await client.read_file(sandbox, jail, "small.txt") == b"smaller"
    found = await client.list_files(sandbox, jail)
    assert [(f.name, f.size) for f in found.files] == [("in/large.bin", len(large)), ("small.txt", 7)]
    assert found.refused_files == (("pipe", "it is a named pipe"),)
    assert [f.name for f in (await client.list_files(sandbox, jail, "in")).files] == ["in/large.bin"]
    for name in ("in", "pipe"):
        await client.remove_file(sandbox, jail, name)
        with pytest.raises(NotFound):
            await client.remove_file(sandbox, jail, name)
    assert [f.name for f in (await client.list_files(sandbox, jail)).files] == ["small.txt"]
    await client.close_sandbox(sandbox)


async def test_files_of_a_hostile_workspace_lead_nowhere(
    client: IsolationClient, walled: Tier, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    canary = tmp_path / "canary"
    canary.write_text("alive")
    sandbox = new_id()
    code = (
        f"import os\nos.symlink({str(tmp_path)!r}, 'way')\nos.symlink({str(canary)!r}, 'file')\nos.mkdir('d')"
    )
    code += f"\nos.symlink({str(tmp_path)!r}, 'd/way')"
    jail = (await run_job(client, cell(sandbox, code))).verdict.jail
    home = Home(sandbox_id=sandbox, limits=LIMITS, jail=jail)
    for name in ("way/canary", "file"):
        with pytest.raises(Invalid):
            await client.read_file(sandbox, jail, name)
    for name in ("../x", "/etc/passwd", "a/../b", "", "n\x01"):
        with pytest.raises(Invalid):
            await client.write_file(home, name, b"x")
        with pytest.raises(Invalid):
            await client.remove_file(sandbox, jail, name)
    for name in ("way/planted", "way/canary"):
        with pytest.raises(Invalid):
            await client.write_file(home, name, b"x")
    with pytest.raises(Invalid):
        await client.remove_file(sandbox, jail, "way/canary")
    with pytest.raises(Invalid, match="cannot be put"):
        await client.write_file(home, "too-large", bytes(LIMITS.disk_bytes + 1))
    await client.write_file(home, "file", b"plain")
    for name in ("d", "file", "way"):
        await client.remove_file(sandbox, jail, name)
    assert canary.read_text() == "alive"
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
    await client.close_sandbox(sandbox)


@pytest.mark.parametrize("context", [None, "a"])
async def test_a_running_program_can_be_given_more_memory(
    client: IsolationClient, tier: Tier, context: str | None
) -> None:
    if context is not None and tier in (Tier.T1, Tier.T3):
        pytest.skip(f"tier {tier} has no stateful sandboxes")
    code = "import time, os\nx = bytearray(40 << 20)\nprint('begun', flush=True)\n"
    code += "while not os.path.exists('go'): time.sleep(0.01)\ny = bytearray(100 << 20)\nprint(len(y))"
    what = job(code, limits={"memory_bytes": 96 * MB}, context=context)
    what = msgspec.structs.replace(what, sandbox_id=new_id(), collect=False, sample_ms=100)
    result, raised = Run(), False
    if context is None:
        code = code.replace("not os.path.exists('go')", "time.monotonic() < end")
        code = code.replace("print('begun'", "end = time.monotonic() + 1\nprint('begun'")
        what = msgspec.structs.replace(what, code=code.encode())
    async for event in client.run(what):
        result.take(event)
        if isinstance(event, Sample) and result.stdout and not raised:
            raised = await client.raise_memory(what.id, 256 * MB)
            if context is not None:
                home = Home(sandbox_id=what.sandbox_id, limits=what.limits)
                await client.write_file(home, "go", b"")
    assert raised
    assert result.verdict.outcome == Outcome.COMPLETED, result
    assert result.stdout == b"begun\n%d\n" % (100 << 20)
    assert not await client.raise_memory(what.id, 256 * MB)
    await client.close_sandbox(what.sandbox_id)


async def test_samples_come_as_often_as_asked(client: IsolationClient) -> None:
    what = msgspec.structs.replace(job("import time; time.sleep(1)"), sample_ms=100, collect=False)
    assert len((await run_job(client, what)).samples) >= 3
    with pytest.raises(Invalid):
        await run_job(client, msgspec.structs.replace(what, id=new_id(), sample_ms=1))


async def test_what_runs_in_a_sandbox_that_is_closed_is_cancelled(
    client: IsolationClient, walled: Tier
) -> None:
    sandbox = new_id()
    running = asyncio.create_task(
        run_job(client, cell(sandbox, "import time\nprint('on', flush=True)\ntime.sleep(60)"))
    )
    while True:
        try:
            if (await client.contexts(sandbox))[0].executions:
                break
        except (NotFound, IndexError):
            await asyncio.sleep(0.01)
    await client.close_sandbox(sandbox)
    ended = await running
    assert (ended.verdict.outcome, ended.verdict.jail_alive) == (Outcome.CANCELLED, False)
    assert "sandbox was ended" in ended.verdict.message
