"""What the client repeats when connections break, and that nothing is done twice by it."""

from __future__ import annotations

import json
import time

import pytest

from tests.client.proxy import Proxy, answer_lost, answers, cut, refused, silent
from tests.support.program import Served
from thane.client import (
    AsyncExecutionResult,
    AsyncThane,
    HungUp,
    Output,
    SecretLost,
    TimedOut,
    UnexpectedAnswer,
    errors,
)


def connect(server: Served, proxy: Proxy, retries: int = 4) -> AsyncThane:
    return AsyncThane(proxy.url, server.key, retries=retries)


def problem(code: str, *, retryable: bool) -> bytes:
    return json.dumps({"code": code, "detail": "not now", "hint": "wait", "retryable": retryable}).encode()


@pytest.mark.parametrize("plan", [answer_lost, refused, cut(40)], ids=["answer lost", "refused", "cut"])
async def test_what_is_repeated_is_done_once(
    server: Served, proxy: Proxy, plan: object, request: pytest.FixtureRequest
) -> None:
    name = request.node.name.replace("/", " ") + str(time.monotonic_ns())
    proxy.plans += [plan, plan]  # type: ignore[list-item]
    async with connect(server, proxy) as thane:
        made = await thane.sandboxes.create(name=name[-90:])
        assert proxy.connections == 3
        found = [s.id async for s in thane.sandboxes.list(filter=f'name = "{name[-90:]}"')]
        assert found == [made.id]


async def test_a_program_whose_answer_was_lost_has_run_once(server: Served, proxy: Proxy) -> None:
    async with connect(server, proxy) as thane:
        sandbox = await thane.sandboxes.create()
    proxy.plans += [answer_lost, cut(200)]
    async with connect(server, proxy) as thane:
        out = await thane.sandboxes.execute(sandbox.id, "print('once')")
        assert out.stdout == "once\n"
        assert [e.id async for e in thane.executions.list(sandbox_id=sandbox.id)] == [out.id]


async def test_a_stream_that_breaks_is_taken_up_without_showing_anything_twice(
    server: Served, proxy: Proxy
) -> None:
    code = (
        "import time\n"
        "for n in range(6):\n    print('line', n, flush=True)\n    time.sleep(0.25)\n"
        "print('end')"
    )
    async with connect(server, proxy) as thane:
        sandbox = await thane.sandboxes.create()
    proxy.plans += [cut(900), cut(1300)]
    async with connect(server, proxy) as thane:
        events = [event async for event in thane.sandboxes.stream_execute(sandbox.id, code)]
        assert proxy.connections == 4
    seqs = [event.seq for event in events if isinstance(event, Output)]
    assert seqs == sorted(set(seqs))
    result = events[-1]
    assert isinstance(result, AsyncExecutionResult)
    assert result.stdout == "".join(f"line {n}\n" for n in range(6)) + "end\n"
    shown = "".join(event.text for event in events if isinstance(event, Output))
    assert result.stdout.startswith(shown)


async def test_what_may_not_be_repeated_is_not(server: Served, proxy: Proxy) -> None:
    async with connect(server, proxy) as thane:
        sandbox = await thane.sandboxes.create()
        before = proxy.connections
        proxy.plans += [answer_lost]
        with pytest.raises(HungUp):
            await sandbox.run_code("print(1)", outlive=False)
        assert proxy.connections == before + 1
        proxy.plans += [
            answers("400 Bad", "content-type: application/json", body=problem("x", retryable=False))
        ]
        with pytest.raises(errors.ApiError) as refusal:
            await thane.with_options(retries=9).sandboxes.execute(sandbox.id, "print(1)", outlive=False)
        assert (refusal.value.code, proxy.connections) == ("x", before + 2)


async def test_retry_after_is_waited_for(server: Served, proxy: Proxy) -> None:
    busy = answers(
        "503 Busy", "content-type: application/problem+json", "retry-after: 1",
        body=problem("unavailable", retryable=True),
    )  # fmt: skip
    proxy.plans += [busy, answers("502 Bad Gateway", body=b"<html>")]
    async with connect(server, proxy) as thane:
        started = time.monotonic()
        assert (await thane.users.current()).role == "admin"
        assert time.monotonic() - started >= 1.0
        assert proxy.connections == 3


async def test_repeating_ends_with_the_error_itself(server: Served, proxy: Proxy) -> None:
    limited = answers(
        "429 Slow", "content-type: application/problem+json", "retry-after: 3600",
        body=problem("rate_limited", retryable=True),
    )  # fmt: skip
    proxy.plans += [limited, refused, refused, refused]
    async with connect(server, proxy, retries=2) as thane:
        with pytest.raises(errors.RateLimited) as caught:
            await thane.users.current()
        assert caught.value.retry_after == 3600
        with pytest.raises(HungUp):
            await thane.users.current()
        assert proxy.connections == 4


async def test_a_server_that_is_silent_is_left_in_time(server: Served, proxy: Proxy) -> None:
    proxy.plans += [silent]
    async with connect(server, proxy) as thane:
        started = time.monotonic()
        with pytest.raises(TimedOut, match="within 0.3 s"):
            await thane.with_options(timeout=0.3).users.current()
        assert time.monotonic() - started < 10
        assert (await thane.users.current()).role == "admin"


async def test_a_secret_that_was_lost_with_its_connection_is_said(server: Served, proxy: Proxy) -> None:
    proxy.plans += [answer_lost]
    async with connect(server, proxy) as thane:
        with pytest.raises(SecretLost, match="shown only once") as caught:
            await thane.api_keys.create("lost")
        revoked = await thane.api_keys.revoke(caught.value.answer["id"])
        assert (revoked.name, revoked.revoked_at is None) == ("lost", False)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"id": 3}'])
async def test_what_is_no_answer_of_thane_is_said(server: Served, proxy: Proxy, body: bytes) -> None:
    proxy.plans += [answers("200 OK", "content-type: text/html", body=body)]
    async with connect(server, proxy) as thane:
        with pytest.raises(UnexpectedAnswer, match="Check that the URL"):
            await thane.users.current()


async def test_a_connection_is_used_again_until_it_has_ended(server: Served, proxy: Proxy) -> None:
    async with connect(server, proxy) as thane:
        for _ in range(5):
            await thane.users.current()
        assert proxy.connections == 1
        proxy.hang_up()
        assert (await thane.users.current()).role == "admin"
        assert proxy.connections == 2
