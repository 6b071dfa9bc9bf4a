"""What system hands to the rest: its own rows and those of the kernel."""

from __future__ import annotations

from thane.domains.system import operations
from thane.domains.system.entities import Server
from thane.domains.system.service import SystemService
from thane.kernel.jobs.entities import ENTITIES as JOB_ENTITIES
from thane.kernel.jobs.entities import DeadLetter, LetterStatus
from thane.kernel.module import Module, Retention
from thane.kernel.operations.entities import ENTITIES as OPERATION_ENTITIES
from thane.kernel.operations.entities import IdempotencyRow
from thane.kernel.records import schema_of
from thane.kernel.records.horizon import RetentionHorizon
from thane.kernel.records.keys import SubjectKeyRow

ENTITIES = (Server, SubjectKeyRow, RetentionHorizon, *OPERATION_ENTITIES, *JOB_ENTITIES)

RETENTION = (
    Retention(schema=schema_of(IdempotencyRow), field="expires_us"),
    # Consumers take their own letters away; a schedule's stays, though a person has skipped it.
    Retention(
        schema=schema_of(DeadLetter),
        field="next_try",
        where=(DeadLetter.status == LetterStatus.SKIPPED) & DeadLetter.consumer.startswith("schedule/"),
    ),
)


def module(system: SystemService) -> Module:
    return Module(
        name="system",
        entities=ENTITIES,
        operations=((system, operations.ALL),),
        retention=RETENTION,
    )
