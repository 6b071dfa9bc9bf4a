"""No statement scans a table, and none is repeated for each row of an answer.

The statements are recorded while every operation of the registry runs by its example, on a store
that is filled; then SQLite is asked how it would run each of them.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import apsw
import pytest

from benchmarks.million import make
from thane.bootstrap.place import data_folder
from thane.bootstrap.schemas import ENTITIES
from thane.bootstrap.system import System
from thane.domains.billing import BillingEvent
from thane.domains.sandboxes.entities import Execution, ExecutionStatus
from thane.interfaces.local import Answer, InProcess
from thane.kernel.context import system_context
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.registry import Bound, example_request
from thane.kernel.records import Order, Predicate, schema_of
from thane.kernel.records.filter import parse_filter
from thane.kernel.records.schema import Kind, Schema
from thane.kernel.records.serving import newest_first, path_of, sortable
from thane.kernel.settings import load

EXECUTIONS = 400
# What may be sorted after all, because it is few rows whatever the store holds.
SORTED = {"sandboxes": "the live sandboxes of a dashboard, by their status"}


class Statement(NamedTuple):
    text: str
    in_commit: bool  # of a transaction that writes


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Statements of connections that are made meanwhile, as they are run."""
    found: list[Statement] = []

    def note(cursor: apsw.Cursor, statement: str, bindings: Any) -> bool:
        del bindings
        writes = cursor.connection.txn_state("main") == apsw.SQLITE_TXN_WRITE
        found.append(Statement(statement, writes))
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = note

    apsw.connection_hooks.append(hook)
    try:
        yield found
    finally:
        apsw.connection_hooks.remove(hook)


class House:
    """An opened system over the filled store, asked as its owner."""

    def __init__(self, system: System, statements: list[Statement]) -> None:
        self.system = system
        self.statements = statements
        self.operations = list(system.operations)

    async def ask(self, bound: Bound, request: dict[str, Any]) -> Answer:
        rest, path = dict(request), bound.path
        for name in bound.path_params:
            path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
        host = InProcess(self.system.app)
        if bound.takes:
            content = base64.b64decode(rest.pop(bound.takes))
            return await host.call(bound.method, f"/api/v1{path}?{urlencode(rest)}", content)
        if bound.has_body:
            return await host.call(bound.method, f"/api/v1{path}", rest)
        query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in rest.items()}
        return await host.call(bound.method, f"/api/v1{path}" + (f"?{urlencode(query)}" if query else ""))

    def plans(self, statements: list[Statement]) -> dict[str, list[str]]:
        """How SQLite runs each statement that it plans."""
        connection = apsw.Connection(str(self.system.folder.store), flags=apsw.SQLITE_OPEN_READONLY)
        connection.create_scalar_function("json_contains", lambda *args: None, 2)
        for name in ("exact_sum", "exact_avg"):
            connection.create_aggregate_function(name, lambda: (None, lambda *a: None, lambda *a: None), 2)
        planned = {}
        for text in dict.fromkeys(s.text for s in statements):
            if re.match(r"(SELECT|INSERT|UPDATE|DELETE)\b", text):
                values = (None,) * text.count("?")
                rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
                planned[text] = [str(row[3]) for row in rows]
        connection.close()
        return planned


