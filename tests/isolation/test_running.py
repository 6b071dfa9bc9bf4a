"""Code runs in a jail and comes out as it went: bytes, order, exit codes, exceptions, signals."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.isolation.jailing import LIMITS, MB, Run, job, run, run_job
from tests.support.needs import require
from thane.adapters.isolation import IsolationClient
from thane.kernel.errors import Invalid, IsolationUnavailable
from thane.kernel.ports.isolation import Outcome, OutputChunk, Sample, Tier, Verdict

pytestmark = pytest.mark.anyio


@pytest.mark.for_others
async def test_a_program_prints_and_completes(client: IsolationClient, tier: Tier) -> None:
    result = await run(client, "print(6 * 7)")
    assert result.stdout == b"42\n"
    assert result.stderr == b""
    verdict = result.verdict
    assert (verdict.outcome, verdict.exit_code, verdict.signal, verdict.message) == (
        Outcome.COMPLETED,
        0,
        None,
        "",
    )
    assert verdict.tier == tier
    assert verdict.usage.wall_us > 0
    assert verdict.usage.cpu_us > 0
    assert 2 * MB < verdict.usage.peak_memory_bytes < LIMITS.memory_bytes


@pytest.mark.for_others
async def test_what_enforced_each_limit_is_said(client: IsolationClient, tier: Tier) -> None:
    said = (await run(client, "pass")).verdict.enforcement
    assert said.timeout == "clock"
    assert said.network == ("seccomp" if tier == Tier.T1 else "namespace")
    if tier == Tier.T2:
        assert {said.memory, said.cpu, said.processes} in ({"cgroup1"}, {"cgroup2"})
    elif tier == Tier.T3:
        assert (said.memory, said.cpu) in (
            ("cgroup1", "cgroup1"),
            ("cgroup2", "cgroup2"),
            ("watchdog", "affinity"),
        )
        assert said.processes == "watchdog"
    else:
        assert (said.memory, said.cpu, said.processes) == ("watchdog", "affinity", "rlimit")
    assert said.disk in ("tmpfs", "watchdog")


async def test_the_first_sample_comes_at_once_and_the_verdict_last(client: IsolationClient) -> None:
    events = [event async for event in client.run(job("print(1)", collect=False))]
    samples = [event for event in events if isinstance(event, Sample)]
    assert len(samples) == 1
    assert samples[0].at_us < 500_000
    assert isinstance(events[-1], Verdict)
    assert sum(isinstance(event, Verdict) for event in events) == 1


async def test_samples_come_each_second(client: IsolationClient) -> None:
    result = await run(client, "import time; time.sleep(1.3)")
    assert len(result.samples) == 2
    assert result.samples[1].at_us >= 900_000


async def test_output_comes_while_the_program_runs(client: IsolationClient) -> None:
    """The program waits for a file that the test could never make: it is cancelled once its word has come."""
    what = job("import os, time\nos.write(1, b'first\\n')\nwhile True: time.sleep(0.01)")
    result = Run()
    async for event in client.run(what):
        result.take(event)
        if isinstance(event, OutputChunk) and not result.verdicts:
            await client.cancel(what.id)
    assert result.stdout == b"first\n"
    assert result.verdict.outcome == Outcome.CANCELLED


@pytest.mark.for_others
async def test_bytes_come_out_as_they_were_written(client: IsolationClient) -> None:
    code = (
        "import os\nfor i in range(64): os.write(1, bytes(range(256)) * 16)\nos.write(2, b'\\xff\\x00\\xfe')"
    )
    result = await run(client, code)
    assert result.stdout == bytes(range(256)) * 1024
    assert result.stderr == b"\xff\x00\xfe"
    assert max(len(chunk.data) for chunk in result.chunks) <= 1 << 16


async def test_a_busy_program_does_not_make_a_chunk_per_line(client: IsolationClient) -> None:
    result = await run(client, "for i in range(20000): print(i)")
    assert result.stdout.splitlines() == [str(number).encode() for number in range(20000)]
    assert len(result.chunks) < 2000


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(3)", 3), ("exit(255)", 255), ("quit()", 0)]
)
async def test_the_exit_code_is_the_programs(client: IsolationClient, code: str, expected: int) -> None:
    verdict = (await run(client, code)).verdict
    assert (verdict.exit_code, verdict.signal) == (expected, None)
    assert verdict.outcome == (Outcome.COMPLETED if expected == 0 else Outcome.FAILED)


@pytest.mark.for_others
async def test_an_exit_code_that_looks_like_a_signal_is_not_one(client: IsolationClient) -> None:
    verdict = (await run(client, "import sys; sys.exit(137)")).verdict
    assert (verdict.outcome, verdict.exit_code, verdict.signal) == (Outcome.FAILED, 137, None)
    assert verdict.message == "exited with code 137"


@pytest.mark.for_others
async def test_a_signal_is_told_by_name(client: IsolationClient) -> None:
    verdict = (await run(client, "import ctypes; ctypes.string_at(0)")).verdict
    assert (verdict.outcome, verdict.exit_code, verdict.signal) == (Outcome.FAILED, 139, 11)
    assert "SIGSEGV" in verdict.message


async def test_a_kill_that_thane_did_not_send_is_the_hosts(client: IsolationClient) -> None:
    verdict = (await run(client, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).verdict
    assert (verdict.outcome, verdict.exit_code, verdict.signal) == (Outcome.HOST_KILLED, 137, 9)


async def test_a_traceback_shows_the_programs_own_lines_only(client: IsolationClient) -> None:
    code = "def halve(n):\n    return n / 0  # here\n\nhalve(2)\n"
    result = await run(client, code, files={"main.py": b"# another file of that name\n" * 9})
    expected = (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 4, in <module>\n'
        "    halve(2)\n"
        '  File "main.py", line 2, in halve\n'
        "    return n / 0  # here\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )
    assert result.stderr.decode() == expected
    assert result.verdict.exit_code == 1


async def test_a_syntax_error_is_pythons_own(client: IsolationClient) -> None:
    result = await run(client, "x = (\n")
    assert b'File "main.py", line 1' in result.stderr
    assert b"SyntaxError" in result.stderr
    assert b"jailed" not in result.stderr


@pytest.mark.parametrize("code", [b"\xff\xfe print(1)", b"print(1)\0", b"x = '\xc3'"])
async def test_source_that_is_no_text_is_a_syntax_error(client: IsolationClient, code: bytes) -> None:
    result = await run(client, code)
    assert b"SyntaxError" in result.stderr or b"ValueError: source code string" in result.stderr
    assert result.verdict.outcome == Outcome.FAILED


async def test_empty_code_completes(client: IsolationClient) -> None:
    assert (await run(client, b"")).verdict.outcome == Outcome.COMPLETED


@pytest.mark.for_others
async def test_the_program_looks_like_a_script_that_was_started(client: IsolationClient) -> None:
    code = """
