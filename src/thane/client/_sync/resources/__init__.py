"""Every resource of the API.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client._sync.resources.api_keys import ApiKeys
from thane.client._sync.resources.audit_logs import AuditLogs
from thane.client._sync.resources.billing_events import BillingEvents
from thane.client._sync.resources.contexts import Contexts
from thane.client._sync.resources.executions import Executions
from thane.client._sync.resources.ledger import Ledger
from thane.client._sync.resources.projects import Projects
from thane.client._sync.resources.resource_alerts import ResourceAlerts
from thane.client._sync.resources.resource_metrics import ResourceMetrics
from thane.client._sync.resources.runs import Runs
from thane.client._sync.resources.sandboxes import Sandboxes
from thane.client._sync.resources.setup_links import SetupLinks
from thane.client._sync.resources.usage_aggregates import UsageAggregates
from thane.client._sync.resources.users import Users


class Resources:
    """What a client has of the API, by name."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.api_keys = ApiKeys(core)
        self.audit_logs = AuditLogs(core)
        self.billing_events = BillingEvents(core)
        self.contexts = Contexts(core)
        self.executions = Executions(core)
        self.ledger = Ledger(core)
        self.projects = Projects(core)
        self.resource_alerts = ResourceAlerts(core)
        self.resource_metrics = ResourceMetrics(core)
        self.runs = Runs(core)
        self.sandboxes = Sandboxes(core)
        self.setup_links = SetupLinks(core)
        self.usage_aggregates = UsageAggregates(core)
        self.users = Users(core)
