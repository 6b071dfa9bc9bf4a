"""Templates: packages are there, are imported ahead of the job and in jails only, and harm nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.isolation.jailing import LIMITS, Run, is_alive, job, program_pid, run_job, wait_until
from tests.isolation.test_zygote import children_named
from thane.adapters.isolation import IsolationClient
from thane.kernel.errors import Invalid, IsolationUnavailable
from thane.kernel.ports.isolation import Home, Outcome, Template, Tier

pytestmark = pytest.mark.anyio

MB = 1 << 20
WITHOUT = (Tier.T1, Tier.T3)  # the zygote does not make their jails
# Says in which process it was imported and when; the module's own state shows whether that was ahead.
PACKAGE = """
import os, time
imported_by, imported_at = os.getpid(), time.monotonic()
print("importing", flush=True)
"""


@pytest.fixture
def walled(tier: Tier) -> Tier:
    if tier in WITHOUT:
        pytest.skip(f"tier {tier} has no templates")
    return tier


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="thane-templates-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def template(folder: Path, source: str = PACKAGE, name: str = "greeting") -> Template:
    packages = folder / name
    packages.mkdir()
    (packages / f"{name}.py").write_text(source)
    return Template(packages=packages, imports=(name,))


def a_client(folder: Path, tier: Tier, *more: str) -> IsolationClient:
    arguments = ("--idle", "0.3", "--stock", "0", "--force-tier", str(tier), *more)
    return IsolationClient(folder / "i.sock", folder / "i.log", 2, "templates", program_arguments=arguments)


async def run_in(client: IsolationClient, made: Template | None, code: str, **changes: Any) -> Run:
    return await run_job(client, job(code, template=made, **changes))


def jails(folder: Path) -> list[int]:
    return children_named(program_pid(folder / "i.sock"), "thane-jail")


async def in_stock(folder: Path) -> int:
    """The first process of the one jail that waits, once it has imported what it is to import."""
    for _ in range(2000):
        found = jails(folder)
        # One without a program has not begun its own, or is the last job's and is being cleared away.
        if len(found) == 1 and (programs := below(found[0])) and all(is_asleep(pid) for pid in programs):
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError(f"no jail waits: {jails(folder)}")


def below(first: int) -> list[int]:
    try:
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
    except OSError:
        return []  # it has ended
    return [int(pid) for pid in children.split()]


def is_asleep(pid: int) -> bool:
    """Whether it waits for a message: it has nothing more to import."""
    try:
        return Path(f"/proc/{pid}/wchan").read_text() == "__skb_wait_for_more_packets"
    except OSError:
        return False


SHOW = "import greeting, time; print(time.monotonic() - greeting.imported_at)"


@pytest.mark.for_others
async def test_packages_are_there_in_jails_that_were_asked_for_them_only(
    client: IsolationClient, walled: Tier, folder: Path
) -> None:
    made = template(folder)
    result = await run_in(client, made, "import greeting; print(greeting.__file__)")
    assert result.stdout.endswith(b"/run/packages/greeting.py\n")
    other = await run_job(client, job("import greeting"))
    assert b"ModuleNotFoundError" in other.stderr
    shell = await run_in(client, made, "python3 -c 'import greeting; print(1)'", language="shell")
    assert shell.stdout == b"importing\n1\n"


@pytest.mark.for_others
async def test_a_jail_in_stock_has_imported_them_ahead_in_silence(walled: Tier, folder: Path) -> None:
    client, made = a_client(folder, walled), template(folder)
    first = await run_in(client, made, SHOW)
    assert first.stdout.startswith(b"importing\n"), "none was in stock: it has imported itself"
    await in_stock(folder)
    second = await run_in(client, made, SHOW)
    assert not second.stdout.startswith(b"importing\n")
    assert second.verdict.outcome == Outcome.COMPLETED
    await client.close()


@pytest.mark.for_others
async def test_packages_cannot_be_changed_from_inside(
    client: IsolationClient, walled: Tier, folder: Path
) -> None:
    code = """
import os
for what in (lambda: open("/run/packages/planted.py", "w"), lambda: os.unlink("/run/packages/greeting.py"),
             lambda: os.chmod("/run/packages/greeting.py", 0o777)):
    try: what(); print("changed")
    except OSError as error: print(error.strerror)
