"""Signing rounds and views of one tree: what has grown, durable, and consistent while others write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.store.entities import Box
from tests.store.world import World
from thane.kernel.ledger.proof import Prover, verify_consistency, verify_inclusion
from thane.kernel.ledger.tree import EMPTY_ROOT, FullTileReader, LeafHashReader, TileReader, root_of_hashes
from thane.kernel.records import ROOT_LOG, Unit
from thane.kernel.records.engine import LogSize, RootTree, Signed


class Signer:
    """Signs all that it is shown, and remembers it."""

    def __init__(self) -> None:
        self.rounds: list[list[LogSize]] = []
        self.root_size = 0

    def __call__(self, sizes: Sequence[LogSize], root: RootTree) -> list[Signed]:
        self.rounds.append(list(sizes))
        for log in sizes:
            root.append(f"{log.tenant_id} {log.size}".encode())
        self.root_size = root.size
        notes = [Signed(log.tenant_id, log.size, f"note {log.tenant_id} {log.size}") for log in sizes]
        return [*notes, Signed(ROOT_LOG, root.size, f"root {root.size} {root.root().hex()}")]


async def test_a_round_sees_the_logs_that_grew_since_their_last_checkpoint(world: World) -> None:
    signer = Signer()
    await world.engine.sign(signer)
    assert {log.tenant_id for log in signer.rounds[0]} == {world.a, world.b}
    await world.boxed()
    await world.boxed()
    signed = await world.engine.sign(signer)
    assert [(log.tenant_id, log.size) for log in signer.rounds[1]] == [(world.a, 3)]
    assert [s.tenant_id for s in signed] == [world.a, ROOT_LOG]
    assert await world.engine.checkpoints(world.a) == [Signed(world.a, 3, f"note {world.a} 3")]
    assert [s.size for s in await world.engine.checkpoints(world.a, 5)] == [3, 1]
    assert await world.engine.checkpoints("tnt_nobody") == []


async def test_a_round_without_growth_signs_nothing(world: World) -> None:
    signer = Signer()
    await world.engine.sign(signer)
    assert await world.engine.sign(signer) == []
    await world.reopen()
    assert await world.engine.sign(signer) == []
    assert len(signer.rounds) == 1


async def test_roots_shown_to_the_signer_are_those_of_the_leaves(world: World) -> None:
    for _ in range(3):
        await world.boxed()
    await world.reopen()
    signer = Signer()
    await world.engine.sign(signer)
    for log in signer.rounds[0]:
        hashes = [e.leaf_hash for e in await world.entries(log.tenant_id)]
        assert (log.size, log.root) == (len(hashes), root_of_hashes(hashes))


async def test_what_a_round_leaves_out_is_offered_again(world: World) -> None:
    def only_b(sizes: Sequence[LogSize], root: RootTree) -> list[Signed]:
        del root
        return [Signed(s.tenant_id, s.size, "note") for s in sizes if s.tenant_id == world.b]

    await world.engine.sign(only_b)
    signer = Signer()
    await world.engine.sign(signer)
    assert [log.tenant_id for log in signer.rounds[0]] == [world.a]


async def test_a_round_that_fails_leaves_nothing(world: World) -> None:
    def fail(sizes: Sequence[LogSize], root: RootTree) -> list[Signed]:
        root.append(b"a leaf that must not stay")
        raise ValueError("a fork")

    with pytest.raises(ValueError, match="a fork"):
        await world.engine.sign(fail)
    assert await world.engine.log_size(ROOT_LOG) == 0
    assert await world.engine.checkpoints(world.a) == []
    signer = Signer()
    await world.engine.sign(signer)
    assert len(signer.rounds[0]) == 2
    await world.boxed()


async def test_the_root_log_is_a_tree_of_its_own(world: World) -> None:
    signer = Signer()
    await world.engine.sign(signer)
    await world.boxed()
    await world.reopen()
    await world.engine.sign(signer)
    entries = await world.engine.entries(ROOT_LOG, 0, 10)
    assert [e.index for e in entries] == list(range(signer.root_size)) == [0, 1, 2]
    root = await world.engine.with_tree(
        ROOT_LOG, lambda size, full, part: _prover(size, full, part).root(size)
    )
    assert root == root_of_hashes([e.leaf_hash for e in entries])
    (checkpoint,) = await world.engine.checkpoints(ROOT_LOG)
    assert checkpoint.note == f"root 3 {root.hex()}"


async def test_what_was_signed_is_there_after_a_restart(world: World) -> None:
    await world.boxed()
    signed = await world.engine.sign(Signer())
    await world.reopen()
    for made in signed:
        assert await world.engine.checkpoints(made.tenant_id) == [made]


def _prover(size: int, full: FullTileReader, part: LeafHashReader) -> Prover:
    return Prover(TileReader(size, full, part))


async def test_proofs_hold_while_others_write(world: World) -> None:
    """Past a full tile (256 leaves), so that tiles and the partial edge both take part."""
    stop = False
    written = 0

    async def write() -> None:
        nonlocal written
        while not stop:
            await asyncio.gather(*(world.boxed() for _ in range(8)))
            written += 8

    def view(size: int, full: FullTileReader, part: LeafHashReader) -> tuple[int, bytes, list[bytes], bytes]:
        prover = _prover(size, full, part)
        return size, prover.root(size), prover.inclusion(size // 2, size), part(size // 2, size // 2 + 1)

    writers = [asyncio.ensure_future(write()) for _ in range(2)]
    try:
        views: list[tuple[int, bytes]] = []
        while written < 600:
            size, root, path, leaf = await world.engine.with_tree(world.a, view)
            verify_inclusion(size // 2, size, leaf, path, root)
            views.append((size, root))
    finally:
        stop = True
        await asyncio.gather(*writers)
    assert len({size for size, _ in views}) > 3

    def consistency(size: int, full: FullTileReader, part: LeafHashReader) -> None:
        prover = _prover(size, full, part)
        for old, root in views:
            verify_consistency(old, size, prover.consistency(old, size), root, prover.root(size))

    await world.engine.with_tree(world.a, consistency)
    hashes = [e.leaf_hash for e in await world.entries()]
    root = await world.engine.with_tree(
        world.a, lambda size, full, part: _prover(size, full, part).root(size)
    )
    assert root == root_of_hashes(hashes)


async def test_the_tree_of_nobody_is_empty(world: World) -> None:
    seen = await world.engine.with_tree("tnt_nobody", lambda size, full, part: (size, part(0, 0)))
    assert seen == (0, b"")
    root = await world.engine.with_tree(
        "tnt_nobody", lambda size, full, part: _prover(size, full, part).root(0)
    )
    assert root == EMPTY_ROOT


async def test_a_durable_unit_is_answered_like_any_other(world: World) -> None:
    async def handler(unit: Unit) -> Box:
        unit.durable = True
        return unit.create(world.box(number=5))

    result = await world.run(handler, kind="intent", outcome=None)
    assert result.committed.index == 1
    assert (await world.get(result.value)).number == 5
