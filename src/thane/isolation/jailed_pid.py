"""Read what bwrap tells about the jail it has made."""

from __future__ import annotations

import json


def first_pid(info: bytes) -> int | None:
    """The host's pid of the jail's first process; None if bwrap has not told it."""
    try:
        told = json.loads(info)
    except ValueError:
        return None
    pid = told.get("child-pid")
    return pid if isinstance(pid, int) else None
