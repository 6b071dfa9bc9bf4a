"""`fields=` on objects, on pages, and inside objects."""

from __future__ import annotations

import json

import pytest

from thane.interfaces.http.projection import project
from thane.kernel.errors import Invalid

ONE = {"id": 1, "a": {"b": {"c": 2, "d": 3}, "e": 4}, "n": None}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ("id", {"id": 1}),
        ("id, n", {"id": 1, "n": None}),
        ("a.b.c", {"a": {"b": {"c": 2}}}),
        ("a.e,a.b", {"a": {"e": 4, "b": {"c": 2, "d": 3}}}),
        ("n.deep", {"n": None}),
    ],
)
def test_fields_of_an_object(fields: str, shown: object) -> None:
    assert json.loads(project(json.dumps(ONE).encode(), fields)) == shown


def test_fields_of_a_page_keep_the_page() -> None:
    page = {"items": [ONE, {"id": 2}], "next_cursor": "x", "total": 2}
    shown = json.loads(project(json.dumps(page).encode(), "id"))
    assert shown == {"items": [{"id": 1}, {"id": 2}], "next_cursor": "x", "total": 2}
    empty: dict[str, object] = {"items": [], "next_cursor": None}
    assert json.loads(project(json.dumps(empty).encode(), "anything")) == empty


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"id":1}', "nothing"),
        (b'{"id":1}', ""),
        (b'{"id":1}', ",".join("x" * 70)),
        (b'{"id":1}', "id.deep"),
        (b"[1]", "id"),
    ],
)
def test_what_is_not_there_is_told(body: bytes, fields: str) -> None:
    with pytest.raises(Invalid):
        project(body, fields)