import __main__, os, sys
assert __name__ == "__main__" and __main__.__dict__ is globals()
assert sys.argv == ["main.py"], sys.argv
assert os.getcwd() == os.environ["HOME"] == sys.path[0]
assert sys.stdin.read() == "" and not sys.stdout.isatty()
assert sys.stdout.encoding == "utf-8"
assert not [path for path in sys.path if "site-packages" in path]
open("made.txt", "w").write("x")
import helper
print("größer", helper.VALUE)
"""
    result = await run(client, code, files={"helper.py": b"VALUE = 5\n"})
    assert result.stdout.decode() == "größer 5\n", result


async def test_atexit_and_threads_end_as_they_should(client: IsolationClient) -> None:
    code = """
import atexit, threading, time
atexit.register(lambda: print("last"))
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
print("main")
"""
    assert (await run(client, code)).stdout == b"main\nthread\nlast\n"


@pytest.mark.for_others
async def test_standard_input_is_read_to_its_end(client: IsolationClient) -> None:
    given = bytes(range(256)) * 4000
    code = """
import hashlib, sys
data = sys.stdin.buffer.read()
print(len(data), hashlib.sha256(data).hexdigest())
"""
    result = await run(client, code, stdin=given)
    assert result.stdout.decode().split() == [str(len(given)), hashlib.sha256(given).hexdigest()]


async def test_the_environment_is_what_was_given_and_nothing_else(client: IsolationClient) -> None:
    result = await run(
        client, "import os, json; print(json.dumps(dict(os.environ)))", env={"TOKEN": "s3 cret=ü"}
    )
    found = json.loads(result.stdout)
    assert found.pop("TOKEN") == "s3 cret=ü"
    assert set(found) == {"HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "TMPDIR"}


@pytest.mark.for_others
async def test_shell_commands_run(client: IsolationClient) -> None:
    code = "echo \"$GREETING\" | tr a-z A-Z; cat; echo oops >&2; python3 -c 'print(2**10)'; exit 4"
    result = await run(client, code, "shell", env={"GREETING": "hello"}, stdin=b"from stdin\n")
    assert result.stdout == b"HELLO\nfrom stdin\n1024\n", result
    assert result.stderr == b"oops\n"
    assert result.verdict.exit_code == 4


async def test_a_shell_that_dies_of_a_signal_says_so(client: IsolationClient) -> None:
    verdict = (await run(client, "kill -TERM $$", "shell")).verdict
    assert (verdict.outcome, verdict.exit_code, verdict.signal) == (Outcome.FAILED, 143, 15)


@pytest.mark.for_others
async def test_processes_left_behind_end_with_the_program(client: IsolationClient) -> None:
    code = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", "1000"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(1)
    os._exit(0)
print("done")
"""
    result = await run(client, code)
    assert result.stdout == b"done\n"
    assert result.verdict.outcome == Outcome.COMPLETED


