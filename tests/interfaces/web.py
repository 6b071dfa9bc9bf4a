"""A raw ASGI caller: every byte of the question and the answer in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.kernel.operations.house import House
from thane.interfaces.http.app import HttpApp

API = "/api/v1"


class Got:
    """One answer."""

    def __init__(self, messages: list[Mapping[str, Any]]) -> None:
        self.status: int = messages[0]["status"]
        self.headers = {n.decode(): v.decode() for n, v in messages[0]["headers"]}
        self.body = b"".join(m.get("body", b"") for m in messages[1:])
        self.starts = sum(m["type"] == "http.response.start" for m in messages)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Web:
    def __init__(self, house: House, **options: Any) -> None:
        self.house = house
        self.app = HttpApp(house.pipeline, max_body_bytes=2000, **options)

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        bearer: str | None = "owner",
        hang_up: asyncio.Event | None = None,
        parts: list[bytes] | None = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> Got:
        data = raw if raw is not None else b"" if body is None else msgspec.json.encode(body)
        given = [(n.replace("_", "-").encode(), v.encode("latin-1")) for n, v in headers.items()]
        if bearer is not None:
            given.append((b"authorization", f"Bearer {bearer}".encode()))
        if data and "content_type" not in headers:
            given.append((b"content-type", b"application/json"))
        name, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": name if name in ("/health", "/metrics", "/openapi.json") else API + name,
            "query_string": query.encode(),
            "headers": given,
            "client": ("192.0.2.1", 1234),
        }
        waiting = parts if parts is not None else [data]
        sent: list[Mapping[str, Any]] = []

        async def receive() -> Mapping[str, Any]:
            if waiting:
                part = waiting.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(waiting)}
            await (hang_up or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return Got(sent) if sent else Got([{"type": "nothing", "status": 0, "headers": []}])