"""
    result = await run_in(client, template(folder), code)
    assert result.stdout == b"Read-only file system\n" * 3


async def test_contexts_see_them_too(client: IsolationClient, walled: Tier, folder: Path) -> None:
    made = template(folder)
    for expected in (b"importing\ntrue\n", b"true\n"):
        code = "import greeting; print(str('greeting' in globals()).lower())"
        assert (await run_in(client, made, code, context="c")).stdout == expected
    await client.close_sandbox("sbx")


async def test_a_sandbox_that_a_file_has_made_sees_them(
    client: IsolationClient, walled: Tier, folder: Path
) -> None:
    home = Home(sandbox_id="sbx", limits=LIMITS, template=template(folder))
    await client.write_file(home, "name", b"ada")
    code = "import greeting; print(open('name').read())"
    assert (await run_in(client, home.template, code, context="c")).stdout == b"importing\nada\n"
    await client.close_sandbox("sbx")


ATTACKS = {
    "leaves things for others": """
import builtins, sys
builtins.planted = 1
sys.modules["json"] = None
for folder in ("/workspace", "/tmp", "/dev/shm"): open(folder + "/planted", "w").close()
""",
    "kills everything": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "ends its interpreter": "import os; os._exit(3)",
    "raises": "raise BaseException('no')",
    "forges what it says to others": """
import os
for descriptor in range(3, 64):
    for text in (b"ready\\n", b"imported", b"exit 0\\ncpu_us 0\\npeak 0\\nread 0\\nwritten 0\\n"):
        try: os.write(descriptor, text)
        except OSError: pass
""",
    "takes all memory": "kept = []\nwhile True: kept.append(bytearray(4 << 20))",
    "forks for ever": """
import os
try:
    while True: os.fork()
except OSError: pass
""",
    "makes a namespace": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
refused = libc.unshare(0x10000000) == -1
""",
}


@pytest.mark.for_others
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_package_that_attacks_at_import_harms_its_own_jail_only(
    walled: Tier, folder: Path, attack: str
) -> None:
    client = a_client(folder, walled)
    evil, good = template(folder, ATTACKS[attack], "evil"), template(folder)
    canary = folder / "canary"
    canary.write_text("alive")
    limits = {"memory_bytes": 64 * MB, "processes": 8}
    # What imports nothing is not harmed; the stock of `evil` imports behind its back.
    for _ in range(3):
        harmed = await run_in(client, evil, "print(1)", limits=limits)
        assert len(harmed.verdicts) == 1, "however it ended"
        fine = await run_in(client, good, "import json, os; print(os.listdir('/workspace'), json.dumps(1))")
        assert fine.stdout.splitlines()[-1] == b"[] 1", fine.stderr
        plain = await run_job(client, job("import builtins; print(hasattr(builtins, 'planted'))"))
        assert plain.stdout == b"False\n"
    assert canary.read_text() == "alive"
    assert is_alive(program_pid(folder / "i.sock"))
    await client.close()


async def test_a_namespace_is_refused_to_what_is_imported_ahead(walled: Tier, folder: Path) -> None:
    client, made = a_client(folder, walled), template(folder, ATTACKS["makes a namespace"])
    assert (await run_in(client, made, "print(1)")).stdout == b"1\n"
    await in_stock(folder)
    assert (await run_in(client, made, "import greeting; print(greeting.refused)")).stdout == b"True\n"
    await client.close()


async def test_the_limits_hold_for_what_is_imported_ahead(walled: Tier, folder: Path) -> None:
    client = a_client(folder, walled)
    made = template(folder, "import time\nkept = bytearray(200 << 20)\nprint('never')")
    limits = {"memory_bytes": 64 * MB}
    assert (await run_in(client, made, "print(1)", limits=limits)).stdout == b"1\n"
    log = folder / "i.log"
    wait_until(lambda: "did not import" in log.read_text(), "importing was ended")
    wait_until(lambda: not jails(folder), "its jail is reaped")
    result = await run_in(client, made, "import greeting", limits=limits)
    assert result.verdict.outcome == Outcome.OUT_OF_MEMORY, "each job is told for itself"
    await client.close()


