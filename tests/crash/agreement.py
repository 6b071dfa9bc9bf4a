"""Does everything in a data folder agree, with itself and with what was answered?

Reads the store's tables with plain SQL, so that it shares nothing with the code that wrote
them; the proofs (leaves, trees, checkpoints, each row against its chain of entries) are
`thane verify`'s own, through the command line's reader. Nothing here writes, except
`projections_of_a_rebuild`, which works on a copy.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

import apsw

from thane.adapters.disk import DataFolder
from thane.bootstrap.reading import StoreReader
from thane.bootstrap.system import System
from thane.kernel.records import schema_of
from thane.kernel.settings import load as load_settings

Row = dict[str, Any]
FINAL = ("completed", "failed", "timeout", "cancelled")
LOG_SHIFT = 40
# What a later operation may change in a row that was answered.
MOVES = {
    "runs": {"status", "outcome", "updated_at", "finished_at", "version"},
    "sandboxes": {"status", "started_at", "terminated_at", "updated_at", "version"},
}


class Snapshot:
    """All tables at one moment, read beside the owner."""

    def __init__(self, data: Path) -> None:
        connection = apsw.Connection(str(data / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5000)
            connection.execute("BEGIN")
            self._connection = connection
            self.logs = {r["number"]: r["tenant_id"] for r in self._rows("SELECT * FROM thane_logs")}
            self.entries = self._rows("SELECT id, leaf FROM thane_entries ORDER BY id")
            self.tables = {
                name: self._rows(f'SELECT * FROM "{name}"')
                for name in (
                    "open_intents",
                    "idempotency",
                    "executions",
                    "sandboxes",
                    "runs",
                    "billing_events",
                    "usage_aggregates",
                    "execution_chunks",
                    "resource_metrics",
                )
            }
        finally:
            connection.close(True)
        self.by_id = {name: {row["id"]: row for row in rows} for name, rows in self.tables.items()}
        self.leaves: dict[str, list[Row]] = defaultdict(list)
        self.gaps: list[str] = []
        for entry in self.entries:
            number, index = entry["id"] >> LOG_SHIFT, entry["id"] & ((1 << LOG_SHIFT) - 1)
            if number == 0:
                continue  # the root log's leaves are notes
            tenant_id, leaf = self.logs.get(number, f"log {number}"), json.loads(entry["leaf"])
            at = len(self.leaves[tenant_id])
            if index != at or leaf["seq"] != at or leaf["tenant"] != tenant_id:
                self.gaps.append(f"{tenant_id}: entry {index} says {leaf['seq']} where {at} was expected")
            self.leaves[tenant_id].append(leaf)

    def _rows(self, sql: str) -> list[Row]:
        cursor = self._connection.execute(sql)
        rows: list[Row] = []
        for values in cursor:
            names = [column[0] for column in cursor.description]
            rows.append(dict(zip(names, values, strict=True)))
        return rows

    def open_effects(self) -> int:
        """Intents and idempotency keys that nobody has ended yet."""
        return len(self.tables["open_intents"]) + sum(
            1 for r in self.tables["idempotency"] if r["state"] == "open"
        )


def problems(data: Path, lines: Iterable[Row] = (), *, kept: bool = True) -> list[str]:
    """All that does not agree; empty when everything does. `lines` are a load's journals.

    `kept`: whether all output could be kept as it came. What the store could not take then is
    lost and said so in the log; the outcome has all of it.
    """
    snapshot = Snapshot(data)
    return [
        *snapshot.gaps,
        *_effects(snapshot),
        *_executions(snapshot),
        *_bills(snapshot),
        *(_streams(snapshot) if kept else ()),
        *_answers(snapshot, lines),
        *verified(data),
    ]


def verified(data: Path) -> list[str]:
    """What `thane verify` finds."""

    async def work() -> list[str]:
        reader = StoreReader(load_settings(None, {}).settings, DataFolder(data))
        await reader.open()
        try:
            report = await reader.verify(lambda done, total: None)
        finally:
            await reader.close()
        return [f"thane verify: {problem}" for problem in report.problems]

    return asyncio.run(work())


# -- the store with itself ------------------------------------------------------------------


def _effects(snapshot: Snapshot) -> Iterable[str]:
    """Each intent has one outcome, and nothing is open."""
    for row in snapshot.tables["open_intents"]:
        yield f"intent {row['intent_index']} of {row['operation']} is open"
    for row in snapshot.tables["idempotency"]:
        if row["state"] != "settled" or row["entry_index"] is None:
            yield f"the idempotency row {row['id']} of {row['operation']} is {row['state']}"
    for tenant_id, leaves in snapshot.leaves.items():
        intents = {leaf["seq"]: leaf for leaf in leaves if leaf["kind"] == "intent"}
        outcomes = Counter(leaf["intent"] for leaf in leaves if leaf["kind"] == "outcome")
        for index, leaf in intents.items():
            if outcomes[index] != 1:
                yield f"{tenant_id}: intent {index} ({leaf['resource']}) has {outcomes[index]} outcomes"
        for index in outcomes.keys() - intents.keys():
            yield f"{tenant_id}: there is an outcome of {index}, which is no intent"


def _executions(snapshot: Snapshot) -> Iterable[str]:
    """Each execution has ended, with one outcome entry that says how, and one bill."""
    outcomes: dict[str, list[Row]] = defaultdict(list)
    intents: Counter[str] = Counter()
    for leaf in (leaf for leaves in snapshot.leaves.values() for leaf in leaves):
        if leaf["operation"] == "sandboxes.execute" and leaf["kind"] == "outcome":
            outcomes[leaf["resource"]].append(leaf)
        if leaf["operation"] == "sandboxes.execute" and leaf["kind"] == "intent":
            intents[leaf["resource"]] += 1
    bills: dict[str, list[Row]] = defaultdict(list)
    for bill in snapshot.tables["billing_events"]:
        bills[bill["execution_id"]].append(bill)
    for row in snapshot.tables["executions"]:
        id = row["id"]
        if row["status"] not in FINAL:
            yield f"{id} is {row['status']}"
            continue
        if intents[id] != 1 or len(outcomes[id]) != 1 or len(bills[id]) != 1:
            yield f"{id} has {intents[id]} intents, {len(outcomes[id])} outcomes and {len(bills[id])} bills"
            continue
        if outcomes[id][0]["outcome"] != row["status"]:
            yield f"{id} is {row['status']}, and its entry says {outcomes[id][0]['outcome']}"
        cost = Fraction(json.loads(row["billing_info"])["cost_usd"])
        if amount_of(bills[id][0]["amount"]) != cost:
            yield f"{id} says that it cost {cost}, and its bill {amount_of(bills[id][0]['amount'])}"
        error = json.loads(row["error"]) if row["error"] else None
        if error is not None and error["error_type"] == "host_lost" and cost:
            yield f"{id} was lost with its host and cost {cost}"
    known = snapshot.by_id["executions"].keys()
    for id in (outcomes.keys() | intents.keys() | bills.keys()) - known:
        yield f"there are entries or bills of {id}, which is not there"


def _bills(snapshot: Snapshot) -> Iterable[str]:
    """Each month is the exact sum of its events."""
    duration = {id: row["duration_ms"] for id, row in snapshot.by_id["executions"].items()}
    sums: dict[tuple[str, ...], dict[str, Any]] = {}
    for event in snapshot.tables["billing_events"]:
        period = _month(event["timestamp"])
        key: tuple[str, ...] = (event["tenant_id"], event["project_id"], event["user_id"], period)
        month = sums.setdefault(key, {"count": 0, "ms": 0, "cost": Fraction(0), "by": defaultdict(Fraction)})
        month["count"] += 1
        month["ms"] += duration[event["execution_id"]]
        month["cost"] += amount_of(event["amount"])
        month["by"][event["event_type"]] += amount_of(event["amount"])
    stored: dict[tuple[str, ...], Row] = {
        (r["tenant_id"], r["project_id"], r["user_id"], r["period"]): r
        for r in snapshot.tables["usage_aggregates"]
    }
    for key in {*sums, *stored}:
        if key not in sums or key not in stored:
            yield f"the month {key} is {'not counted' if key in sums else 'counted from nothing'}"
            continue
        row, month = stored[key], sums[key]
        found = {
            "count": row["total_executions"],
            "ms": row["total_duration_ms"],
            "cost": amount_of(row["total_cost"]),
            "by": {name: Fraction(value) for name, value in json.loads(row["breakdown"]).items()},
        }
        if found != month:
            yield f"the month {key} says {found}, and its events make {month}"


def _streams(snapshot: Snapshot) -> Iterable[str]:
    """Output and samples are numbered without gaps, and output is what the execution says."""
    for table in ("execution_chunks", "resource_metrics"):
        seqs: dict[str, list[int]] = defaultdict(list)
        for row in snapshot.tables[table]:
            seqs[row["execution_id"]].append(row["seq"])
        for id, found in seqs.items():
            if sorted(found) != list(range(len(found))):
                yield f"{table} of {id} have the numbers {sorted(found)}"
    chunks: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in snapshot.tables["execution_chunks"]:
        chunks[row["execution_id"], row["stream"]].append(row)
    for id, row in snapshot.by_id["executions"].items():
        output = json.loads(row["output"]) if row["output"] else {"stdout": "", "stderr": ""}
        for stream in ("stdout", "stderr"):
            kept = b"".join(c["data"] for c in sorted(chunks[id, stream], key=lambda c: int(c["seq"])))
            if output[stream] != kept.decode("utf-8", "replace").replace("\0", "\ufffd"):
                yield f"{id} says {len(output[stream])} characters of {stream}, its chunks {len(kept)} bytes"


def amount_of(text: str) -> Fraction:
    """A stored decimal: a sign digit, then 36 digits of which 18 stand after the point. Never rounded."""
    scaled = int(text[1:]) - (10**36 if text[0] == "0" else 0)
    return Fraction(scaled, 10**18)


def _month(time_us: int) -> str:
    return f"{_time(time_us):%Y-%m}"


def _time(time_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)


# -- the store with what was answered ---------------------------------------------------------


def _answers(snapshot: Snapshot, lines: Iterable[Row]) -> Iterable[str]:
    """Every answered write is there, as it was answered, at the index that was answered."""
    marks: Counter[str] = Counter()
    for row in snapshot.tables["runs"]:
        marks[row["purpose"]] += 1
    for row in snapshot.tables["sandboxes"]:
        marks[row["name"]] += 1
    programs = "\n".join(row["code"] for row in snapshot.tables["executions"])
    for line in lines:
        if line["event"] != "answered" or line["status"] >= 400:
            continue
        yield from _answer(snapshot, line)
        if line["operation"] in ("runs.create", "sandboxes.create") and marks[line["mark"]] != 1:
            yield f"{line['operation']} {line['mark']} was answered and is there {marks[line['mark']]} times"
        if line["operation"] == "sandboxes.execute" and programs.count(line["body"]["code"]) != 1:
            yield f"{line['mark']} was run {programs.count(line['body']['code'])} times"


def _answer(snapshot: Snapshot, line: Row) -> Iterable[str]:
    answer, operation = line["answer"], line["operation"]
    table = {"runs": "runs", "sandboxes": "sandboxes"}[operation.partition(".")[0]]
    if operation == "sandboxes.execute":
        table = "executions"
    row = snapshot.by_id[table].get(answer["id"])
    if row is None:
        yield f"{operation} of {answer['id']} was answered and is not there"
        return
    moves = MOVES.get(table, set()) if row["version"] != answer.get("version") else set()
    for name, value in answer.items():
        if name in moves or name in ("ledger", "outcome"):
            continue
        if name not in row:
            yield f"{operation} of {answer['id']}: {name} was answered, and there is no such column"
        elif not _same(value, row[name]):
            yield f"{operation} of {answer['id']}: {name} was answered as {value!r} and is {row[name]!r}"
    yield from _entry(snapshot, line, answer, row)


def _entry(snapshot: Snapshot, line: Row, answer: Row, row: Row) -> Iterable[str]:
    index = line["index"]
    if line["operation"] == "sandboxes.execute":
        if answer["ledger"] is None:
            return
        index = answer["ledger"]["index"]
        outcome = "outcome"
    else:
        outcome = "record"
    leaves = snapshot.leaves[row["tenant_id"]]
    if index is None or int(index) >= len(leaves):
        yield f"{line['operation']} of {answer['id']} was answered with entry {index} of {len(leaves)}"
        return
    leaf = leaves[int(index)]
    found = (leaf["operation"], leaf["resource"], leaf["kind"])
    if found != (line["operation"], answer["id"], outcome):
        yield f"entry {index} was answered for {line['operation']} of {answer['id']} and is of {found}"


def _same(answered: Any, stored: Any) -> bool:
    """A value as JSON shows it, and as SQLite holds it."""
    if isinstance(stored, str) and isinstance(answered, dict | list):
        return _equal(answered, json.loads(stored))
    if isinstance(answered, str) and isinstance(stored, int):  # a time
        return datetime.fromisoformat(answered) == _time(stored)
    return bool(answered == stored)


def _equal(left: Any, right: Any) -> bool:
    """Equal, where amounts may be written in two ways."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[k], right[k]) for k in left)
    if isinstance(left, str) and isinstance(right, str) and left != right:
        try:
            return Decimal(left) == Decimal(right)
        except InvalidOperation:
            return False
    return bool(left == right)


