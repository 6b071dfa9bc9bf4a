"""What the audit does by itself: fills its table from the ledger, seals the access rows each minute."""

from __future__ import annotations

from collections.abc import Sequence

from thane.domains.audit.entities import AuditLog
from thane.domains.audit.service import SEAL, AuditService, row_of
from thane.kernel.feed import Entry
from thane.kernel.jobs.checks import TenantCheck
from thane.kernel.jobs.declare import Periodic, Projection, Tools
from thane.kernel.records import Unit


async def fill(unit: Unit, entries: Sequence[Entry]) -> None:
    """One row per entry but intents."""
    unit.create_many(row for row in map(row_of, entries) if row is not None)


AUDIT_LOGS = Projection(consumer="audit_logs", tables=(AuditLog,), apply=fill)


def periodic(audit: AuditService) -> tuple[Periodic, ...]:
    async def seal(tools: Tools) -> None:
        await audit.seal_access(tools)

    return (Periodic(name=SEAL, seconds=60, run=seal),)


def checks(audit: AuditService) -> tuple[TenantCheck, ...]:
    """For `thane verify`."""
    return (TenantCheck(name="access rows", run=audit.check_access, operations=(SEAL,)),)
