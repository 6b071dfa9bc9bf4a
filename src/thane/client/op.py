"""One operation of the server, as a call needs it. The modules in `ops` are made from the registry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Op:
    """`reads` may always be repeated; `outside` runs for as long as a program does, and streams;
    `secrets` are fields of the answer that are shown once; `takes` is the field that is the whole body
    of the request, as bytes."""

    name: str
    method: str
    path: str
    reads: bool = False
    outside: bool = False
    secrets: tuple[str, ...] = ()
    takes: str = ""

    @property
    def has_body(self) -> bool:
        """Whether its fields stand in a body of JSON."""
        return self.method in ("POST", "PUT", "PATCH") and not self.takes

    @property
    def keyed(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.method == "POST" and not self.reads
