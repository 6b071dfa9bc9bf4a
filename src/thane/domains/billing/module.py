"""What billing hands to the rest."""

from __future__ import annotations

from thane.domains.billing import jobs, operations
from thane.domains.billing.entities import BillingEvent, UsageAggregate
from thane.domains.billing.service import BillingService
from thane.kernel.module import Module

ENTITIES = (BillingEvent, UsageAggregate)
CHECKS = jobs.CHECKS


def module(billing: BillingService) -> Module:
    return Module(name="billing", entities=ENTITIES, operations=((billing, operations.ALL),), counters=CHECKS)
