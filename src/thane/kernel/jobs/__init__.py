"""Jobs: what happens beside requests. Cursors over the ledger, projections, leases, schedules, the signer.

A domain declares `Subscription`, `Projection`, `Periodic`, `Schedule`, `CounterCheck` and
`TenantCheck` in its `module.py`; `JobRunner` runs them. A job that changes rows with
history asks the pipeline (`Tools.invoke`), as `system`; nothing here writes an entry.
"""

from thane.kernel.jobs.checks import CounterCheck, Problem, TenantCheck
from thane.kernel.jobs.declare import Invoke, Periodic, Projection, Schedule, Subscription, Tools
from thane.kernel.jobs.entities import ENTITIES, DeadLetter, JobCursor, LeaseRow, ScheduleRow
from thane.kernel.jobs.leases import Holder, Lease, LeaseLost, Leases
from thane.kernel.jobs.letters import Letters
from thane.kernel.jobs.runner import JobRunner
from thane.kernel.jobs.signer import LedgerSigner

__all__ = [
    "ENTITIES",
    "CounterCheck",
    "DeadLetter",
    "Holder",
    "Invoke",
    "JobCursor",
    "JobRunner",
    "Lease",
    "LeaseLost",
    "LeaseRow",
    "Leases",
    "LedgerSigner",
    "Letters",
    "Periodic",
    "Problem",
    "Projection",
    "Schedule",
    "ScheduleRow",
    "Subscription",
    "TenantCheck",
    "Tools",
]
