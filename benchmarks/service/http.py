"""A few requests by hand, for setting up and for looking at stages: the standard library's client."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def ask(method: str, url: str, headers: dict[str, str], body: Any = None) -> Answer:
    """One request with a JSON body; an error status is an answer too."""
    data = None if body is None else json.dumps(body).encode()
    sent = {**headers, **({} if data is None else {"content-type": "application/json"})}
    request = urllib.request.Request(url, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return _answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return _answer(error.code, error.headers, error.read())


def must(method: str, url: str, headers: dict[str, str], body: Any = None) -> Answer:
    """As `ask`; RuntimeError unless it worked."""
    answer = ask(method, url, headers, body)
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {url}: {answer.status} {answer.body}")
    return answer


def until_answered(url: str, started: float, seconds: float = 30.0) -> float:
    """Ask until somebody answers 200; seconds since `started`."""
    while time.perf_counter() - started < seconds:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.002)
    raise RuntimeError(f"{url} did not answer within {seconds} s")


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    return Answer(status, {k.lower(): v for k, v in headers.items()}, json.loads(body) if body else None)
