"""One isolation program per tier, and one run of all its programs at once, shared by the session."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import bare
from tests.hostile.defects import known
from tests.hostile.jails import SLOTS, Batch, Result, complaints, program_pid, run_batch
from tests.hostile.rows import TIERS, Program
from tests.hostile.table import BY_NAME
from thane.adapters.isolation import IsolationClient
from thane.kernel.ports.isolation import Tier

# Read when it is imported: the tests' own fixtures hide the settings of whoever runs them.
FULL = os.environ.get("THANE_TEST_HOSTILE_FULL", "") not in ("", "0")
RESULTS = os.environ.get("HOSTILE_RESULTS", "")  # a file that figures are added to


class Batches:
    """A batch per tier, run when the first test asks for it, with the programs that tests will ask for."""

    def __init__(self, folder: Path, wanted: dict[Tier, list[Program]]) -> None:
        self._folder = folder
        self._wanted = wanted
        self._done: dict[Tier, Batch] = {}
        self._missing: dict[Tier, str] | None = None

    def _client(self, name: str, *arguments: str) -> IsolationClient:
        log = self._folder / f"{name}.log"
        arguments = (*arguments, "--idle", "60")
        return IsolationClient(
            self._folder / f"{name}.sock", log, SLOTS, "hostile", program_arguments=arguments
        )

    def of(self, tier: Tier) -> Batch:
        """What became of the tier's programs; skips if this machine does not have the tier."""
        if self._missing is None:
            self._missing = asyncio.run(self._look())
        if self._missing[tier]:
            pytest.skip(self._missing[tier])
        if tier not in self._done:
            self._done[tier] = asyncio.run(self._run(tier))
        return self._done[tier]

    async def _look(self) -> dict[Tier, str]:
        """Why a tier is not to be had; empty where it is. By the ladder of a program that may choose."""
        client = self._client("any")
        try:
            reports = {report.tier: report for report in await client.ladder()}
        finally:
            await client.close()
        missing: dict[Tier, str] = {}
        for tier in TIERS:
            report = reports[tier]
            missing[tier] = (
                ""
                if report.available
                else f"tier {tier} is not to be had here: {report.missing}. {report.remedy}"
            )
        return missing

    async def _run(self, tier: Tier) -> Batch:
        client = self._client(str(tier), "--force-tier", str(tier))
        try:
            batch = await run_batch(
                client,
                self._folder / f"{tier}.sock",
                self._wanted.get(tier, []),
                alone=tier == Tier.T1 and os.getuid() != 0,
                stateful=tier in (Tier.T2, Tier.T2_MINUS),
            )
        finally:
            await client.close()
        return batch

    def figures(self) -> list[dict[str, object]]:
        """Per tier: how many programs did as the table says, have a known defect, or neither."""
        as_root = os.getuid() == 0
        who = "as root" if as_root else "as an ordinary user"
        where = "" if bare.namespaces_are_allowed() else ", namespaces refused"
        told: list[dict[str, object]] = []
        for tier, batch in self._done.items():
            counts = Counter(
                self._kind(BY_NAME[name], tier, result, as_root=as_root)
                for name, result in batch.results.items()
            )
            told.append(
                {"run": f"{tier} {who}{where}", "seconds": round(batch.seconds)}
                | {kind: counts[kind] for kind in ("good", "defects", "bad")}
            )
        return told

    @staticmethod
    def _kind(program: Program, tier: Tier, result: Result, *, as_root: bool) -> str:
        if not complaints(program, tier, result, as_root=as_root):
            return "good"
        return (
            "defects"
            if known(program, tier, as_root=as_root, mounts=bare.namespaces_are_allowed())
            else "bad"
        )

    def stop(self) -> None:
        for path in self._folder.glob("*.sock"):
            try:
                pid = program_pid(path)
            except (ConnectionRefusedError, FileNotFoundError):
                continue
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 20
            while path.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not path.exists(), "the isolation program ends by SIGTERM"
            _remove_remains(pid)


def _remove_remains(pid: int) -> None:
    """Folders that a program could not remove, for a known defect: they would keep others from starting."""
    for parent in ("/tmp", "/var/tmp", "/dev/shm"):
        for path in Path(parent).glob(f"thane-isolation-{pid}-*"):
            subprocess.run(["chmod", "-R", "u+rwX", str(path)], check=False)
            subprocess.run(["rm", "-rf", str(path)], check=False)


@pytest.fixture(scope="session")
def batches(request: pytest.FixtureRequest) -> Iterator[Batches]:
    wanted: dict[Tier, list[Program]] = {}
    for item in request.session.items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if isinstance(parameters.get("program"), Program) and "tier" in parameters:
            wanted.setdefault(parameters["tier"], []).append(parameters["program"])
    folder = Path(tempfile.mkdtemp(prefix="hostile-run-"))
    made = Batches(folder, wanted)
    yield made
    made.stop()
    for figures in made.figures():
        print(json.dumps(figures))
        if RESULTS:
            with Path(RESULTS).open("a") as file:
                file.write(json.dumps(figures) + "\n")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def bare_runs(request: pytest.FixtureRequest) -> Iterator[bare.Runs]:
    parameters = [
        getattr(getattr(item, "callspec", None), "params", {})
        for item in request.session.items
        if "bare_runs" in getattr(item, "fixturenames", ())
    ]
    made = bare.Runs([found["program"] for found in parameters])
    yield made
    made.close()
