"""Fixtures of the isolation tests: a program per tier, shared by the session, and clients to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.isolation.jailing import EVERY_TIER, TIERS, is_alive, program_pid, remains_of, wait_until
from tests.support.needs import require
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import Tier


def pytest_configure(config: pytest.Config) -> None:
    meaning = "run again as an ordinary user and without namespaces (test_as_others)"
    config.addinivalue_line("markers", f"for_others: {meaning}")


def is_measured() -> bool:
    """Whether this run measures coverage."""
    coverage = sys.modules.get("coverage")
    return coverage is not None and coverage.Coverage.current() is not None


def start_measured(path: Path, log: Path, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start the program under coverage: as the client starts it, with no environment, nothing is measured."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "coverage", "run", "--parallel-mode"]
    command += [f"--rcfile={root / 'pyproject.toml'}", f"--data-file={Path.cwd() / '.coverage'}"]
    command += [
        "-m",
        "thane.isolation",
        str(path),
        "--slots",
        "2",
    ]
    with log.open("ab") as file:
        started = subprocess.Popen(
            [*command, *arguments], env={}, cwd="/", stderr=file, start_new_session=True
        )
    wait_until(path.exists, "the measured program listens")
    return started


class Programs:
    """The session's programs, one per tier; started when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._missing: dict[Tier, str] = {}
        self._measured: dict[Tier, subprocess.Popen[bytes]] = {}

    def socket(self, tier: Tier) -> Path:
        return self.folder / f"{tier}.sock"

    def client(self, tier: Tier) -> IsolationClient:
        arguments = ("--force-tier", str(tier), "--idle", "30")
        log = self.folder / f"{tier}.log"
        if is_measured() and tier not in self._measured:
            self._measured[tier] = start_measured(self.socket(tier), log, arguments)
        return IsolationClient(self.socket(tier), log, 2, "tests", program_arguments=arguments)

    def missing(self, tier: Tier) -> str:
        """Why this machine does not have the tier; empty if it does. Found out once."""
        if tier not in self._missing:
            self._missing[tier] = asyncio.run(self._ask(tier))
        return self._missing[tier]

    async def _ask(self, tier: Tier) -> str:
        client = self.client(tier)
        try:
            reports = {report.tier: report for report in await client.ladder()}
        finally:
            await client.close()
        report = reports[tier]
        return (
            ""
            if report.available
            else f"tier {tier} is not to be had here: {report.missing}. {report.remedy}"
        )

    def stop(self) -> None:
        """End them and see that nothing of them is left."""
        for tier in self._missing:
            path = self.socket(tier)
            if not path.exists():
                continue
            pid = program_pid(path)
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda pid=pid: not is_alive(pid), "the program ends by SIGTERM")  # type: ignore[misc]
            wait_until(lambda pid=pid: not remains_of(pid), "nothing is left of it")  # type: ignore[misc]
            if tier in self._measured:
                self._measured[tier].wait()


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    # Not pytest's own folder: it is closed to others, and a jail must fail at the socket, not before.
    folder = Path(tempfile.mkdtemp(prefix="thane-tests-"))
    started = Programs(folder)
    yield started
    started.stop()
    shutil.rmtree(folder)


@pytest.fixture(params=EVERY_TIER, ids=str)
def tier(request: pytest.FixtureRequest, programs: Programs) -> Tier:
    """Each tier that this machine has; the others are skipped with the reason."""
    wanted: Tier = request.param
    missing = programs.missing(wanted)
    if missing and (os.geteuid() != 0 or request.config.option.markexpr == "for_others"):
        # An ordinary user has no T2 without a delegated group, and some runs have no namespaces on purpose.
        pytest.skip(missing)
    require(not missing, f"tier {wanted}", get=f"uv run thane doctor ({missing})")
    return wanted


@pytest.fixture
async def client(programs: Programs, tier: Tier) -> AsyncIterator[IsolationClient]:
    connected = programs.client(tier)
    await connected.start()
    yield connected
    await connected.close()


@pytest.fixture
def best_tier(programs: Programs) -> Tier:
    """The strongest tier there is."""
    for wanted in TIERS:
        if not programs.missing(wanted):
            return wanted
    require(False, "a tier of isolation", get="uv run thane doctor")
    raise AssertionError("unreachable")


@pytest.fixture
async def best(programs: Programs, best_tier: Tier) -> AsyncIterator[IsolationClient]:
    """A client of the strongest tier there is, for what does not depend on the tier."""
    connected = programs.client(best_tier)
    await connected.start()
    yield connected
    await connected.close()
