"""What a program may use is what it was given, and the verdict says what to change."""

from __future__ import annotations

import os
import time

import pytest

from tests.isolation.jailing import MB, Run, run
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import Outcome, Tier

pytestmark = pytest.mark.anyio


@pytest.mark.for_others
async def test_memory_of_one_process(client: IsolationClient) -> None:
    code = "print('begun')\nkept = []\nwhile True: kept.append(bytearray(8 << 20))"
    result = await run(client, code, limits={"memory_bytes": 96 * MB})
    verdict = result.verdict
    assert verdict.outcome == Outcome.OUT_OF_MEMORY, result
    assert "96 MB" in verdict.message
    assert "--memory" in verdict.message
    assert (verdict.exit_code, verdict.signal) == (137, 9)
    assert result.stdout == b"begun\n", "what it had printed is kept"
    assert verdict.usage.peak_memory_bytes >= 80 * MB


@pytest.mark.for_others
async def test_memory_of_many_processes_together(client: IsolationClient) -> None:
    """None of them passes the limit alone."""
    code = """
import os, time
for i in range(8):
    if os.fork() == 0:
        kept = bytearray(24 << 20)
        time.sleep(60)
time.sleep(60)
"""
    verdict = (await run(client, code, limits={"memory_bytes": 96 * MB})).verdict
    assert verdict.outcome == Outcome.OUT_OF_MEMORY, verdict


async def test_memory_that_no_process_maps(client: IsolationClient) -> None:
    """A memfd: denied where it could not be counted, counted where it is allowed."""
    code = """
import os
fd = os.memfd_create("fill")
while True: os.write(fd, bytes(1 << 20))
"""
    verdict = (await run(client, code, limits={"memory_bytes": 96 * MB})).verdict
    assert verdict.outcome in (Outcome.OUT_OF_MEMORY, Outcome.FAILED), verdict
    assert verdict.usage.peak_memory_bytes < 130 * MB


async def test_a_program_within_its_memory_is_left_alone(client: IsolationClient) -> None:
    result = await run(client, "x = bytearray(60 << 20); print(len(x))", limits={"memory_bytes": 128 * MB})
    assert result.verdict.outcome == Outcome.COMPLETED
    assert 60 * MB < result.verdict.usage.peak_memory_bytes < 128 * MB


@pytest.mark.for_others
async def test_disk(client: IsolationClient) -> None:
    code = """
import errno
try:
    with open("fill", "wb") as file:
        for _ in range(64): file.write(bytes(1 << 20))
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    result = await run(client, code, limits={"disk_bytes": 8 * MB})
    if result.verdict.enforcement.disk == "tmpfs":
        assert result.stdout in (b"ENOSPC\n", b"EFBIG\n"), result
    else:
        assert b"--disk" in result.verdict.message.encode() or result.stdout == b"EFBIG\n", result


@pytest.mark.for_others
async def test_disk_by_many_files_in_any_writable_folder(client: IsolationClient) -> None:
    code = """
import os
written = 0
try:
    for folder in (".", os.environ["TMPDIR"], "/dev/shm"):
        if os.access(folder, os.W_OK):
            for number in range(24):
                with open(f"{folder}/{number}", "wb", buffering=0) as file:
                    written += file.write(bytes(1 << 20))
except OSError: pass
print(written >> 20)
"""
    result = await run(client, code, limits={"disk_bytes": 8 * MB})
    if result.verdict.enforcement.disk == "tmpfs":
        assert int(result.stdout) < 9, result


@pytest.mark.for_others
async def test_inodes(client: IsolationClient) -> None:
    code = """
made = 0
try:
    for number in range(60_000):
        open(str(number), "w").close()
        made += 1
except OSError as error: print(error.strerror)
print(made)
"""
    result = await run(client, code, limits={"timeout_ms": 60_000})  # T3 asks its gofer for each
    if result.verdict.enforcement.disk == "tmpfs":
        assert b"No space left" in result.stdout
        assert int(result.stdout.split()[-1]) < 20_001


def ended_for_its_processes(result: Run) -> None:
    """A guest's kernel has no limit on processes: the watch ends it."""
    assert result.verdict.outcome == Outcome.FAILED
    assert result.verdict.message == "ran more than 20 processes at once; start fewer"


@pytest.mark.for_others
async def test_a_fork_bomb_hits_the_process_limit_and_goes_with_its_jail(
    client: IsolationClient, tier: Tier
) -> None:
    code = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(100)
            os._exit(0)
        made += 1
except BlockingIOError:
    print(made)
