"""Proofs on demand: an entry, its place in the tree, and the signed checkpoint over it."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from thane.kernel.errors import NotFound, Unavailable
from thane.kernel.ledger.note import make_proof
from thane.kernel.ledger.proof import Prover
from thane.kernel.ledger.tree import FullTileReader, LeafHashReader, TileReader, TileRoots
from thane.kernel.records.engine import Engine, Signed


class SignsOnDemand(Protocol):
    """What proving needs of the signer."""

    async def sign_now(self) -> list[Signed]: ...


# By store and tenant; one root for 256 entries.
_roots: WeakKeyDictionary[Engine, dict[str, TileRoots]] = WeakKeyDictionary()


async def prove(engine: Engine, signer: SignsOnDemand | None, tenant_id: str, index: int) -> str:
    """The text of a `.tlog-proof` (c2sp.org/tlog-proof@v1) with the entry's leaf as extra data.

    An entry past the newest checkpoint is signed first; without a `signer` that is
    Unavailable. NotFound if the tenant has no such entry.
    """
    rows = await engine.entries(tenant_id, index, 1) if index >= 0 else []
    if not rows or rows[0].index != index:
        size = await engine.log_size(tenant_id)
        raise NotFound(f"there is no entry {index}; the log has {size}", extra={"resource": "ledger"})
    checkpoint = await covering(engine, tenant_id, index)
    if checkpoint is None and signer is not None:
        await signer.sign_now()
        checkpoint = await covering(engine, tenant_id, index)
    if checkpoint is None:
        raise Unavailable(f"no checkpoint is over entry {index} yet", retry_after=1)
    size = checkpoint.size
    roots = _roots.setdefault(engine, {}).setdefault(tenant_id, {})

    def path(stored: int, full_tiles: FullTileReader, leaf_hashes: LeafHashReader) -> list[bytes]:
        return Prover(TileReader(stored, full_tiles, leaf_hashes, roots)).inclusion(index, size)

    return make_proof(index, await engine.with_tree(tenant_id, path), checkpoint.note, rows[0].leaf)


async def covering(engine: Engine, tenant_id: str, index: int) -> Signed | None:
    """The newest checkpoint, if it is over entry `index`."""
    newest = await engine.checkpoints(tenant_id)
    return newest[0] if newest and newest[0].size > index else None
