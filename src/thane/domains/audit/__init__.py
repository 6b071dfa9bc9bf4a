"""Audit: the trail of who did what, as a list, and the ledger's entries and proofs behind it."""

from thane.domains.audit.entities import AuditLog, AuditStatus
from thane.domains.audit.service import AuditService

__all__ = ["AuditLog", "AuditService", "AuditStatus"]
