"""Which engines the conformance suite runs on, and how each is opened, closed and opened again.

To plug an engine in: a subclass of `EngineUnderTest`, listed in REGISTERED. Nothing else
in the suite names an engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from thane.adapters.sqlite import SqliteEngine
from thane.kernel.clock import Clock
from thane.kernel.records import Engine, Registry


class EngineUnderTest(ABC):
    """One store of one engine, in a folder of its own."""

    name: ClassVar[str]
    get: ClassVar[str]  # the command that brings what it needs

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock

    @classmethod
    @abstractmethod
    def is_available(cls) -> bool:
        """Whether it can be run here."""

    @abstractmethod
    async def open(self, registry: Registry) -> Engine:
        """Open the store, made if it is not there, with these schemas."""

    @abstractmethod
    def stored_bytes(self) -> bytes | None:
        """All that lies on the disk of an open store, to look for what must not; None if out of reach."""

    async def reopen(self, engine: Engine, registry: Registry) -> Engine:
        """Close and open again, as after a restart."""
        await engine.close()
        return await self.open(registry)


class SqliteUnderTest(EngineUnderTest):
    name = "sqlite"
    get = "uv sync"

    @classmethod
    def is_available(cls) -> bool:
        return True

    @property
    def path(self) -> Path:
        return self.folder / "thane.db"

    async def open(self, registry: Registry) -> Engine:
        engine = SqliteEngine(self.path, registry, self.clock)
        await engine.open()
        return engine

    def stored_bytes(self) -> bytes:
        return b"".join(p.read_bytes() for p in sorted(self.folder.glob("thane.db*")))


REGISTERED: tuple[type[EngineUnderTest], ...] = (SqliteUnderTest,)