@pytest.mark.for_others
async def test_a_jail_that_dies_in_stock_is_reaped_and_made_good(walled: Tier, folder: Path) -> None:
    client, made = a_client(folder, walled), template(folder)
    await run_in(client, made, SHOW)
    dead = await in_stock(folder)
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{dead}").exists(), "it is reaped at once")
    assert (await run_in(client, made, SHOW)).verdict.outcome == Outcome.COMPLETED
    assert await in_stock(folder) != dead
    assert not (await run_in(client, made, SHOW)).stdout.startswith(b"importing")
    await client.close()


async def test_a_template_that_nobody_uses_is_not_kept(walled: Tier, folder: Path) -> None:
    client, made = a_client(folder, walled, "--template-idle", "0.2"), template(folder)
    await run_in(client, made, SHOW)
    wait_until(lambda: not jails(folder), "its jail is gone")
    assert (await run_in(client, made, SHOW)).verdict.outcome == Outcome.COMPLETED
    await client.close()


async def test_nothing_is_kept_when_the_last_client_has_left(walled: Tier, folder: Path) -> None:
    client, made = a_client(folder, walled, "--idle", "5"), template(folder)
    await run_in(client, made, SHOW)
    waiting, program = await in_stock(folder), program_pid(folder / "i.sock")
    await client.close()
    wait_until(lambda: not is_alive(waiting), "the stock is dropped")
    assert is_alive(program), "the program itself waits for another client"
    os.kill(program, signal.SIGTERM)


async def test_two_servers_share_a_templates_stock(walled: Tier, folder: Path) -> None:
    one, made = a_client(folder, walled), template(folder)
    await run_in(one, made, SHOW)
    await in_stock(folder)
    two = IsolationClient(folder / "i.sock", folder / "i.log", 2, "another")
    await two.start()
    await one.close()
    assert not (await run_in(two, made, SHOW)).stdout.startswith(b"importing")
    await two.close()


async def test_jobs_end_with_the_cause_when_the_program_dies_and_templates_work_again(
    walled: Tier, folder: Path
) -> None:
    client, made = a_client(folder, walled), template(folder)
    running = asyncio.create_task(run_in(client, made, "import time; time.sleep(60)"))
    await client.start()
    for _ in range(2000):
        if jails(folder):
            break
        await asyncio.sleep(0.01)
    old = program_pid(folder / "i.sock")
    os.kill(old, signal.SIGKILL)
    ended = await running
    assert ended.verdict.outcome == Outcome.HOST_LOST
    assert "the isolation program died" in ended.verdict.message
    assert (await run_in(client, made, SHOW)).verdict.outcome == Outcome.COMPLETED
    assert program_pid(folder / "i.sock") != old
    await client.close()


async def test_importing_ahead_is_not_charged_to_the_job(walled: Tier, folder: Path) -> None:
    busy = "import time\nuntil = time.process_time() + 0.6\nwhile time.process_time() < until: pass"
    client, made = a_client(folder, walled), template(folder, busy)
    assert (await run_in(client, made, "print(1)")).stdout == b"1\n"
    await in_stock(folder)
    result = await run_in(client, made, "import greeting")
    assert result.verdict.usage.cpu_us < 500_000
    await client.close()


async def test_a_tier_whose_jails_the_zygote_does_not_make_refuses_them(
    client: IsolationClient, tier: Tier, folder: Path
) -> None:
    if tier not in WITHOUT:
        pytest.skip("this tier has them")
    with pytest.raises(IsolationUnavailable, match="has no templates"):
        await run_in(client, template(folder), "print(1)")


@pytest.mark.parametrize(
    "made",
    [
        Template(packages=Path("/nowhere/at/all")),
        Template(packages=Path("/usr"), imports=("os; import sys",)),
        Template(packages=Path("/usr"), imports=("a..b",)),
        Template(packages=Path("/usr"), imports=("a",) * 65),
    ],
)
async def test_a_template_that_makes_no_sense_is_refused(best: IsolationClient, made: Template) -> None:
    with pytest.raises(Invalid, match="template"):
        await run_in(best, made, "print(1)")
