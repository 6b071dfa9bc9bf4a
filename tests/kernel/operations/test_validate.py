"""Validation: good input in one call, bad input with every fault and its pointer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.kernel.operations import notes
from thane.kernel.errors import Invalid, Malformed
from thane.kernel.operations.call import Call
from thane.kernel.operations.registry import Operations
from thane.kernel.operations.stages.validate import validate


@pytest.fixture
def operations() -> Operations:
    made = Operations()
    made.bind(notes.Notes(), *notes.NOTE_OPERATIONS)
    return made


def checked(operations: Operations, name: str, body: bytes = b"", **more: Any) -> Call:
    call = Call(operation=operations.get(name), request_id="req_1", body=body, **more)
    validate(call)
    return call


def faults(operations: Operations, name: str, body: bytes = b"", **more: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        checked(operations, name, body, **more)
    return {f.pointer: (f.code, f.detail) for f in refused.value.faults}


def test_a_body_becomes_the_request_and_decimals_keep_their_digits(operations: Operations) -> None:
    call = checked(operations, "notes.create", b'{"title": "Milk", "price": 0.10000000000000000001}')
    assert call.request == notes.CreateNote(title="Milk", price=Decimal("0.10000000000000000001"))
    assert call.resource is None


def test_path_and_body_become_one_request(operations: Operations) -> None:
    call = checked(operations, "notes.rename", b'{"title": "Bread"}', path={"note_id": "nte_1"})
    assert call.request == notes.RenameNote(note_id="nte_1", title="Bread")
    assert call.resource == "nte_1"


def test_a_query_is_converted(operations: Operations) -> None:
    call = checked(operations, "notes.list", query=[("limit", "7"), ("total", "true"), ("starts", "M")])
    assert call.request == notes.ListNotes(limit=7, total=True, starts="M")


def test_an_empty_body_is_an_empty_object(operations: Operations) -> None:
    assert checked(operations, "notes.ping").request == notes.Nothing()
    assert faults(operations, "notes.create") == {"/title": ("required", "must be given")}


def test_all_faults_are_told_at_once(operations: Operations) -> None:
    found = faults(operations, "notes.create", b'{"titel": "x", "price": [], "labels": ["a", 1]}')
    assert found["/titel"] == ("unknown", "is no field of notes.create; did you mean `title`?")
    assert found["/title"] == ("required", "must be given")
    assert found["/price"][0] == "type"
    assert found["/labels/1"] == ("type", "expected str, got int")


def test_a_fault_says_what_is_out_of_range(operations: Operations) -> None:
    assert faults(operations, "notes.create", b'{"title": ""}')["/title"][0] == "out_of_range"
    assert faults(operations, "notes.list", query=[("limit", "501")])["/limit"][0] == "out_of_range"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"title": ', "not JSON"),
        (b'{"title": "x"} tail', "not JSON"),
        (b'{"title": "\xff"}', "UTF-8"),
        (b'{"title": "x",}', "byte"),
        (b'{"labels":' + b"[" * 100_000, "nested"),
        (b"\x00", "not JSON"),
    ],
)
def test_what_is_no_json_is_malformed(operations: Operations, body: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        checked(operations, "notes.create", body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"true"])
def test_a_body_that_is_no_object_is_told_so(operations: Operations, body: bytes) -> None:
    assert faults(operations, "notes.create", body)[""][0] == "type"


def test_what_stands_in_the_path_may_not_stand_in_the_body(operations: Operations) -> None:
    found = faults(
        operations, "notes.rename", b'{"title": "x", "note_id": "nte_2"}', path={"note_id": "nte_1"}
    )
    assert found == {"/note_id": ("unknown", "stands in the path already")}


def test_query_fields_are_known_and_given_once(operations: Operations) -> None:
    found = faults(operations, "notes.list", query=[("limits", "1"), ("sort", "a"), ("sort", "b")])
    assert "did you mean `limit`" in found["/limits"][1]
    assert found["/sort"][0] == "repeated"
    assert faults(operations, "notes.create", b'{"title":"x"}', query=[("a", "b")])["/a"][0] == "unknown"
