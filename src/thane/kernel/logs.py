"""Logs: one line for one thing that happened, as JSON for machines or as text for a terminal.

The standard library's logging, with a formatter of ours. Who asked (request, tenant)
comes from the context and need not be passed along; further fields by
`logger.info("…", extra={"fields": {"port": 8090}})`. Every line goes through a scrubber:
a log must not hold a key or a password, nor break a terminal with control characters.
Logs are for operators; what must be provable is in the ledger.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from thane.kernel.settings_schema import MASK, mask_url

Scrub = Callable[[str], str]

_CONTEXT: ContextVar[tuple[str | None, str | None]] = ContextVar("thane_log_context", default=(None, None))
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|authorization|cookie|private_?key", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAX_DEPTH = 6


@contextmanager
def bound(*, request_id: str | None = None, tenant: str | None = None) -> Iterator[None]:
    """Inside, every line of this task names the request and the tenant."""
    token = _CONTEXT.set((request_id, tenant))
    try:
        yield
    finally:
        _CONTEXT.reset(token)


class Scrubber:
    """Replaces known secrets, bearer tokens and passwords in URLs. `add` takes secrets that come later."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Very short ones are left out: they would black out half of every line."""
        known = {*self._secrets, *(s for s in secrets if len(s) >= 6)}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        if "://" in text:
            text = " ".join(mask_url(word) if "://" in word else word for word in text.split(" "))
        return _BEARER.sub(rf"\1 {MASK}", text)


class _Formatter(logging.Formatter):
    def __init__(self, scrub: Scrub) -> None:
        super().__init__()
        self._scrub = scrub

    def _clean(self, value: Any, depth: int = 0) -> Any:
        """`value` as JSON, without secrets; what JSON does not have becomes its text."""
        if value is None or isinstance(value, bool | int):
            return value
        if depth < _MAX_DEPTH and isinstance(value, Mapping):
            return {
                str(name): MASK if _SECRET_NAME.search(str(name)) and item else self._clean(item, depth + 1)
                for name, item in value.items()
            }
        if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
            return [self._clean(item, depth + 1) for item in value]
        return self._scrub(_text(value))

    def _message(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - a wrong format string must not cost the line
            message = f"{record.msg} (its arguments could not be formatted: {type(error).__name__})"
        return self._scrub(message)

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        entry: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        for name, in_context in zip(("request_id", "tenant"), _CONTEXT.get(), strict=True):
            value = getattr(record, name, None) or in_context
            if value is not None:
                entry[name] = value
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping) and fields:
            entry["fields"] = self._clean(fields)
        return entry


class JsonFormatter(_Formatter):
    """One JSON object a line: time, level, logger, message, request_id, tenant, fields, error."""

    def format(self, record: logging.LogRecord) -> str:
        entry = self._entry(record)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            entry["error"] = {
                "type": type(error).__name__,
                "message": self._scrub(_text(error)),
                "stack": self._scrub("".join(traceback.format_exception(error))),
            }
        return json.dumps(entry, ensure_ascii=True, separators=(",", ":"))


class TextFormatter(_Formatter):
    """`12:00:00.123 INFO thane.http: message  name=value  request=…`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        entry = self._entry(record)
        rest = [f"{name}={_plain(value)}" for name, value in entry.get("fields", {}).items()]
        rest += [f"{name}={entry[name]}" for name in ("request_id", "tenant") if name in entry]
        line = f"{entry['time'][11:23]} {record.levelname} {record.name}: {entry['message']}"
        line = _CONTROL.sub(lambda m: repr(m[0])[1:-1], "  ".join([line, *rest]))
        if record.exc_info and record.exc_info[1] is not None:
            stack = self._scrub("".join(traceback.format_exception(record.exc_info[1])))
            line += "\n" + "\n".join(_CONTROL.sub("?", part) for part in stack.rstrip().split("\n"))
        return line


def configure(
    *,
    level: str = "info",
    style: str = "auto",
    stream: TextIO | None = None,
    scrub: Scrub | None = None,
) -> logging.Handler:
    """Send all logs of the process to `stream` (stderr). `style`: json, text, or auto: text on a terminal."""
    target = sys.stderr if stream is None else stream
    text = style == "text" or (style == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter((TextFormatter if text else JsonFormatter)(Scrubber() if scrub is None else scrub))
    root = logging.getLogger()
    for old in [h for h in root.handlers if getattr(h, "thane", False)]:
        root.removeHandler(old)
    handler.thane = True  # type: ignore[attr-defined]  # marks ours, so that a second call replaces the first
    root.addHandler(handler)
    root.setLevel(level.upper())
    return handler


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else str(value)
    except Exception as error:  # noqa: BLE001 - what is logged must not break who logs
        return f"<{type(value).__name__}: {type(error).__name__} in its text>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
