"""What system hands to the rest: its own rows and those of the kernel."""

from __future__ import annotations

from thane.domains.system.entities import Server
from thane.kernel.module import Module
from thane.kernel.jobs.entities import ENTITIES as JOB_ENTITIES
from thane.kernel.operations.entities import ENTITIES as OPERATION_ENTITIES
from thane.kernel.records.keys import SubjectKeyRow


ENTITIES = (Server, SubjectKeyRow, *OPERATION_ENTITIES, *JOB_ENTITIES)


def module() -> Module:
    return Module(name="system", entities=ENTITIES)
