"""The schemas and checks of all modules together: what a store holds, and what `thane verify` holds it to."""

from __future__ import annotations

from thane.domains.accounts import module as accounts_module
from thane.domains.audit import module as audit_module
from thane.domains.billing import module as billing_module
from thane.domains.projects import module as projects_module
from thane.domains.runs import module as runs_module
from thane.domains.sandboxes import module as sandboxes_module
from thane.domains.system import module as system_module
from thane.kernel.records import Registry, schema_of

ENTITIES = (
    *system_module.ENTITIES,
    *accounts_module.ENTITIES,
    *projects_module.ENTITIES,
    *billing_module.ENTITIES,
    *runs_module.ENTITIES,
    *sandboxes_module.ENTITIES,
    *audit_module.ENTITIES,
)

# What `thane verify` checks beyond the kernel's own rules.
CHECKS = (*billing_module.CHECKS,)


def registry() -> Registry:
    """The schemas of all modules."""
    made = Registry()
    for entity in ENTITIES:
        made.add(schema_of(entity))
    return made
