"""Pages of other origins: shut out unless they are named, and then told what they need."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from tests.interfaces.web import Web
from tests.kernel.operations.house import House
from thane.interfaces.http.app import HttpApp
from thane.interfaces.http.forwarded import Proxies

PAGE = "https://app.example"


async def test_no_origin_is_named_by_default(web: Web) -> None:
    for method in ("GET", "OPTIONS"):
        got = await web(method, "/notes", origin=PAGE, access_control_request_method="GET")
        assert not [name for name in got.headers if name.startswith("access-control") or name == "vary"]


async def test_an_origin_that_is_named_may_call_and_read(house: House) -> None:
    web = Web(house, origins=(PAGE, "http://localhost:3000"))
    asked = await web(
        "OPTIONS", "/notes", bearer=None, origin=PAGE, access_control_request_method="POST",
        access_control_request_headers="authorization,content-type,idempotency-key",
    )  # fmt: skip
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, PAGE)
    assert "POST" in asked.headers["access-control-allow-methods"].split(", ")
    allowed = asked.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "idempotency-key", "if-match"} <= set(allowed)
    assert asked.headers["access-control-max-age"] == "600"
    for got, status in (
        (await web("POST", "/notes", {"title": "Milk"}, origin=PAGE), 201),
        (await web("POST", "/notes", {"title": ""}, origin=PAGE), 422),
        (await web("GET", "/none", origin=PAGE), 404),
        (await web("GET", "/health", origin=PAGE), 200),
    ):
        assert (got.status, got.headers["access-control-allow-origin"]) == (status, PAGE)
        assert {"etag", "retry-after"} <= set(got.headers["access-control-expose-headers"].split(", "))
        assert got.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in got.headers


@pytest.mark.parametrize("origin", ["https://other.example", "null", "https://app.example.evil.example", ""])
async def test_another_origin_is_told_nothing(house: House, origin: str) -> None:
    web = Web(house, origins=(PAGE,))
    for method in ("GET", "OPTIONS"):
        got = await web(method, "/notes", origin=origin)
        assert "access-control-allow-origin" not in got.headers
        assert got.headers["vary"] == "origin", "a cache must not show it another origin's answer"


async def test_a_star_is_every_origin(house: House) -> None:
    got = await Web(house, origins=("*",))("GET", "/notes", origin="https://any.example")
    assert got.headers["access-control-allow-origin"] == "https://any.example"


@pytest.mark.parametrize(
    ("origin", "scope", "status"),
    [
        ("http://x", {}, 405),
        (PAGE, {}, 405),
        ("http://other.example", {}, 403),
        # What is spoken by TLS is not for pages that anyone on the way could have written.
        ("http://x", {"scheme": "wss"}, 403),
        ("https://x", {"scheme": "wss"}, 405),
        ("https://outside.example", {"client": ("10.0.0.1", 1)}, 405),
        ("https://outside.example", {}, 403),
    ],
)
async def test_who_may_open_a_websocket(
    house: House, origin: str, scope: dict[str, Any], status: int
) -> None:
    """405 is the answer of a path without a stream to who may ask."""
    proxies = Proxies((ip_network("10.0.0.0/8"),))
    app = HttpApp(house.pipeline, origins=(PAGE,), proxies=proxies)
    forwarded = [(b"x-forwarded-host", b"outside.example"), (b"x-forwarded-proto", b"https")]
    headers = [(b"host", b"x"), (b"origin", origin.encode()), (b"authorization", b"Bearer owner")]
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        told.append(message)

    made = {"type": "websocket", "path": "/api/v1/notes", "query_string": b"", "scheme": "ws",
            "client": ("192.0.2.1", 1), "headers": headers + forwarded, **scope}  # fmt: skip
    await app(made, receive, send)
    assert told[0]["status"] == status