async def test_jobs_share_the_slots_and_keep_their_order(client: IsolationClient) -> None:
    """Two slots, six jobs: all run, and each gets its own output."""
    runs = await asyncio.gather(*(run(client, f"print({number})") for number in range(6)))
    assert [result.stdout for result in runs] == [f"{number}\n".encode() for number in range(6)]


async def test_a_tier_that_this_machine_lacks_is_refused_with_what_brings_it(tmp_path: Path) -> None:
    arguments = ("--idle", "0.3", "--runsc", str(tmp_path / "none"))
    client = IsolationClient(tmp_path / "i.sock", tmp_path / "i.log", 1, "t", program_arguments=arguments)
    with pytest.raises(IsolationUnavailable, match="asks for tier T3.*runsc.* is not installed") as refusal:
        await run_job(client, job("print(1)", minimum_tier=Tier.T3))
    assert "apt-get install runsc" in (refusal.value.hint or "")
    assert "thane doctor" in (refusal.value.hint or "")
    await client.close()


async def test_t3_is_for_jobs_that_demand_it(tmp_path: Path) -> None:
    client = IsolationClient(
        tmp_path / "i.sock", tmp_path / "i.log", 1, "t", program_arguments=("--idle", "0.3")
    )
    reports = {report.tier: report for report in await client.ladder()}
    t3 = reports[Tier.T3]
    require(t3.available, f"tier T3 ({t3.missing})", get="apt-get install runsc")
    assert (await run(client, "print(1)")).verdict.tier != Tier.T3
    demanding = await run(client, "import os; print(os.uname().release)", minimum_tier=Tier.T3)
    assert demanding.verdict.tier == Tier.T3
    assert demanding.stdout.strip() != os.uname().release.encode(), "the kernel is not the host's"
    with pytest.raises(IsolationUnavailable, match="T3 has no stateful sandboxes") as refusal:
        await run(client, "print(1)", minimum_tier=Tier.T3, context="c")
    assert "T2" in (refusal.value.hint or "")
    await client.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"memory_bytes": 0}},
        {"limits": {"timeout_ms": -1}},
        {"env": {"A=B": "x"}},
        {"env": {"A": "x\0y"}},
        {"files": {"../up": b""}},
        {"files": {"/etc/passwd": b""}},
        {"files": {"a//b": b""}},
        {"files": {"a\nb": b""}},
        {"files": {"a": b"", "a/b": b""}},
        {"files": {"big": bytes(33 * MB)}},
    ],
    ids=str,
)
async def test_a_job_that_makes_no_sense_is_refused_with_the_reason(
    best: IsolationClient, changes: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as refusal:
        await run(best, "print(1)", **changes)
    assert refusal.value.message


async def test_an_unknown_language_is_refused(best: IsolationClient) -> None:
    with pytest.raises(Invalid, match="unknown language"):
        await run(best, "1", "cobol")
