"""What audit hands to the rest."""

from __future__ import annotations

from thane.domains.audit import jobs, operations
from thane.domains.audit.entities import ENTITIES
from thane.domains.audit.service import AuditService
from thane.kernel.module import Module


def module(audit: AuditService) -> Module:
    return Module(
        name="audit",
        entities=ENTITIES,
        operations=((audit, operations.ALL),),
        projections=(jobs.AUDIT_LOGS,),
        periodic=jobs.periodic(audit),
        counters=jobs.checks(audit),
    )
