"""What a setting's value must be: conversion to its type, what is expected in words, and rules between keys.

Pure functions on values; where they came from is the business of `settings.py`.
"""

from __future__ import annotations

import ipaddress
import re
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec
from msgspec import Meta

from thane.kernel.errors import Fault
from thane.kernel.settings_schema import Secret, Setting, Settings

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?\Z", re.ASCII | re.IGNORECASE)
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def convert(setting: Setting, raw: Any, *, text: bool) -> Any:
    """`raw` as the setting's type, within its bounds. ValueError, perhaps with a reason, if it is not.

    `text`: `raw` is text that stands for the type, as in the environment.
    """
    inner, meta = _parts(setting.type)
    if text and isinstance(raw, str):
        raw = _from_text(raw.strip(), inner)
    if inner is Decimal:
        return _decimal(raw, meta)
    if typing.get_origin(inner) is dict:
        return _prices(raw, inner)
    try:
        return msgspec.convert(raw, setting.type, dec_hook=_secret)
    except msgspec.ValidationError:
        raise ValueError("") from None


def expected(declared: Any) -> str:
    """What a value of this type has to be, in words."""
    inner, meta = _parts(declared)
    origin = typing.get_origin(inner)
    if origin is Literal:
        return "one of " + ", ".join(str(word) for word in typing.get_args(inner))
    if origin is tuple:
        return "a list of texts"
    if origin is dict:
        return "a table of numbers of at least 0"
    words = {bool: "true or false", int: "a whole number", Decimal: "a number"}.get(inner, "text")
    if meta is None:
        return words
    if meta.pattern is not None:
        return f"{words} that matches {meta.pattern}"
    low = meta.ge if meta.ge is not None else meta.gt
    over = "more than" if meta.gt is not None else "at least"
    if low is not None and meta.le is not None:
        return f"{words} from {low} to {meta.le}"
    if low is not None:
        return f"{words} of {over} {low}"
    return f"{words} that is not empty" if meta.min_length else words


def _parts(declared: Any) -> tuple[Any, Meta | None]:
    if typing.get_origin(declared) is not typing.Annotated:
        return declared, None
    return declared.__origin__, next((m for m in declared.__metadata__ if isinstance(m, Meta)), None)


def _secret(wanted: type, raw: Any) -> Any:
    if wanted is Secret and isinstance(raw, Secret):
        return raw
    if wanted is Secret and isinstance(raw, str):
        return Secret(raw)
    raise ValueError("")


def _from_text(text: str, inner: Any) -> Any:
    """Text of the environment as what TOML would have given; text that fits nothing stays and fails later."""
    if inner is bool:
        word = text.lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if inner is int:
        digits = text.removeprefix("-").removeprefix("+")
        return int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else text
    if typing.get_origin(inner) is tuple:
        return [word for part in text.split(",") if (word := part.strip())]
    if typing.get_origin(inner) is dict:
        try:
            return msgspec.json.decode(text, type=dict[str, Decimal])
        except msgspec.MsgspecError:
            raise ValueError('written as JSON, such as {"file_stored": 0.0001}') from None
    return text


def _decimal(raw: Any, meta: Meta | None) -> Decimal:
    # bool is an int to Python, and a float would bring digits that nobody wrote
    if type(raw) not in (int, str, Decimal):
        raise ValueError("")
    try:
        value = Decimal(raw)
    except InvalidOperation:
        raise ValueError("") from None
    if not value.is_finite():
        raise ValueError("it must be finite")
    if meta is not None and (
        (meta.ge is not None and value < meta.ge) or (meta.gt is not None and value <= meta.gt)
    ):
        raise ValueError("")
    return value


def _prices(raw: Any, inner: Any) -> dict[str, Decimal]:
    if not isinstance(raw, dict):
        raise ValueError("")
    _, meta = _parts(typing.get_args(inner)[1])
    found: dict[str, Decimal] = {}
    for name, value in raw.items():
        try:
            found[str(name)] = _decimal(value, meta)
        except ValueError:
            raise ValueError(f"the value of {name}") from None
    return found


# -- rules between keys --------------------------------------------------------------


def cross_faults(settings: Settings, origin: Callable[[str], str]) -> Iterator[Fault]:
    """What is wrong although every value is right by itself."""
    for low, high in (
        ("database.min_connections", "database.max_connections"),
        ("isolation.memory_mb", "isolation.max_memory_mb"),
        ("isolation.cpu_cores", "isolation.max_cpu_cores"),
        ("isolation.disk_mb", "isolation.max_disk_mb"),
        ("isolation.timeout_secs", "isolation.max_timeout_secs"),
        ("http.max_body_bytes", "http.max_buffered_bytes"),
    ):
        least, most = _get(settings, low), _get(settings, high)
        unlimited = most == 0 and low.startswith("isolation.")
        if least > most and not unlimited:
            yield Fault(
                "/" + low.replace(".", "/"),
                "contradiction",
                f"{low} is {least} ({origin(low)}), more than {high}, which is {most} ({origin(high)})",
            )
    for proxy in settings.http.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            where = origin("http.trusted_proxies")
            detail = f'http.trusted_proxies in {where}: expected addresses such as 10.0.0.0/8, got "{proxy}"'
            yield Fault("/http/trusted_proxies", "wrong_value", detail)
    yield from _edge_faults(settings, origin)
    if settings.immudb.enabled and not (settings.immudb.user and settings.immudb.password):
        yield Fault(
            "/immudb/enabled",
            "contradiction",
            f"immudb.enabled is true ({origin('immudb.enabled')}), but its user or password is empty",
        )


def _edge_faults(settings: Settings, origin: Callable[[str], str]) -> Iterator[Fault]:
    http = settings.http
    if bool(http.tls_cert) != bool(http.tls_key):
        given, lacking = ("tls_cert", "tls_key") if http.tls_cert else ("tls_key", "tls_cert")
        detail = f"http.{given} is set ({origin('http.' + given)}), but http.{lacking} is not: TLS needs both"
        yield Fault(f"/http/{lacking}", "contradiction", detail)
    for word in http.cors_origins:
        if word != "*" and not _ORIGIN.match(word):
            where = origin("http.cors_origins")
            detail = f'http.cors_origins in {where}: expected origins such as https://a.example, got "{word}"'
            yield Fault("/http/cors_origins", "wrong_value", detail)


def _get(settings: Settings, key: str) -> Any:
    section, name = key.split(".", 1)
    return getattr(getattr(settings, section), name)
