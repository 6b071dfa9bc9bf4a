"""Every resource of the API.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._async.core import AsyncCore
from thane.client._async.resources.api_keys import AsyncApiKeys
from thane.client._async.resources.audit_logs import AsyncAuditLogs
from thane.client._async.resources.billing_events import AsyncBillingEvents
from thane.client._async.resources.contexts import AsyncContexts
from thane.client._async.resources.executions import AsyncExecutions
from thane.client._async.resources.ledger import AsyncLedger
from thane.client._async.resources.projects import AsyncProjects
from thane.client._async.resources.resource_alerts import AsyncResourceAlerts
from thane.client._async.resources.resource_metrics import AsyncResourceMetrics
from thane.client._async.resources.runs import AsyncRuns
from thane.client._async.resources.sandboxes import AsyncSandboxes
from thane.client._async.resources.setup_links import AsyncSetupLinks
from thane.client._async.resources.usage_aggregates import AsyncUsageAggregates
from thane.client._async.resources.users import AsyncUsers


class AsyncResources:
    """What a client has of the API, by name."""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core
        self.api_keys = AsyncApiKeys(core)
        self.audit_logs = AsyncAuditLogs(core)
        self.billing_events = AsyncBillingEvents(core)
        self.contexts = AsyncContexts(core)
        self.executions = AsyncExecutions(core)
        self.ledger = AsyncLedger(core)
        self.projects = AsyncProjects(core)
        self.resource_alerts = AsyncResourceAlerts(core)
        self.resource_metrics = AsyncResourceMetrics(core)
        self.runs = AsyncRuns(core)
        self.sandboxes = AsyncSandboxes(core)
        self.setup_links = AsyncSetupLinks(core)
        self.usage_aggregates = AsyncUsageAggregates(core)
        self.users = AsyncUsers(core)
