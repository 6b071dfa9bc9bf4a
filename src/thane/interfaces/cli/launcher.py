"""What the command line needs of the program around it. Implemented by bootstrap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    # `thane --help` must not wait for what only types name.
    from thane.interfaces.local import Caller
    from thane.kernel.operations.registry import Operations
    from thane.kernel.ports.isolation import TierReport
    from thane.kernel.settings import Loaded


class Ready(NamedTuple):
    """What a server that has just started can say of itself."""

    url: str
    data: Path
    tier: str
    setup_link: str | None
    seconds: float


class Ledger(Protocol):
    """A store opened beside its owner, for commands that only read."""

    @property
    def vkey(self) -> str:
        """The log's public key, as verifiers take it."""

    async def timeline(self, run_id: str | None, limit: int) -> list[dict[str, Any]]: ...

    def follow(self, run_id: str | None, limit: int) -> AsyncIterator[dict[str, Any]]:
        """What `timeline` shows, then what is added, for ever."""

    async def prove(self, index: int) -> str: ...

    async def verify(self, progress: Callable[[int, int], None]) -> Any: ...


class Launcher(Protocol):
    """Opens data folders for commands."""

    def settings(self, config: str | None, overrides: Mapping[str, Any]) -> Loaded:
        """The settings as this process would use them."""

    def data(self, option: str | None) -> Path:
        """The data folder: the option, THANE_DATA, or `.thane` here."""

    def calling(self, data: Path, loaded: Loaded) -> AbstractAsyncContextManager[Caller]:
        """A caller on the folder: through its owner if it has one, else by owning it meanwhile."""

    def reading(self, data: Path, loaded: Loaded) -> AbstractAsyncContextManager[Ledger]:
        """The store, read only, beside its owner."""

    def serving(self, data: Path, loaded: Loaded) -> AsyncIterator[Ready]:
        """Serve until stopped; yields once, when ready."""

    def operations(self) -> Operations:
        """The registry, without a store."""

    async def ladder(self, data: Path, loaded: Loaded) -> tuple[TierReport, ...]:
        """The isolation tiers of this machine, probed."""
