"""Ledger.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client._sync.core import Core
from thane.client.convert import given
from thane.client.ops import ledger as ops
from thane.client.types.audit import CheckpointView, Entries, EntryView, Proof


class Ledger:
    """What can be asked of ledger."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def checkpoint(self) -> CheckpointView:
        """Show the newest signed checkpoint of your log and of the root log over all.

        Keep one elsewhere: a ledger that was made anew later cannot agree with it.
        """
        return self._core.call(ops.CHECKPOINT, CheckpointView, {}, given())

    def get_entry(self, index: int) -> EntryView:
        """Show one entry: the leaf that is hashed, the heads of the rows it changed, and its details.

        `index`: The entry's index in the tenant's ledger.
        """
        return self._core.call(ops.GET_ENTRY, EntryView, {"index": index}, given())

    def list_entries(self, *, start: int | None = None, limit: int | None = None) -> Entries:
        """List the ledger's entries in order, without their details.

        `start`: The first index; without it, the newest entries.
        `limit`: How many entries.
        """
        return self._core.call(ops.LIST_ENTRIES, Entries, {}, given(start=start, limit=limit))

    def prove(self, index: int) -> Proof:
        """Prove one entry to people who do not trust this server.

        Save `proof` to a file and check it anywhere with `thane-verify FILE --key VKEY`; the
        key comes with `ledger.checkpoint`, and should reach the verifier by another way.

        `index`: The entry's index in the tenant's ledger.
        """
        return self._core.call(ops.PROVE, Proof, {"index": index}, given())
