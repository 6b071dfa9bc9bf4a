"""What audit hands to the rest."""

from __future__ import annotations

from thane.domains.audit import entities, jobs, operations
from thane.domains.audit.service import SEAL, AuditService
from thane.kernel.module import Module, Retention
from thane.kernel.operations.entities import AccessRow
from thane.kernel.records import schema_of

ENTITIES = entities.ENTITIES
checks = jobs.checks


def module(audit: AuditService) -> Module:
    return Module(
        name="audit",
        entities=ENTITIES,
        operations=((audit, operations.ALL),),
        projections=(jobs.AUDIT_LOGS,),
        periodic=jobs.periodic(audit),
        counters=jobs.checks(audit),
        retention=(
            Retention(schema=schema_of(AccessRow), field="created_at", setting="access_days", sealed_by=SEAL),
        ),
    )
