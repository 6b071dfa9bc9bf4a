"""The steps of the demo, each done for real and held against what must come of it."""

from __future__ import annotations

import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from thane.interfaces.cli.demo.narrator import Narrator
from thane.interfaces.cli.demo.programs import Program, programs
from thane.interfaces.cli.launcher import Copy, HashTouch, Launcher, LeafTouch, RowTouch, Touch
from thane.interfaces.cli.output import body_of
from thane.interfaces.cli.tables import Column
from thane.interfaces.cli.trail import COLUMNS, cells
from thane.interfaces.local import Caller
from thane.kernel.settings import Loaded

MOST_PROBLEMS: Final = 5
SECRET: Final = ("local-key", "ledger.key", "index.key", "master/[!.]*")
LIMITS: Final = {"max_memory_mb": 64, "max_cpu_cores": "1", "max_disk_mb": 16, "max_execution_time_sec": 10}
BILL: Final = (
    Column("PROGRAM"),
    Column("STATUS"),
    Column("TIME", "drop"),
    Column("MEMORY", "drop"),
    Column("USD"),
)


Secrets = dict[Path, bytes]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step: whether it went as it must, and what came of it."""

    name: str
    ok: bool
    found: Any


class Story:
    """Plays the demo in one data folder and remembers every step."""

    def __init__(self, launcher: Launcher, loaded: Loaded, data: Path, tell: Narrator) -> None:
        self._launcher = launcher
        self._loaded = loaded
        self._data = data
        self._tell = tell
        self.steps: list[Step] = []
        self.run_id = ""
        self._results: list[tuple[Program, dict[str, Any]]] = []

    @property
    def ok(self) -> bool:
        """Whether all of it went as it must."""
        return all(step.ok for step in self.steps)

    async def play(self, scratch: Path) -> None:
        """All steps. `scratch` is a folder for the touched copy; it is not cleaned up here."""
        async with self._launcher.calling(self._data, self._loaded) as caller:
            await self._work(caller)
            await self._bill(caller)
        await self._timeline()
        await self._verify()
        await self._touch(scratch / "copy")

    def _done(self, name: str, ok: bool, found: Any, good: str, bad: str) -> None:
        self.steps.append(Step(name=name, ok=ok, found=found))
        self._tell.check(ok, good, bad)

    # -- the agent's run --------------------------------------------------------------------

    async def _work(self, caller: Caller) -> None:
        self._tell.step("An agent opens a run and gets a sandbox")
        opened = body_of(await _post(caller, "/api/v1/runs", {"purpose": "demo: reconcile the invoices"}))
        self.run_id = opened["id"]
        sandbox = body_of(
            await _post(caller, "/api/v1/sandboxes", {"resource_limits": LIMITS}, run_id=self.run_id)
        )
        self._tell.say(f"run {self.run_id}")
        self._tell.say(f"sandbox {sandbox['id']}: 64 MiB of memory, 1 core, 16 MiB of disk, 10 s")
        secrets = _secrets(self._data / "keys")
        for program in programs([str(path) for path in secrets]):
            await self._execute(caller, sandbox["id"], program, secrets)
        await _post(caller, f"/api/v1/runs/{self.run_id}/finish", {"outcome": "done"}, run_id=self.run_id)

    async def _execute(self, caller: Caller, sandbox_id: str, program: Program, secrets: Secrets) -> None:
        self._tell.step(program.about)
        if program.name == "steals":
            self._tell.say(
                f"They are there: {len(secrets)} files in {self._data / 'keys'}. The program gets:"
            )
        result = body_of(
            await _post(
                caller,
                f"/api/v1/sandboxes/{sandbox_id}/executions",
                {"code": program.code, "language": "python"},
                run_id=self.run_id,
            )
        )
        self._results.append((program, result))
        output, error = result["output"] or {}, result["error"] or {}
        self._tell.quote(output.get("stdout", ""))
        if error:
            self._tell.say(f"{error['error_type']}: {error['message']}")
        ended = f"{result['status']} after {result['duration_ms'] or 0} ms"
        place = f"ledger entry {(result['ledger'] or {}).get('index', '-')}"
        as_meant = (result["status"], error.get("error_type")) == (program.status, program.error_type)
        leaked = [path.name for path, secret in secrets.items() if _holds(output, secret)]
        good = {
            "works": f"{ended}, in tier {(result['isolation'] or {}).get('tier')}, {place}",
            "fails": f"{ended}; a failure is a result like any other, {place}",
            "greedy": f"{ended}: stopped for its 64 MiB, the machine did not notice, {place}",
            "steals": f"{ended}: it saw no key, {place}",
        }[program.name]
        told = f"the program's answer holds {', '.join(leaked)}" if leaked else f"{ended}; see `thane doctor`"
        self._done(f"program {program.name}", as_meant and not leaked, result, good, told)

    # -- what is known of it afterwards -----------------------------------------------------

    async def _bill(self, caller: Caller) -> None:
        self._tell.step("The bill, to the last digit")
        query = quote(f'run_id = "{self.run_id}"')
        events = body_of(await caller.call("GET", f"/api/v1/billing/events?limit=50&filter={query}"))["items"]
        amounts = {event["execution_id"]: Decimal(event["amount"]) for event in events}
        rows = []
        for program, result in self._results:
            usage = result["resource_usage"] or {}
            took, peak = f"{result['duration_ms'] or 0} ms", f"{usage.get('peak_memory_mb', 0)} MB"
            amount = amounts.get(result["id"], Decimal(0))
            rows.append((program.name, result["status"], took, peak, f"{amount:f}"))
        total = sum(amounts.values(), Decimal(0))
        self._tell.table([*rows, ("total", "", "", "", f"{total:f}")], BILL)
        billed = sum(
            Decimal((result["billing_info"] or {}).get("cost_usd", 0)) for _, result in self._results
        )
        good = "one bill for each program, and each is what its program was told"
        found = {"events": events, "total_usd": f"{total:f}"}
        same = len(amounts) == len(self._results) and total == billed
        self._done("bill", same, found, good, f"the programs were told {billed}")

    async def _timeline(self) -> None:
        self._tell.step("The timeline: each line is an entry of the ledger")
        async with self._launcher.reading(self._data, self._loaded) as ledger:
            rows = await ledger.timeline(self.run_id, 100)
        self._tell.table([cells(row) for row in rows], COLUMNS)
        intents, outcomes = ([r for r in rows if r["kind"] == kind] for kind in ("intent", "outcome"))
        paired = [r["intent"] for r in outcomes] == [r["index"] for r in intents]
        good = "every program was recorded before it began, and again when it had ended"
        self._done("timeline", paired and len(outcomes) == 4, rows, good, "a program's record is missing")

    async def _verify(self) -> None:
        self._tell.step("Does the store agree with its ledger?")
        report = await self._verified(self._data)
        for line in report.text().splitlines()[:MOST_PROBLEMS]:
            self._tell.say(line)
        self._done(
            "verify", report.ok, report, "thane verify finds nothing wrong", f"{report.found} problems"
        )

    async def _verified(self, data: Path) -> Any:
        async with self._launcher.reading(data, self._loaded) as ledger:
            return await ledger.verify(lambda done, total: None)

    async def _touch(self, into: Path) -> None:
        """A row is touched in a copy, then its entry, then the entry's hash; each must be seen."""
        failed = next((result for program, result in self._results if program.name == "fails"), None)
        if failed is None or failed["ledger"] is None:
            return
        async with self._launcher.reading(self._data, self._loaded) as ledger:
            tenant_id = ledger.tenant_id
        copy = await self._launcher.copied(self._data, self._loaded, into)
        id, index = failed["id"], failed["ledger"]["index"]
        self._tell.step("Somebody with access to a copy of the file makes the failure a success")
        row = RowTouch("executions", id, "status", "completed")
        await self._caught(copy, row, "touched row", f"row executions/{id}")
        self._tell.step("… and, to cover it up, changes the entry as well")
        leaf = LeafTouch(tenant_id, index, '"outcome":"failed"', '"outcome":"completed"')
        await self._caught(copy, leaf, "touched entry", f"entry {index}: the leaf was changed")
        self._tell.step("… and then makes the entry's hash anew, so that all of it agrees")
        await self._caught(copy, HashTouch(tenant_id, index), "touched hash", "the tree of the first ")

    async def _caught(self, copy: Copy, touch: Touch, name: str, words: str) -> None:
        """`words` must stand in what verify says of the copy."""
        statement = await copy.touch(touch)
        self._tell.say(statement)
        report = await self._verified(copy.data)
        named = [str(problem) for problem in report.problems if words in str(problem)]
        for problem in named[:1]:
            self._tell.quote(problem)
        found = {"statement": statement, "report": report}
        good = "thane verify catches it" + (": a root that was signed" if name == "touched hash" else "")
        self._done(name, bool(named) and not report.ok, found, good, "verify did not catch it")


def _secrets(keys: Path) -> Secrets:
    """The key files of a data folder with what is in them."""
    found = (path for name in SECRET for path in sorted(keys.glob(name)) if path.is_file())
    return {path: path.read_bytes() for path in found}


def _holds(output: dict[str, Any], secret: bytes) -> bool:
    """Whether a program printed what is in a key file, or its secret part."""
    printed = (output.get("stdout", "") + output.get("stderr", "")).encode()
    return any(part in printed for part in secret.split() if len(part) >= 16)


async def _post(caller: Caller, path: str, body: dict[str, Any], *, run_id: str = "") -> Any:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    if run_id:
        headers["Thane-Run"] = run_id
    return await caller.call("POST", path, body, headers=headers)