"""
    result = await run(client, code, limits={"processes": 20})
    if tier == Tier.T3:
        ended_for_its_processes(result)
        return
    assert result.verdict.outcome == Outcome.COMPLETED
    # Without namespaces the kernel counts all of an ordinary user's processes, also those of others.
    slack = 18 if tier == Tier.T1 and os.getuid() != 0 else 0
    assert 10 - slack <= int(result.stdout) <= 20 + slack, result


async def test_a_fork_bomb_that_never_stops_times_out(client: IsolationClient, tier: Tier) -> None:
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    result = await run(client, code, limits={"processes": 20, "timeout_ms": 700, "memory_bytes": 1024 * MB})
    if tier == Tier.T3 and result.verdict.outcome == Outcome.FAILED:
        ended_for_its_processes(result)  # if it was quicker than the clock
        return
    assert result.verdict.outcome == Outcome.TIMEOUT, result


async def test_threads_count_as_processes(client: IsolationClient, tier: Tier) -> None:
    code = """
import threading, time
made = 0
try:
    for _ in range(100):
        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        made += 1
except RuntimeError: print(made)
"""
    if tier == Tier.T3:
        pytest.skip("a guest's threads that sleep are its kernel's own: only their memory counts")
    result = await run(client, code, limits={"processes": 20})
    assert 10 <= int(result.stdout) <= 20, result


async def test_zombies_are_reaped_and_do_not_use_the_limit_up(client: IsolationClient) -> None:
    """Orphans go to the first process; two hundred pass under a limit of twenty."""
    code = """
import os, time
for _ in range(200):
    while True:
        try: pid = os.fork()
        except BlockingIOError: time.sleep(0.05)
        else: break
    if pid == 0:
        if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
print("done")
"""
    result = await run(client, code, limits={"processes": 20, "timeout_ms": 60_000})
    assert result.stdout == b"done\n", result


@pytest.mark.for_others
async def test_time_out_of_a_program_that_ignores_signals(client: IsolationClient) -> None:
    code = """
import os, signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
print("begun")
while True: pass
"""
    before = time.monotonic()
    result = await run(client, code, limits={"timeout_ms": 500})
    assert time.monotonic() - before < 5
    verdict = result.verdict
    assert verdict.outcome == Outcome.TIMEOUT, result
    assert verdict.message == "ran longer than 0.5 s; raise --timeout"
    assert result.stdout == b"begun\n"
    assert 400_000 < verdict.usage.wall_us < 2_500_000
    assert verdict.usage.cpu_us > 30_000, "what a killed program used is counted"


async def test_time_out_with_the_smallest_cpu_share_still_ends_soon(client: IsolationClient) -> None:
    before = time.monotonic()
    # Each fork doubles them: 32 stay below the limit of 64, which would end the program by an error instead.
    code = "import os\nfor _ in range(5): os.fork()\nwhile True: pass"
    result = await run(client, code, limits={"timeout_ms": 400, "cpu_millicores": 50})
    assert result.verdict.outcome == Outcome.TIMEOUT, result
    assert time.monotonic() - before < 8


async def test_cpu_share(client: IsolationClient, tier: Tier) -> None:
    code = "import time\nend = time.monotonic() + 0.8\nwhile time.monotonic() < end: pass"
    usage = (await run(client, code, limits={"cpu_millicores": 250})).verdict.usage
    if tier == Tier.T2:
        assert usage.cpu_us < 0.5 * usage.wall_us, usage
    else:
        assert usage.cpu_us < 1.2 * usage.wall_us, "affinity shares out whole processors"


async def test_a_program_cannot_give_itself_more_processors(client: IsolationClient, tier: Tier) -> None:
    if tier in (Tier.T2, Tier.T3):
        pytest.skip(
            "the share is a quota here, or of the guest's kernel; the program's own choice is no matter"
        )
    code = """
import os
try: os.sched_setaffinity(0, range(os.cpu_count()))
except PermissionError: print("refused")
print(len(os.sched_getaffinity(0)))
"""
    assert (await run(client, code)).stdout == b"refused\n1\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_output_is_cut_with_a_marker(client: IsolationClient, stream: str) -> None:
    code = (
        f"import sys\nfor _ in range(300): sys.{stream}.write('x' * 1000)\nprint('end', file=sys.__stdout__)"
    )
    result = await run(client, code, limits={"output_bytes": 100_000})
    cut = result.stdout if stream == "stdout" else result.stderr
    marker = b"\n[output limit of 100000 bytes reached; the rest was dropped]\n"
    assert cut == b"x" * 100_000 + marker
    assert result.verdict.stdout_truncated == (stream == "stdout")
    assert result.verdict.stderr_truncated == (stream == "stderr")
    assert result.verdict.outcome == Outcome.COMPLETED, "it is not stopped for it"


async def test_endless_output_ends_by_the_clock(client: IsolationClient) -> None:
    code = "import os\nwhile True: os.write(1, bytes(65536))"
    result = await run(client, code, limits={"output_bytes": 1000, "timeout_ms": 700})
    assert result.verdict.outcome == Outcome.TIMEOUT
    assert len(result.stdout) < 1100
