"""Parts of the client by themselves: addresses, conversion, pauses, files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import thane.client
from tests.support.program import Served
from thane.client import (
    AsyncThane,
    Thane,
    ThaneError,
    UnexpectedAnswer,
    convert,
    events,
    files,
    policy,
    types,
    wire,
)

ADDRESSES = [
    ("http://127.0.0.1:8090", "127.0.0.1:8090", "/api/v1/me"),
    ("https://thane.example", "thane.example", "/api/v1/me"),
    ("https://example.com/thane/api/v1/", "example.com", "/thane/api/v1/me"),
    ("http://[::1]:80", "[::1]", "/api/v1/me"),
    ("unix:///tmp/a%20b/thane.sock", "localhost", "/api/v1/me"),
]


@pytest.mark.parametrize(("url", "host", "where"), ADDRESSES)
def test_an_address_is_read_from_its_url(url: str, host: str, where: str) -> None:
    lines = wire.request(wire.address_of(url), "GET", wire.target("/me", {}, {}), {}, None).split(b"\r\n")
    assert lines[:2] == [f"GET {where} HTTP/1.1".encode(), f"host: {host}".encode()]


@pytest.mark.parametrize("url", ["localhost:8090", "ftp://x", "http://", "unix://x", "http://me:secret@x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL of a server"):
        Thane(url)


def test_no_header_can_be_smuggled_in() -> None:
    with pytest.raises(ValueError, match="line break"), Thane("http://127.0.0.1:1", "k\r\nx: y") as thane:
        thane.users.current()
    with pytest.raises(ValueError, match="must be an id"):
        wire.target("/runs/{run_id}", {"run_id": ".."}, {})
    assert wire.target("/a/{b}", {"b": "x/../y?"}, {"q": True}) == "/api/v1/a/x%2F..%2Fy%3F?q=true"


def test_unknown_fields_and_words_are_tolerated_and_missing_ones_are_not() -> None:
    found = convert.read(
        types.IsolationInfo, {"tier": "T9", "limits": {"memory": "cgroup"}, "invented": [1, 2]}
    )
    assert found == types.IsolationInfo(tier="T9", limits={"memory": "cgroup"})
    refused: list[Any] = [{}, {"tier": 3}, [], None]
    for wrong in refused:
        with pytest.raises(UnexpectedAnswer, match="IsolationInfo"):
            convert.read(types.IsolationInfo, wrong)


def test_values_are_written_as_the_api_reads_them() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    limits = types.WantedLimits(max_cpu_cores=Decimal("1E-2"))
    assert convert.given(a=limits, b=when, c=b"\xff", d=None, e=("x",), f=Path("p"), g={"h": True}) == {
        "a": {"max_cpu_cores": "0.01"},
        "b": "2026-01-02T00:00:00+00:00",
        "c": "/w==",
        "e": ["x"],
        "f": "p",
        "g": {"h": True},
    }
    with pytest.raises(ValueError, match="no time zone"):
        convert.write(datetime(2026, 1, 2))  # noqa: DTZ001 - the mistake
    with pytest.raises(TypeError, match="cannot be sent"):
        convert.write(object())


def test_pauses_grow_with_jitter_and_are_never_shorter_than_asked_for() -> None:
    for attempt, most in ((1, 0.2), (2, 0.4), (5, 3.2), (9, 8.0), (99, 8.0)):
        found = {policy.pause(attempt, None) for _ in range(50)}
        assert len(found) > 1
        assert most / 2 <= min(found) <= max(found) <= most
    assert all(policy.pause(1, 7.0) >= 7.0 for _ in range(50))
    with pytest.raises(ValueError, match="above 0"):
        Thane("http://127.0.0.1:1", timeout=0)


def test_events_are_read_across_any_cut() -> None:
    text = b': keep-alive\n\nevent: output\ndata: {"a": 1}\n\nevent: gap\ndata: {"dropped": 2}\n\n'
    for at in range(len(text)):
        reader = wire.Events()
        assert reader.feed(text[:at]) + reader.feed(text[at:]) == [
            ("output", {"a": 1}),
            ("gap", {"dropped": 2}),
        ]
    assert events.Reader().progress("gap", {"dropped": 2}) == events.Gap(dropped=2)
    assert events.Reader().progress("invented", {"seq": 0}) is None


@pytest.mark.parametrize("name", ["../x", "/etc/x", "link/x"])
def test_a_produced_file_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(ThaneError, match="leave the folder"):
        files.place(tmp_path / "out", name)


def test_files_are_given_by_name_or_by_path(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"A")
    wanted = [{"name": "a", "content": "QQ=="}]
    given: list[Any] = [
        {"a": b"A"},
        {"a": "A"},
        {"a": tmp_path / "a"},
        [tmp_path / "a"],
        [str(tmp_path / "a")],
    ]
    assert [files.taken(one) for one in given] == [wanted] * 5
    for mistake in ("a", b"a"):
        with pytest.raises(TypeError):
            files.taken(mistake)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two files"):
        files.taken([tmp_path / "a", tmp_path / "." / "a"])


def test_one_client_serves_many_threads(server: Served) -> None:
    with Thane(server.url, server.key) as thane, ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: thane.sandboxes.create(name=f"thread {n}").name, range(40)))
    assert made == [f"thread {n}" for n in range(40)]


async def test_one_client_serves_many_tasks_and_each_has_its_own_run(server: Served) -> None:
    import asyncio

    async with AsyncThane(server.url, server.key) as thane:
        sandbox = await thane.sandboxes.create()

        async def work(n: int) -> bool:
            async with thane.run(f"task {n}") as run:
                return (await sandbox.run_code(f"print({n})")).run_id == run.id

        assert await asyncio.gather(*map(work, range(6))) == [True] * 6


def test_what_the_package_offers_is_there() -> None:
    assert [name for name in thane.client.__all__ if not hasattr(thane.client, name)] == []
    with pytest.raises(AttributeError):
        _ = thane.client.AsyncNothing