@pytest.fixture(scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans") / "data"
    await make(folder, EXECUTIONS)
    return folder


@pytest.fixture
async def house(filled: Path) -> Any:
    settings = load(None, {}, {}).settings
    with recorded() as statements:
        system = System(settings, data_folder(filled, settings), role="test")
        await system.open()
        try:
            yield House(system, statements)
        finally:
            await system.stop()


def faults(planned: dict[str, list[str]]) -> list[str]:
    """Plans that read a whole table, or sort what may be any number of rows."""
    wrong = []
    for text, steps in planned.items():
        for step in steps:
            # A virtual table with a MATCH is asked its index; a subquery is what was read already.
            scans = step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step
            reads_table = scans and not re.match(r"SCAN (\(|CONSTANT)", step)
            sorts = step == "USE TEMP B-TREE FOR ORDER BY" and not any(f'FROM "{t}"' in text for t in SORTED)
            if reads_table or sorts:
                wrong.append(f"{step}\n    {text}")
    return wrong


async def test_no_statement_of_any_operation_scans_a_table(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, Any] = {}
    waiting = sorted(
        (b for b in house.operations if b.path),
        key=lambda b: b.name in ("sandboxes.terminate", "runs.finish", "api_keys.revoke"),
    )

    def needs(bound: Bound) -> set[str]:
        example = bound.declaration.example
        assert example is not None
        text = json.dumps(dict(example.request))
        return {o.name for o in house.operations if f'"${o.name}' in text} | set(example.before)

    house.statements.clear()
    while waiting:
        ready = next(b for b in waiting if needs(b) <= set(answers))
        waiting.remove(ready)
        example = ready.declaration.example
        assert example is not None
        answer = await house.ask(ready, example_request(example.request, answers))
        assert answer.status == ready.status, (ready.name, answer)
        answers[ready.name] = answer.body
    planned = house.plans(house.statements)
    with capsys.disabled():
        print(f"\n{len(planned)} statements of {len(answers)} operations planned")
    assert len(planned) > 30
    assert not faults(planned), "\n".join(faults(planned))


async def test_every_filter_and_sort_that_lists_offer_is_read_along_an_index(house: House) -> None:
    lists = [b for b in house.operations if b.declaration.lists and b.declaration.entity is not None]
    assert len(lists) > 6
    house.statements.clear()
    tried = 0
    for bound in lists:
        cls: Any = bound.declaration.entity
        schema = schema_of(cls)
        unit = house.system.records.unit(system_context("tnt_x", "req_x", 0))
        filters = ["", *(f for f in map(_filter_on, [schema] * len(schema.fields), schema.fields) if f)]
        for text, name, down in product(filters, sortable(schema), (True, False)):
            where = parse_filter(schema, text)
            await unit.walk(cls, where, (Order(name, down),), None, 31)
            tried += 1
    planned = house.plans(house.statements)
    assert tried > 300
    assert not faults(planned), "\n".join(faults(planned))


def _filter_on(schema: Schema, field: Any) -> str:
    if field.sealed or field.secret or field.kind in (Kind.BYTES, Kind.JSON):
        return ""
    values = {
        Kind.TEXT: f'"{field.choices[0] if field.choices else "x"}"',
        Kind.INTEGER: "1",
        Kind.BOOLEAN: "true",
        Kind.DECIMAL: "1.5",
        Kind.TIME: '"2026-01-01T00:00:00Z"',
    }
    operator = ">" if field.kind in (Kind.INTEGER, Kind.DECIMAL, Kind.TIME) else "="
    return f"{field.name} {operator} {values[field.kind]}"


def test_a_list_without_a_sort_has_an_index_for_its_order() -> None:
    for cls in ENTITIES:
        schema = schema_of(cls)
        if not any(i.columns[0] == "tenant_id" for i in schema.indexes) or "created_at" not in schema.by_name:
            continue
        keys = newest_first(schema)
        order = keys if keys[-1].field == "id" else (*keys, Order("id", keys[-1].descending))
        if schema.table in ("users", "execution_chunks", "setup_links"):  # nobody lists them
            continue
        assert path_of(schema, None, order).ordered, schema.table


@pytest.mark.parametrize(
    ("filter_", "sort", "index"),
    [
        ("", "-created_at", "ix_executions_tenant_id_created_at_desc"),
        ('status = "failed"', "-created_at", "idx_executions_status"),
        ('status = "failed" && language = "shell"', "created_at", "idx_executions_status"),
        ('sandbox_id = "sbx_1"', "-created_at", "idx_executions_sandbox"),
        ('run_id = "run_1"', "created_at", "ix_executions_tenant_id_run_id_created_at_desc"),
        ('user_id = "usr_1"', "-started_at", "idx_executions_user_time"),
        ('language = "shell"', "-created_at", "ix_executions_tenant_id_created_at_desc"),
    ],
)
def test_the_index_fits_filter_and_sort(filter_: str, sort: str, index: str) -> None:
    schema = schema_of(Execution)
    field, down = sort.removeprefix("-"), sort.startswith("-")
    path = path_of(schema, parse_filter(schema, filter_), (Order(field, down), Order("id", down)))
    assert (path.along, path.ordered) == (index, True)


def test_what_no_index_orders_is_not_called_sortable() -> None:
    assert set(sortable(schema_of(Execution))) == {"created_at", "started_at"}
    assert "amount" not in sortable(schema_of(BillingEvent))
    path = path_of(schema_of(Execution), None, (Order("duration_ms", True), Order("id", True)))
    assert not path.ordered


async def counted(house: House, bound: Bound, request: dict[str, Any]) -> int:
    """Statements of one answer that read: the least of a few answers, for access rows are written when
    they like, and a read that the machine held up is begun again in the pool."""
    await house.ask(bound, request)  # keys and the caller's identity are remembered from now on
    found = []
    for _ in range(4):
        house.statements.clear()
        answer = await house.ask(bound, request)
        assert answer.status == bound.status, answer
        found.append(sum(s.text.startswith("SELECT") and not s.in_commit for s in house.statements))
    return min(found)


async def test_the_number_of_statements_does_not_grow_with_the_rows(house: House) -> None:
    unit = house.system.records.unit(await house_context(house))
    (execution,) = await unit.list(Execution, Execution.status == ExecutionStatus.COMPLETED, (), 1)
    known = {"execution_id": execution.id, "sandbox_id": execution.sandbox_id, "index": 0}
    reads = [b for b in house.operations if b.path and b.declaration.effect is Effect.NONE and not b.streams]
    tried = []
    for bound in reads:
        if not bound.declaration.lists and bound.name != "ledger.list_entries":
            continue
        request = {name: known[name] for name in bound.path_params}
        one = await counted(house, bound, {**request, "limit": 1})
        fifty = await counted(house, bound, {**request, "limit": 50})
        # What only some rows need (an access row has no entry to open) is read for all of them at once.
        assert fifty <= one + 2, f"{bound.name}: {one} statements for a row, {fifty} for fifty"
        tried.append(bound.name)
    assert {"executions.list", "audit_logs.list", "billing_events.list"} <= set(tried)


async def house_context(house: House) -> Any:
    principal = (await house.system.accounts.local_owner()).principal
    return system_context(principal.tenant_id, "req_x", 0)


async def test_a_filter_that_no_index_serves_looks_at_a_bounded_number_of_rows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thane.kernel.records.serving.LOOKED_AT", 50)
    bound = next(b for b in house.operations if b.name == "executions.list")
    found, cursor, pages = [], None, 0
    while True:
        request = {"filter": "duration_ms > 300", "limit": 10} | ({"cursor": cursor} if cursor else {})
        answer = await house.ask(bound, request)
        assert len(answer.body["items"]) <= 10
        found += [row["id"] for row in answer.body["items"]]
        cursor, pages = answer.body["next_cursor"], pages + 1
        if cursor is None:
            break
    unit = house.system.records.unit(await house_context(house))
    where = Predicate((">", "duration_ms"), (300,))
    assert found == [e.id for e in await unit.list(Execution, where, (Order("created_at", True),), 500)]
    assert pages > EXECUTIONS // 50


async def test_a_sort_without_an_index_is_refused_where_it_would_take_long(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = next(b for b in house.operations if b.name == "executions.list")
    answer = await house.ask(bound, {"sort": "duration_ms", "limit": 5})
    assert answer.status == 200
    monkeypatch.setattr("thane.kernel.records.unit.LOOKED_AT", 50)
    answer = await house.ask(bound, {"sort": "duration_ms", "limit": 5})
    assert answer.status == 422
    assert answer.body["errors"][0]["code"] == "too_many_to_sort"
    assert "created_at" in answer.body["hint"]
