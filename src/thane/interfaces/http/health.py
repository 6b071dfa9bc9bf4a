"""`/health`: which part is down. Says no more than a part's name and the code of what is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from thane.kernel.errors import ThaneError

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[None]]
SECONDS: Final = 2.0


async def health_of(checks: Mapping[str, Check]) -> tuple[int, dict[str, Any]]:
    """(status, body): 200 when every check returns in time, else 503 and the parts that are down."""
    states = await asyncio.gather(*(_state(name, check) for name, check in checks.items()))
    parts = dict(zip(checks, states, strict=True))
    down = [name for name, state in parts.items() if state["status"] != "ok"]
    body: dict[str, Any] = {"status": "down" if down else "ok", "parts": parts}
    if down:
        body["down"] = down
    return (503 if down else 200), body


async def _state(name: str, check: Check) -> dict[str, str]:
    try:
        async with asyncio.timeout(SECONDS):
            await check()
    except TimeoutError:
        return {"status": "down", "code": "timeout"}
    except ThaneError as fault:
        return {"status": "down", "code": fault.code}
    except Exception:
        # A check that breaks tells of its part like one that refuses.
        log.exception("a health check failed", extra={"part": name})
        return {"status": "down", "code": "internal"}
    return {"status": "ok"}
