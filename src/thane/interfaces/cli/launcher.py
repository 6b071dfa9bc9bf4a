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
    from thane.kernel.ports.machine import Examination
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

    @property
    def tenant_id(self) -> str:
        """Whose log it is."""

    async def timeline(self, run_id: str | None, limit: int) -> list[dict[str, Any]]: ...

    def follow(self, run_id: str | None, limit: int) -> AsyncIterator[dict[str, Any]]:
        """What `timeline` shows, then what is added, for ever."""

    async def prove(self, index: int) -> str: ...

    async def verify(self, progress: Callable[[int, int], None]) -> Any: ...


class RowTouch(NamedTuple):
    """A row's column that somebody sets by hand."""

    table: str
    id: str
    column: str
    value: str


class LeafTouch(NamedTuple):
    """A part of an entry's leaf that somebody replaces by hand."""

    tenant_id: str
    entry: int
    old: str
    new: str


class HashTouch(NamedTuple):
    """The hash beside an entry's leaf, which somebody makes anew so that the two agree."""

    tenant_id: str
    entry: int


Touch = RowTouch | LeafTouch | HashTouch


class Copy(Protocol):
    """A copy of a data folder that somebody changes past Thane."""

    @property
    def data(self) -> Path:
        """Where it lies."""

    async def touch(self, what: Touch) -> str:
        """Change it by SQL; the statement. NotFound if there is nothing to change."""


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

    async def copied(self, data: Path, loaded: Loaded, into: Path) -> Copy:
        """A copy of the folder's store and keys, made beside its owner."""

    def serving(self, data: Path, loaded: Loaded) -> AsyncIterator[Ready]:
        """Serve until stopped; yields once, when ready."""

    def operations(self) -> Operations:
        """The registry, without a store."""

    async def examine(self, data: Path, config: str | None) -> Examination:
        """Look at this machine, its settings and a data folder; what is wrong is a finding."""
