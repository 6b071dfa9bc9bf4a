"""What can go wrong with runs."""

from __future__ import annotations

from thane.kernel.errors import IllegalState, NotFound


class RunFinished(IllegalState):
    """The run is over; nothing more can be done in it."""

    code = "run_finished"
    title = "The run is finished"
    default_hint = "Open a new run (POST /api/v1/runs) and send its id in the header Thane-Run."


class RunUnknown(NotFound):
    """The header Thane-Run names no run of this tenant."""

    code = "run_unknown"
    title = "No such run"
    default_hint = (
        "Open a run (POST /api/v1/runs) and send its id in the header Thane-Run, or leave the header out."
    )