# -- projections ------------------------------------------------------------------------------


def projections_of_a_rebuild(data: Path, scratch: Path) -> tuple[list[str], int]:
    """What differs between each projection as it stands and as a rebuild makes it; how many there are.

    On a copy of the folder, which nobody may own. Projections that lag are first let catch up.
    """
    shutil.copytree(data, scratch, ignore=shutil.ignore_patterns("*.sock", "*.lock", "isolation.log"))
    return asyncio.run(_rebuilt(scratch))


async def _rebuilt(data: Path) -> tuple[list[str], int]:
    system = System(load_settings(None, {}).settings, DataFolder(data), role="command")
    await system.start()
    found: list[str] = []
    try:
        projections = [p for m in system.modules for p in m.projections]
        names = [p.consumer for p in projections]
        tables = [schema_of(t).table for p in projections for t in p.tables]
        await system.jobs.stop()  # the test delivers, nobody else
        await system.jobs.catch_up(*names)
        before = {name: _content(data, name) for name in tables}
        for name in names:
            for tenant_id in await system.engine.logs():
                await system.jobs.rebuild(name, tenant_id)
        await system.jobs.catch_up(*names)
        after = {name: _content(data, name) for name in tables}
        for name in tables:
            found += [f"{name}: only before the rebuild: {row}" for row in before[name] - after[name]]
            found += [f"{name}: only after the rebuild: {row}" for row in after[name] - before[name]]
            if not after[name]:
                found.append(f"{name} is empty")
    finally:
        await system.stop()
    return found, len(projections)


def _content(data: Path, table: str) -> set[str]:
    connection = apsw.Connection(str(data / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        cursor = connection.execute(f'SELECT * FROM "{table}"')
        return {repr(row) for row in cursor}
    finally:
        connection.close(True)


def settled(data: Path) -> bool:
    """Whether nothing is open any more."""
    return Snapshot(data).open_effects() == 0


def shown(found: Sequence[str]) -> str:
    """Problems as an assertion's message."""
    return f"{len(found)} things do not agree:\n  " + "\n  ".join(found[:30])
