"""A small answer is one write; what begins and waits is not held back."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from thane.interfaces.http.onewrite import OneWrite


class Written:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True


def one_write() -> tuple[OneWrite, Written]:
    under = Written()
    return OneWrite(cast(Any, under), asyncio.get_running_loop()), under


async def test_head_and_body_go_together_and_the_rest_at_once() -> None:
    answer, under = one_write()
    answer.write(b"head ")
    assert under.writes == []
    answer.write(b"body")
    assert under.writes == [b"head body"]
    answer.write(b"more")
    assert under.writes == [b"head body", b"more"]
    await asyncio.sleep(0)
    assert len(under.writes) == 2


async def test_a_head_whose_body_is_not_there_yet_leaves_in_the_same_turn() -> None:
    answer, under = one_write()
    answer.write(b"head")
    await asyncio.sleep(0)
    assert under.writes == [b"head"]
    answer.write(b"event")
    assert under.writes == [b"head", b"event"]


async def test_closing_writes_what_was_held_first() -> None:
    answer, under = one_write()
    answer.write(b"head")
    answer.close()
    assert (under.writes, under.closed) == ([b"head"], True)
