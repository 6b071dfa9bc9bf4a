"""What the client does against a real server. `test_calls_sync.py` runs these same tests without `await`."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.program import PATIENCE, Served
from thane.client import (
    AsyncExecutionResult,
    AsyncSandbox,
    AsyncThane,
    Output,
    ProgramFailed,
    Sample,
    TimedOut,
    Unreached,
    errors,
)
from thane_verify.__main__ import main as verify


def connect(server: Served) -> AsyncThane:
    return AsyncThane(server.url, server.key)


async def test_code_is_run_and_its_result_is_typed(server: Served) -> None:
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create(name="typed", metadata={"for": "a test"})
        assert isinstance(sandbox, AsyncSandbox)
        out = await sandbox.run_code("print(6 * 7)")
        assert isinstance(out, AsyncExecutionResult)
        assert (out.ok, out.status, out.stdout, out.stderr) == (True, "completed", "42\n", "")
        assert out.billing_info is not None
        assert out.billing_info.cost_usd > Decimal(0)
        assert out.ledger is not None
        assert out.ledger.index > out.ledger.intent_index
        row = await thane.executions.get(out.id)
        assert (row.code, row.stdout, row.sandbox_id) == ("print(6 * 7)", "42\n", sandbox.id)
        assert row.created_at.utcoffset() is not None
        assert [e.id async for e in sandbox.executions] == [out.id]
        out.check()


async def test_a_program_that_fails_is_a_result_and_check_raises(server: Served) -> None:
    async with connect(server) as thane:
        out = await (await thane.sandboxes.create()).run_code("raise ValueError('no')")
        assert (out.ok, out.status) == (False, "failed")
        assert "ValueError: no" in out.stderr
        with pytest.raises(ProgramFailed, match=out.id):
            out.check()


async def test_limits_language_variables_and_input_reach_the_program(server: Served) -> None:
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create()
        out = await sandbox.run_code(
            "cat; echo $MODE", language="shell", env={"MODE": "fast"}, stdin="hello "
        )
        assert out.stdout == "hello fast\n"
        slow = await sandbox.run_code("while True: pass", timeout=1, memory_mb=64, cpu_cores="0.5")
        assert slow.status == "timeout"


async def test_files_go_in_and_come_out(server: Served, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("one two")
    code = (
        "import os, pathlib\n"
        "data = pathlib.Path('raw.bin').read_bytes() + pathlib.Path('words.txt').read_bytes()\n"
        "os.makedirs('deep', exist_ok=True)\n"
        "pathlib.Path('deep/out.bin').write_bytes(data[::-1])\n"
    )
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create()
        out = await sandbox.run_code(
            code, files={"raw.bin": b"\xff\x00", "words.txt": tmp_path / "words.txt"}
        )
        assert "deep/out.bin" in out.files, out
        wanted = b"\xff\x00one two"[::-1]
        assert await out.read_file("deep/out.bin") == wanted
        saved = await out.save_files(tmp_path / "results")
        assert tmp_path / "results" / "deep" / "out.bin" in saved
        assert (tmp_path / "results" / "deep" / "out.bin").read_bytes() == wanted
        listed = await sandbox.run_code("print(open('words.txt').read())", files=[tmp_path / "words.txt"])
        assert listed.stdout == "one two\n"
        with pytest.raises(errors.FileNotProduced):
            await out.read_file("none")


async def test_output_comes_while_the_program_runs_and_the_result_comes_last(server: Served) -> None:
    code = "import sys\nprint('first', flush=True)\nsys.stdin.read()\nsys.stderr.write('second')"
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create()
        events = [event async for event in sandbox.stream_code(code)]
        output = [event for event in events if isinstance(event, Output)]
        assert "".join(event.text for event in output if event.stream == "stdout") == "first\n"
        assert "".join(event.text for event in output if event.stream == "stderr") == "second"
        assert any(isinstance(event, Sample) for event in events)
        result = events[-1]
        assert isinstance(result, AsyncExecutionResult)
        assert result.stdout == "first\n"
        chunks = [chunk.data async for chunk in result.chunks()]
        assert chunks == [event.data for event in output]
        assert [metric async for metric in result.metrics()]


async def test_what_is_refused_before_a_stream_begins_is_an_error(server: Served) -> None:
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create()
        with pytest.raises(errors.Invalid, match="nothing to run"):
            [event async for event in sandbox.stream_code(" ")]


async def test_what_is_done_in_a_run_belongs_to_it_and_it_is_finished(server: Served) -> None:
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create()
        async with thane.run("monthly report") as run:
            inside = await sandbox.run_code("print(1)")
            async with thane.run("a part of it") as inner:
                part = await sandbox.run_code("print(2)")
            again = await sandbox.run_code("print(3)")
        after = await sandbox.run_code("print(4)")
        assert [inside.run_id, part.run_id, again.run_id, after.run_id] == [run.id, inner.id, run.id, None]
        ended = await run.refresh()
        assert (ended.status, ended.outcome, ended.purpose) == ("finished", "completed", "monthly report")
        assert {e.id async for e in run.executions()} == {inside.id, again.id}
        explicit = await thane.runs.create()
        thread = thane.with_options(run_id=explicit.id)
        assert (await thread.sandboxes.execute(sandbox.id, "1")).run_id == explicit.id


async def test_a_run_says_what_left_its_block_or_what_it_was_told(server: Served) -> None:
    async with connect(server) as thane:
        with pytest.raises(ZeroDivisionError):
            async with thane.run() as broken:
                _ = 1 / 0
        assert (await broken.refresh()).outcome == "failed: ZeroDivisionError"
        async with thane.run() as told:
            await told.finish("half of it")
        assert (await told.refresh()).outcome == "half of it"
        with pytest.raises(errors.RunFinished) as caught:
            await told.finish("again")
        assert caught.value.hint


async def test_lists_fetch_their_pages_as_they_are_read(server: Served) -> None:
    async with connect(server) as thane:
        mark = f"page of {type(thane).__name__}"
        made = [(await thane.sandboxes.create(name=f"{mark} {n}")).id for n in range(7)]
        mine = thane.sandboxes.list(filter=f'name ~ "{mark} "', sort="-created_at", page_size=3)
        assert [s.id async for s in mine] == made[::-1]
        first = await mine.page(total=True)
        assert (len(first.items), first.total) == (3, 7)
        last = await mine.page((await mine.page(first.next_cursor)).next_cursor)
        assert (len(last.items), last.next_cursor) == (1, None)
        newest = await mine.first()
        assert newest is not None
        assert newest.id == made[-1]
        assert await thane.sandboxes.list(filter='name = "none"').first() is None


async def test_errors_are_classes_that_say_what_to_do(server: Served) -> None:
    async with connect(server) as thane:
        with pytest.raises(errors.NotFound) as missing:
            await thane.sandboxes.get("sbx_00000000000070008000000000000000")
        assert (missing.value.status, missing.value.code) == (404, "not_found")
        assert missing.value.request_id.startswith("req_")
        assert missing.value.hint in str(missing.value)
        with pytest.raises(errors.Invalid) as wrong:
            await thane.sandboxes.create(name="a/b")
        assert [fault.pointer for fault in wrong.value.errors] == ["/name"]
        gone = await (await thane.sandboxes.create()).terminate()
        assert gone.status == "terminated"
        with pytest.raises(errors.SandboxTerminated):
            await gone.run_code("print(1)")
        with pytest.raises(errors.PreconditionFailed):
            await thane.sandboxes.terminate((await thane.sandboxes.create()).id, if_match=99)
        with pytest.raises(ValueError, match="must be an id"):
            await thane.sandboxes.get("")
    async with AsyncThane(server.url, "thane_wrong") as stranger:
        with pytest.raises(errors.Unauthorized) as unknown:
            await stranger.users.current()
        assert "thane_wrong" not in str(unknown.value) + repr(stranger)


async def test_an_outcome_is_proven_without_the_server(server: Served, tmp_path: Path) -> None:
    async with connect(server) as thane:
        out = await (await thane.sandboxes.create()).run_code("print('proven')")
        proof = await out.proof()
        vkey = (await thane.ledger.checkpoint()).vkey
    path = tmp_path / "outcome.tlog-proof"
    path.write_text(proof.proof)
    assert verify([str(path), "--key", vkey]) == 0


async def test_the_owners_socket_needs_no_key(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncThane(f"unix://{server.data}/thane.sock") as thane:
        owner = await thane.users.current()
        out = await (await thane.sandboxes.create()).run_code("print('by socket')")
        assert out.stdout == "by socket\n"
    monkeypatch.setenv("THANE_URL", server.url)
    monkeypatch.setenv("THANE_API_KEY", server.key)
    async with AsyncThane() as same:
        assert (await same.users.current()).id == owner.id


async def test_nobody_at_the_address_is_said_with_the_next_step(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9", f"unix://{tmp_path}/{'deep' * 40}/thane.sock", f"unix://{tmp_path}/no"):
        async with AsyncThane(url, "k", retries=1) as thane:
            with pytest.raises(Unreached, match="thane serve"):
                await thane.users.current()


async def test_a_project_is_named_with_each_call(server: Served) -> None:
    async with connect(server) as thane:
        project = await thane.projects.list().first()
        assert project is not None
        inside = thane.with_options(project_id=project.id)
        assert (await inside.sandboxes.create()).project_id == project.id
        outside = thane.with_options(project_id="prj_00000000000070008000000000000000")
        with pytest.raises(errors.ApiError, match="prj_0000"):
            await outside.sandboxes.create()


async def test_a_client_that_is_closed_says_so(server: Served) -> None:
    thane = connect(server)
    await thane.users.current()
    await thane.close()
    with pytest.raises(RuntimeError, match="closed"):
        await thane.users.current()


async def test_a_program_ends_when_the_time_of_its_call_is_over_and_it_may_not_outlive_it(
    server: Served,
) -> None:
    async with connect(server) as thane:
        sandbox = await thane.sandboxes.create()
        hasty = thane.with_options(effect_timeout=1)
        with pytest.raises(TimedOut, match="within 1 s"):
            await hasty.sandboxes.execute(sandbox.id, "import time; time.sleep(60)", outlive=False)
        deadline = time.monotonic() + PATIENCE
        while (row := await sandbox.executions.first()) is None or row.status in ("queued", "running"):
            assert time.monotonic() < deadline, row
        assert row.status == "cancelled"
