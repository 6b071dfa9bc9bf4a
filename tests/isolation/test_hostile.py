"""Programs that try to get out do not, and would have succeeded without the jail."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.isolation.conftest import Programs
from tests.isolation.hostile import ATTACKS, Attack
from tests.isolation.jailing import JobProcesses, Run, is_alive, job, new_id, run, wait_until
from thane.adapters.isolation import IsolationClient
from thane.isolation import libc
from thane.isolation.syscalls import number
from thane.kernel.ports.isolation import OutputChunk, Tier

pytestmark = pytest.mark.anyio
# What gVisor's kernel offers to its guests, where ours has to deny the host's.
_GUESTS_OWN = {"user-namespace", "user-namespace-by-clone", "netlink", "io-uring"}


@dataclass
class Canary:
    """Things on the host that a hostile program must not reach."""

    values: dict[str, Any]
    process: subprocess.Popen[bytes]
    folder: Path

    def is_untouched(self) -> bool:
        return (
            is_alive(self.process.pid)
            and (self.folder / "victim").exists()
            and not (self.folder / "planted").exists()
            and os.getpriority(os.PRIO_PROCESS, self.process.pid) == 0
        )


@pytest.fixture
def canary(programs: Programs) -> Iterator[Canary]:
    """Fresh ones: the run without the jail really kills and deletes."""
    with tempfile.TemporaryDirectory(prefix="thane-canary-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        secret = new_id()
        (folder / "file").write_text(secret)
        (folder / "file").chmod(0o644)
        (folder / "victim").touch()
        sleeper = subprocess.Popen(["sleep", "600"], env={"SECRET": secret})
        listener = socket.create_server(("127.0.0.1", 0))
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + secret)
        abstract.listen()
        shared = ctypes.CDLL(None).shmget(os.getpid(), 4096, 0o1666)
        machine = libc.machine()
        values: dict[str, Any] = {
            "secret": secret,
            "folder": str(folder),
            "file": str(folder / "file"),
            "victim": str(folder / "victim"),
            "pid": sleeper.pid,
            "port": listener.getsockname()[1],
            "abstract": secret,
            "shm_key": os.getpid(),
            **{call: number(call, machine) for call in ("clone", "add_key", "bpf")},
        }
        yield Canary(values, sleeper, folder)
        ctypes.CDLL(None).shmctl(shared, 0, None)
        abstract.close()
        listener.close()
        sleeper.kill()
        sleeper.wait()


@functools.cache
def namespaces_are_allowed() -> bool:
    """Whether a bare program of this user may make a namespace."""
    code = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x10000000) != 0)"
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False).returncode == 0


async def a_neighbour(client: IsolationClient, secret: str) -> tuple[asyncio.Task[None], str]:
    """Another jail that holds a secret in its workspace while the attack runs."""
    what = job(
        f"open('secret-of-another-jail', 'w').write({secret!r})\nprint('there')\nimport time\n"
        "while True: time.sleep(0.01)"
    )
    there = asyncio.Event()

    async def live() -> None:
        async for event in client.run(what):
            if isinstance(event, OutputChunk):
                there.set()

    task = asyncio.create_task(live())
    await asyncio.wait_for(there.wait(), 20)
    return task, what.id


@pytest.mark.for_others
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_a_hostile_program_reaches_nothing(
    programs: Programs, client: IsolationClient, tier: Tier, canary: Canary, attack: Attack
) -> None:
    if tier == Tier.T3 and attack.name in _GUESTS_OWN:
        pytest.skip("what it makes or speaks to is its guest's own kernel's, not the host's")
    values = {**canary.values, "socket": str(programs.socket(tier))}
    code = attack.code.format(**values)
    neighbour = None
    if attack.name == "other-jails-workspace":
        neighbour = await a_neighbour(client, values["secret"])

    result = await run(client, code)
    assert b"REACHED" not in result.stdout, result
    assert canary.is_untouched()

    as_root = os.getuid() == 0
    if (as_root or not attack.needs_root) and (namespaces_are_allowed() or not attack.needs_namespaces):
        # In a thread: some attacks talk to a server in this very process.
        command = [sys.executable, "-I", "-c", code]
        bare = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, cwd=canary.folder, check=False
        )
        assert "REACHED" in bare.stdout, f"without the jail it should have succeeded: {bare}"
    if neighbour is not None:
        await client.cancel(neighbour[1])
        await neighbour[0]


@pytest.mark.for_others
async def test_the_first_process_cannot_be_spoken_for(client: IsolationClient, tier: Tier) -> None:
    """A program that could open its supervisor's descriptors could forge its own verdict."""
    if tier == Tier.T3:
        pytest.skip(
            "process 1 in a guest is as untrusted as the program; the supervisor is outside the guest"
        )
    code = """
import os
found = []
for pid in {1, os.getppid()}:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            descriptor = os.open(f"/proc/{pid}/fd/{name}", os.O_WRONLY)
            os.write(descriptor, b"exit 0\\n"); found.append(name)
    except OSError: pass
    for name in ("environ", "mem", "maps"):
        try:
            if open(f"/proc/{pid}/{name}", "rb").read(1): found.append(name)
        except OSError: pass
    try: os.kill(pid, 9); os.kill(pid, 15)
    except OSError: pass
print(found)
raise SystemExit(5)
"""
    result = await run(client, code)
    assert result.stdout == b"[]\n", result
    assert result.verdict.exit_code == 5


