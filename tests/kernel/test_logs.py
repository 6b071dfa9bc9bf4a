"""Logs: their shape, who asked, and what must never stand in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thane.kernel.logs import JsonFormatter, Scrubber, TextFormatter, bound, configure

logger = logging.getLogger("thane.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)


def last(stream: io.StringIO) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
    return found


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("thane.x", logging.INFO, "f.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_of_json_holds_everything(stream: io.StringIO) -> None:
    configure(style="json", stream=stream)
    with bound(request_id="req_1", tenant="tnt_1"):
        logger.info("listening on %s", "127.0.0.1", extra={"fields": {"port": 8090, "tags": ("a", None)}})
    line = last(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "thane.test",
        "message": "listening on 127.0.0.1",
        "request_id": "req_1",
        "tenant": "tnt_1",
        "fields": {"port": 8090, "tags": ["a", None]},
    }
    logger.info("outside")
    assert "tenant" not in last(stream)


def test_an_error_has_its_type_and_stack(stream: io.StringIO) -> None:
    configure(style="json", stream=stream, scrub=Scrubber(["hunter2-secret"]))
    try:
        raise RuntimeError("password is hunter2-secret")
    except RuntimeError:
        logger.exception("it failed")
    error = last(stream)["error"]
    assert error["type"] == "RuntimeError"
    assert "test_an_error_has_its_type" in error["stack"]
    assert "hunter2" not in stream.getvalue()


def test_levels_and_a_second_call(stream: io.StringIO) -> None:
    configure(level="debug", style="json", stream=stream)
    configure(level="warning", style="json", stream=stream)
    logger.info("unheard")
    logger.warning("heard")
    assert len(stream.getvalue().splitlines()) == 1


def test_auto_is_json_unless_it_is_a_terminal(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(configure(stream=stream).formatter, JsonFormatter)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert isinstance(configure(stream=stream).formatter, TextFormatter)


def test_text_for_people(stream: io.StringIO) -> None:
    configure(style="text", stream=stream)
    logger.warning("slow", extra={"fields": {"table": "runs", "who": "a b"}, "request_id": "req_2"})
    assert (
        stream.getvalue().rstrip()[12:]
        == ' WARNING thane.test: slow  table=runs  who="a b"  request_id=req_2'
    )
    try:
        raise ValueError("bad\x1b[31m")
    except ValueError:
        logger.exception("failed")
    assert "Traceback" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\u2028", "\u202e", "\x9b", "\0"])
def test_nobody_forges_a_line_or_drives_the_terminal(character: str) -> None:
    made = record("name is %s", f"a{character}INFO b", fields={"x": f"c{character}"})
    assert character not in TextFormatter(Scrubber()).format(made)
    assert character not in JsonFormatter(Scrubber()).format(made)


def test_fields_with_a_secret_name_are_masked_at_any_depth() -> None:
    fields = {
        "password": "a",
        "nested": [{"api_key": "b", "apiKey": "c", "AUTHORIZATION": "d"}],
        "token": "",
        "tok": "e",
    }
    line = json.loads(JsonFormatter(Scrubber()).format(record("x", fields=fields)))
    assert line["fields"] == {
        "password": "***",
        "nested": [{"api_key": "***", "apiKey": "***", "AUTHORIZATION": "***"}],
        "token": "",
        "tok": "e",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("connect postgres://u:pw@h/d and redis://:pw@h", "connect postgres://u:***@h/d and redis://:***@h"),
        ("the key is verysecret, verysecretlonger", "the key is ***, ***"),
        ("nothing here", "nothing here"),
    ],
)
def test_the_scrubber(text: str, shown: str) -> None:
    scrub = Scrubber(["verysecret", "abc"])
    scrub.add("verysecretlonger")
    assert scrub(text) == shown


def test_what_cannot_be_shown_does_not_cost_the_line() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    loop: list[Any] = []
    loop.append(loop)
    made = record("%d files", "many", fields={"broken": Broken(), "loop": loop, "nan": float("nan"), 3: b"x"})
    line = json.loads(JsonFormatter(Scrubber()).format(made))
    assert "could not be formatted" in line["message"]
    assert line["fields"]["broken"].startswith("<Broken")
    assert line["fields"]["nan"] == "nan"
    assert TextFormatter(Scrubber()).format(made)


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.binary()))
def test_every_message_is_one_line_of_ascii(message: str, fields: dict[str, object]) -> None:
    line = JsonFormatter(Scrubber()).format(record("%s", message, fields=fields))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["message"] is not None
