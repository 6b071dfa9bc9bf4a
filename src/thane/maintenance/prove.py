"""`thane prove INDEX`: one entry's proof as a file for verifiers. See `kernel.jobs.proving`."""

from __future__ import annotations

from thane.kernel.jobs.proving import prove

__all__ = ["prove"]