async def test_a_program_holds_no_descriptor_but_its_streams(client: IsolationClient) -> None:
    code = """
import os
kept = []
for number in range(3, 1024):
    try: os.fstat(number); kept.append(number)
    except OSError: pass
print(kept)
"""
    assert (await run(client, code)).stdout == b"[]\n"


@pytest.mark.for_others
async def test_a_program_has_no_right_on_the_host(client: IsolationClient, tier: Tier) -> None:
    """No capability, no way to get one, and a user that owns nothing."""
    if tier == Tier.T3:
        in_guest = "print([line for line in open('/proc/self/status') if line.startswith('CapEff')])"
        assert (await run(client, in_guest)).stdout.split(b"\\t")[1].startswith(b"0000000000000000")
        return
    code = """
import os, ctypes
libc = ctypes.CDLL(None)
print(libc.prctl(39, 0, 0, 0, 0), sum(libc.prctl(23, cap, 0, 0, 0) for cap in range(41)) if False else "")
print(os.getuid(), os.getgid(), os.getgroups())
"""
    first, second = (await run(client, code)).stdout.decode().splitlines()
    assert first.startswith("1"), "no new privileges"
    uid = int(second.split()[0])
    assert uid != 0
    if tier != Tier.T1:
        assert uid == 1000


async def test_as_root_a_jail_is_not_root_on_the_host(
    programs: Programs, client: IsolationClient, tier: Tier
) -> None:
    if os.getuid() != 0:
        pytest.skip("says something only as root: here a jail runs as the user who started it")
    marker = new_id()
    what, result = job(f"import os\nprint('there')\nos.execlp('sleep', {marker!r}, '600')"), Run()
    seen: set[int] = set()

    def uids_of(pid: int) -> None:
        status = Path(f"/proc/{pid}/status").read_text()
        seen.update(int(uid) for uid in status.split("Uid:")[1].split("\n")[0].split())

    def owners() -> bool:
        if tier == Tier.T3:  # all that runsc has started
            for pid in JobProcesses(marker, tier, programs.socket(tier)).alive():
                uids_of(pid)
            return bool(seen)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if marker.encode() in (entry / "cmdline").read_bytes():
                        uids_of(int(entry.name))
                except OSError:
                    continue
        return bool(seen)

    async for event in client.run(what):
        result.take(event)
        if isinstance(event, OutputChunk):
            await asyncio.to_thread(wait_until, owners, "the jail's process is seen")
            await client.cancel(what.id)
    assert 0 not in seen
    assert all(uid >= 0x70000000 for uid in seen), seen


async def test_forged_frames_on_standard_output_are_only_output(client: IsolationClient) -> None:
    forged = b'\x00\x00\x00\x10\x00\x00\x00\x00{"t":"verdict"}\nstarted\nexit 0\n'
    result = await run(client, f"import os; os.write(1, {forged!r}); os.write(2, {forged!r}); os._exit(9)")
    assert result.stdout == result.stderr == forged
    assert result.verdict.exit_code == 9


@pytest.mark.for_others
async def test_thanes_packages_and_installed_ones_are_not_there(client: IsolationClient) -> None:
    here = str(Path(__file__).parents[2])
    code = f"""
import importlib.util, os, sys
print([name for name in ("thane", "msgspec", "apsw", "pip") if importlib.util.find_spec(name)])
try: print(os.listdir({here!r}))
except OSError: print("closed")
"""
    assert (await run(client, code)).stdout == b"[]\nclosed\n"
