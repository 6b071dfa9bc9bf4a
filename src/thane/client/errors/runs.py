"""Errors of runs.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.errors.common import IllegalState, NotFound


class RunFinished(IllegalState):
    """The run is over; nothing more can be done in it."""

    code = "run_finished"


class RunUnknown(NotFound):
    """The header Thane-Run names no run of this tenant."""

    code = "run_unknown"
