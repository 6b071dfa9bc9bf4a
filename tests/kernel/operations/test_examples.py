"""Every declared example works, in a house of its own, and the count says that it was all of them."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.operations.examples import run_example
from tests.kernel.operations.house import House
from tests.kernel.operations.notes import DEED_OPERATIONS, NOTE_OPERATIONS
from thane.kernel.operations.declare import Effect


async def test_every_example_works(tmp_path: Path) -> None:
    covered, declared = 0, 0
    for i, target in enumerate((*NOTE_OPERATIONS, *DEED_OPERATIONS)):
        (tmp_path / str(i)).mkdir()
        house = await House.build(tmp_path / str(i))
        name = target.__operation__.name  # type: ignore[attr-defined]
        request = house.records.ids.new("req")
        reply = await run_example(
            house.operations, name, house.pipeline.call, bearer="owner", request_id=request
        )
        bound = house.operations.get(name)
        assert reply.status == bound.status
        assert (reply.index is None) is (bound.effect is Effect.NONE)
        covered, declared = covered + 1, len(house.operations)
        await house.close()
    print(f"{covered} examples run")
    assert covered == declared
