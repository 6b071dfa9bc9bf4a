"""Billing: prices, events, and months that equal their sum."""

from thane.domains.billing.entities import BillingEvent, UsageAggregate
from thane.domains.billing.service import Bill, BillingService, Prices

__all__ = ["Bill", "BillingEvent", "BillingService", "Prices", "UsageAggregate"]
