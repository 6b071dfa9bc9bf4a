"""What an execution's steps hand to each other: the intent that is recorded, and what is not."""

from __future__ import annotations

import msgspec

from thane.domains.sandboxes.entities import AlertAction
from thane.domains.sandboxes.service.slots import Share
from thane.kernel.ports.budgets import Reservation
from thane.kernel.ports.isolation import InputFile, Limits, Tier


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be run. What the program is given beside its code is transient and not in it.

    With a `context`: `jail` is the one that must still be there, if the sandbox has one, and
    `continues` says whether the context's interpreter must.
    """

    id: str
    sandbox_id: str
    project_id: str
    user_id: str
    language: str
    limits: Limits
    reservation: Reservation
    plan: str
    queued: bool
    tenant_id: str
    context: str | None = None
    jail: str = ""
    continues: bool = False
    alert_action: AlertAction = AlertAction.NOTIFY
    minimum_tier: Tier = Tier.T0  # what the sandbox demands beyond the server's own minimum

    @property
    def share(self) -> Share:
        """Whose place among the executions at one time it takes."""
        turn = "" if self.context is None else f"{self.sandbox_id}/{self.context}"
        return Share(self.tenant_id, self.project_id, turn)


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is run with."""

    code: bytes
    env: dict[str, str]
    stdin: bytes
    files: tuple[InputFile, ...]
