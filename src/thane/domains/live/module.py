"""What live hands to the rest."""

from __future__ import annotations

from thane.domains.live import operations
from thane.domains.live.service import LiveService
from thane.kernel.module import Module


def module(live: LiveService) -> Module:
    return Module(name="live", operations=((live, operations.ALL),))
