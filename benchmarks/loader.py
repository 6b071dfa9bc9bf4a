"""Writes executions straight into a store's tables, as `sandboxes.execute` leaves them.

Leaves, heads, digests and seals are made with the kernel's functions; only the way there is not. The
store that it writes into is `million.py`'s affair.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import apsw
import msgspec

from thane.adapters.sqlite.codecs import encode_decimal
from thane.adapters.sqlite.compile import Table
from thane.adapters.sqlite.text import stored_words
from thane.adapters.sqlite.trees import Trees
from thane.domains.audit.entities import AuditLog
from thane.domains.billing import BillingEvent, UsageAggregate
from thane.domains.billing.service import aggregate_id, period_of
from thane.domains.sandboxes.entities import Execution, ResourceMetric
from thane.kernel import canonical
from thane.kernel.clock import from_us
from thane.kernel.context import Context
from thane.kernel.ids import IdFactory
from thane.kernel.jobs.entities import entry_row_id
from thane.kernel.ledger.leaf import ROW_SALT_BYTES, Head, Op, row_digest, sealed_digest
from thane.kernel.records import schema_of
from thane.kernel.records.engine import EntryDraft
from thane.kernel.records.prepare import body_aad, details_aad
from thane.kernel.records.text import analyse
from thane.kernel.sealing.envelope import SubjectKey, seal

AT_ONCE = 5_000
OPERATION = "sandboxes.execute"
WORDS = "alpha beta gamma delta report invoice matrix pandas chart series total mean filter join".split()
ENFORCED = {
    "tier": "T2",
    "limits": dict.fromkeys(
        ("memory", "cpu", "disk", "timeout", "processes", "output", "network"), "cgroup v2"
    ),
}
PRICE = Decimal("0.00001")
_json = msgspec.json.Encoder().encode


class Ground(NamedTuple):
    """What the executions stand on."""

    context: Context
    project_id: str
    user_id: str
    sandboxes: list[str]
    runs: list[str]
    user_key: SubjectKey
    tenant_key: SubjectKey


class SetClock:
    def __init__(self, us: int) -> None:
        self.us = us

    def now_us(self) -> int:
        return self.us


class Loader:
    """Writes executions through one connection; everything of a batch in one transaction."""

    def __init__(self, connection: apsw.Connection, ground: Ground, clock: SetClock, seed: int) -> None:
        self._connection = connection
        self._ground = ground
        self._clock = clock
        self._random = random.Random(seed)
        self._ids = IdFactory(clock)
        self._trees = Trees(connection)
        self._tables = {
            c: Table(schema_of(c))
            for c in (Execution, BillingEvent, UsageAggregate, ResourceMetric, AuditLog)
        }
        self._rows: defaultdict[type[Any], list[list[Any]]] = defaultdict(list)
        self._words: list[str] = []
        self._months: dict[str, list[Any]] = {}

    def load(self, executions: int, step_us: int) -> None:
        """Write so many, `step_us` apart."""
        started = time.monotonic()
        for done in range(0, executions, AT_ONCE):
            with self._connection:
                for _ in range(min(AT_ONCE, executions - done)):
                    self._clock.us += step_us
                    self._execution()
                self._flush()
            rate = (done + AT_ONCE) / (time.monotonic() - started)
            if done // AT_ONCE % 10 == 0:
                print(f"{done:>9} executions, {rate:,.0f} a second", file=sys.stderr, flush=True)
        self._finish()

    def _execution(self) -> None:
        ground, pick = self._ground, self._random
        now, id = self._clock.us, self._ids.new("exe")
        words = " ".join(pick.choices(WORDS, k=6))
        row: dict[str, Any] = {
            "id": id,
            "tenant_id": ground.context.tenant_id,
            "project_id": ground.project_id,
            "sandbox_id": pick.choice(ground.sandboxes),
            "user_id": ground.user_id,
            "run_id": pick.choice(ground.runs) if pick.random() < 0.3 else None,
            "code": f"# {words}\nprint(sum(range({pick.randrange(10_000)})))\n",
            "language": "shell" if pick.random() < 0.02 else "python",
            "status": "running",
            "created_at": now,
            "started_at": now,
            "version": 1,
        }
        before, head, body = self._version(Execution, row, None, None, ground.user_key)
        intent = self._entry(row, None, None, [head], [body])
        after = row | self._result(now)
        salted, head, body = self._version(Execution, after, intent, before[1], ground.user_key)
        bill = self._bill(after)
        billed, bill_head, bill_body = self._version(BillingEvent, bill, None, None, ground.tenant_key)
        outcome = self._entry(after, after["status"], intent, [head, bill_head], [body, bill_body])
        self._put(Execution, after, [salted[0], outcome])
        self._put(BillingEvent, bill, [billed[0], outcome])
        self._put(ResourceMetric, self._sample(after), [])
        self._count(bill, after["duration_ms"])
        self._words.append(" ".join(analyse(row["code"], 1 << 18)))

    def _result(self, now: int) -> dict[str, Any]:
        failed, wall_ms = self._random.random() < 0.03, 5 + int(self._random.expovariate(1 / 200))
        units = Decimal(wall_ms) / 1000
        return {
            "status": "failed" if failed else "completed",
            "completed_at": now + wall_ms * 1000,
            "duration_ms": wall_ms,
            "output": {"stdout": f"{wall_ms}\n", "stderr": "", "return_code": int(failed), "files": []},
            "error": {"error_type": "ValueError", "message": "not this one", "stack_trace": None}
            if failed
            else None,
            "resource_usage": {
                "peak_memory_mb": 12,
                "cpu_time_ms": wall_ms,
                "disk_io_mb": 0,
                "network_io_mb": 0,
            },
            "billing_info": {
                "compute_units": f"{units:f}",
                "cost_usd": f"{units * PRICE:f}",
                "billing_tier": "free",
            },
            "isolation": ENFORCED,
            "version": 2,
        }

    def _bill(self, execution: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._ids.new("bil"),
            "tenant_id": execution["tenant_id"],
            "project_id": execution["project_id"],
            "user_id": execution["user_id"],
            "run_id": execution["run_id"],
            "execution_id": execution["id"],
            "event_type": "execution",
            "timestamp": execution["created_at"],
            "amount": Decimal(execution["billing_info"]["cost_usd"]),
            "currency": "USD",
            "metadata": {"compute_units": execution["billing_info"]["compute_units"], "unbilled": "0"}
            | {"duration_ms": execution["duration_ms"]},
            "version": 1,
        }

    def _sample(self, execution: dict[str, Any]) -> dict[str, Any]:
        zero = {"bytes_in": 0, "bytes_out": 0, "packets_in": 0, "packets_out": 0}
        return {
            "id": self._ids.new("met"),
            "tenant_id": execution["tenant_id"],
            "project_id": execution["project_id"],
            "sandbox_id": execution["sandbox_id"],
            "execution_id": execution["id"],
            "seq": 0,
            "timestamp": execution["created_at"],
            "cpu_usage": Decimal(self._random.randrange(10_000)) / 100,
            "memory_usage": Decimal(self._random.randrange(10_000)) / 100,
            "disk_usage": Decimal(1),
            "network_usage": zero,
            "custom_metrics": {},
            "source": "sampler",
            "version": 1,
        }

    # -- into the ledger --------------------------------------------------------------------

    def _version(
        self, cls: type[Any], row: dict[str, Any], previous: int | None, before: str | None, key: SubjectKey
    ) -> tuple[tuple[bytes, str], Head, bytes]:
        """((salt, digest), head, sealed body) of one version of a row."""
        schema, salt = schema_of(cls), os.urandom(ROW_SALT_BYTES)
        plain = {k: f"{v:.18f}" if type(v) is Decimal else v for k, v in row.items() if v is not None}
        text = canonical.encode(plain)
        digest, body = row_digest(salt, text).hex(), seal(key, salt + text, body_aad(schema.table, row["id"]))
        head = Head(
            after=digest,
            before=before,
            body=sealed_digest(body),
            id=row["id"],
            op=Op.CREATE if previous is None else Op.UPDATE,
            previous=previous,
            schema=schema.table,
            schema_version=schema.version,
        )
        return (salt, digest), head, body

    def _entry(
        self,
        execution: dict[str, Any],
        outcome: str | None,
        intent: int | None,
        heads: list[Head],
        bodies: list[bytes],
    ) -> int:
        context, request = self._ground.context, self._ids.new("req")
        said = {"args": {"sandbox_id": execution["sandbox_id"], "code": execution["code"]}}
        draft = EntryDraft(
            kind="intent" if outcome is None else "outcome",
            operation=OPERATION,
            actor=context.actor_chain,
            project=execution["project_id"],
            run=execution["run_id"],
            request=request,
            resource=execution["id"],
            outcome=outcome,
            intent=intent,
            details=seal(
                self._ground.user_key, _json(said), details_aad(context.tenant_id, request, OPERATION)
            ),
            heads=tuple(heads),
            bodies=tuple(bodies),
        )
        log = self._trees.log(context.tenant_id)
        index, _, time_us = self._trees.append(log, draft, self._clock.us)
        if outcome is not None:
            self._put(AuditLog, self._audit(draft, index, time_us), [])
        return index

    def _audit(self, draft: EntryDraft, index: int, time_us: int) -> dict[str, Any]:
        """As `thane.domains.audit.service.row_of` makes it."""
        success = draft.outcome == "completed"
        return {
            "id": entry_row_id("aud", self._ground.context.tenant_id, index, 0, time_us),
            "tenant_id": self._ground.context.tenant_id,
            "project_id": draft.project,
            "user_id": self._ground.user_id,
            "actor": draft.actor[-1],
            "action": "execute",
            "resource_type": "sandboxes",
            "resource_id": draft.resource,
            "status": "success" if success else "failure",
            "error_message": None if success else draft.outcome,
            "request_id": draft.request,
            "run_id": draft.run,
            "entry_index": index,
            "created_at": time_us,
            "version": 1,
        }

    # -- into the tables --------------------------------------------------------------------

    def _put(self, cls: type[Any], row: dict[str, Any], hidden: list[Any]) -> None:
        values = [row.get(name) for name in (*schema_of(cls).names, "version")]
        self._rows[cls].append([_stored(v) for v in values] + hidden)

    def _count(self, bill: dict[str, Any], duration_ms: int) -> None:
        period = period_of(from_us(bill["timestamp"]))
        month = self._months.setdefault(period, [0, 0, Decimal(0)])
        month[0] += 1
        month[1] += duration_ms
        month[2] += bill["amount"]

    def _flush(self) -> None:
        for cls, rows in self._rows.items():
            self._connection.executemany(self._tables[cls].insert, rows)
        self._rows.clear()
        self._trees.flush([self._trees.log(self._ground.context.tenant_id)])
        self._index_words()

    def _index_words(self) -> None:
        newest = self._connection.execute('SELECT max(_rowid) FROM "executions"').get
        first = newest - len(self._words) + 1
        self._connection.executemany(
            'INSERT INTO "executions_text" (rowid, "code") VALUES (?, ?)',
            [(first + n, stored_words(words)) for n, words in enumerate(self._words)],
        )
        self._words.clear()

    def _finish(self) -> None:
        """The months, each as all its bills together left it."""
        ground = self._ground
        for period, (count, duration_ms, cost) in self._months.items():
            row = {
                "id": aggregate_id(ground.project_id, ground.user_id, period),
                "tenant_id": ground.context.tenant_id,
                "project_id": ground.project_id,
                "user_id": ground.user_id,
                "period": period,
                "total_executions": count,
                "total_duration_ms": duration_ms,
                "total_cost": cost,
                "breakdown": {"execution": f"{cost:.18f}"},
                "version": count,
            }
            self._put(UsageAggregate, row, [])
        with self._connection:
            for cls, rows in self._rows.items():
                self._connection.executemany(self._tables[cls].insert, rows)


def _stored(value: Any) -> Any:
    if type(value) is Decimal:
        return encode_decimal(value)
    return _json(value).decode() if type(value) is dict else value


@contextmanager
def without_indexes(connection: apsw.Connection) -> Iterator[None]:
    """Made anew at the end, sorted, which takes a tenth of the time."""
    named = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in named:
        connection.execute(f'DROP INDEX "{name}"')
    yield
    for _, sql in named:
        connection.execute(str(sql))
