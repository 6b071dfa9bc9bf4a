"""The registry refuses what would fail later, and takes the rest apart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.kernel.operations import notes
from tests.kernel.operations.notes import Nothing, Told
from thane.kernel.operations.declare import Effect, Example, Outside, declaration_of, operation
from thane.kernel.operations.registry import Operations, RefusedDeclaration, example_request
from thane.kernel.records.entity import Field, Record, entity, field, key
from thane.kernel.records.unit import Unit


class Loose(msgspec.Struct):
    name: str = ""


@entity("hidden_things", "hid", scoped=False)
class HiddenThing(Record):
    id: Field[str] = key()
    hash: Field[bytes] = field(secret=True)


def declare(**changed: Any) -> Any:
    """A good operation with one thing changed."""
    target = changed.pop("target", None)

    async def ping(service: object, unit: Unit, request: Nothing) -> Told:
        """Say pong."""
        return Told(told="pong")

    said: dict[str, Any] = {
        "name": "things.ping",
        "http": "POST /things",
        "needs": "things.ping",
        "effect": Effect.RECORDS,
        "example": Example(),
    }
    said |= changed
    name = said.pop("name")
    return operation(name, **said)(target or ping)


async def bare(service: object, unit: Unit, request: Nothing) -> Told:
    return Told(told="")


async def loose(service: object, unit: Unit, request: Loose) -> Told:
    """Take anything."""
    return Told(told="")


async def untyped(service: object, unit: Unit, request) -> Told:  # type: ignore[no-untyped-def]
    """Take I know not what."""
    return Told(told="")


async def silent(service: object, unit: Unit, request: Nothing):  # type: ignore[no-untyped-def]
    """Do not say what is returned."""


async def two(service: object, unit: Unit) -> Told:
    """Forget the request."""
    return Told(told="")


def blocking(service: object, unit: Unit, request: Nothing) -> Told:
    """Block."""
    return Told(told="")


async def leaking(service: object, unit: Unit, request: Nothing) -> HiddenThing:
    """Show a hash."""
    raise NotImplementedError


class Half(Outside[Nothing, Told, Told, Told]):
    """Lack settle and recover."""

    async def prepare(self, unit: Unit, request: Nothing) -> Told:
        return Told(told="")

    async def act(self, intent: Told, request: Nothing, progress: Any) -> Told:
        return Told(told="")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"name": "Things.Ping"}, "<entity>.<verb>"),
        ({"name": "ping"}, "<entity>.<verb>"),
        ({"example": None}, "no example"),
        ({"needs": ""}, "no permission"),
        ({"target": bare}, "no docstring"),
        ({"target": loose}, "forbid unknown fields"),
        ({"target": untyped}, "request must be a msgspec Struct"),
        ({"target": silent}, "must say what it returns"),
        ({"target": two}, r"takes \(service, unit, request\)"),
        ({"target": blocking}, "async function"),
        ({"target": leaking}, "answer with a view"),
        ({"http": "GET things"}, "not `METHOD /path`"),
        ({"http": "GET /things"}, "must not be a GET"),
        ({"http": "POST /things/{thing_id}"}, "no field of Nothing"),
        ({"transient": ("env",)}, "transient env"),
        ({"secret_fields": ("token",)}, "secret token"),
        ({"lists": True}, "names no entity"),
        ({"identified_by": bare}, "for anonymous operations"),
        ({"effect": Effect.OUTSIDE}, "class over Outside"),
        ({"effect": Effect.OUTSIDE, "target": Half}, "lacks settle, recover"),
        ({"effect": Effect.OUTSIDE, "target": Half, "http": "PUT /things"}, "must be a POST"),
    ],
)
def test_a_declaration_that_lacks_something_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedDeclaration, match=why):
        Operations().bind(object(), declare(**changed))


def test_names_and_paths_are_unique_whatever_a_parameter_is_called() -> None:
    operations = Operations()
    operations.bind(object(), declare())
    with pytest.raises(RefusedDeclaration, match="declared twice"):
        operations.bind(object(), declare(http="POST /others"))
    with pytest.raises(RefusedDeclaration, match=r"belongs to things\.ping"):
        operations.bind(object(), declare(name="things.pong"))


def test_what_is_no_operation_is_refused() -> None:
    with pytest.raises(TypeError, match="lacks @operation"):
        Operations().bind(object(), test_what_is_no_operation_is_refused)


def test_an_example_that_needs_nothing_known_or_itself_is_refused() -> None:
    operations = Operations()
    operations.bind(object(), declare(example=Example(before=("things.gone",))))
    with pytest.raises(RefusedDeclaration, match="no operation"):
        operations.check()
    circle = Operations()
    circle.bind(object(), declare(example=Example(before=("things.pong",))))
    circle.bind(object(), declare(name="things.pong", http=None, example=Example({"x": ["$things.ping/id"]})))
    with pytest.raises(RefusedDeclaration, match="needs it in turn"):
        circle.check()


def test_operations_are_taken_apart() -> None:
    operations = Operations()
    operations.bind(notes.Notes(), *notes.NOTE_OPERATIONS)
    operations.bind(notes.World(), *notes.DEED_OPERATIONS)
    operations.check()
    create = operations.get("notes.create")
    assert (create.method, create.path, create.status) == ("POST", "/notes", 201)
    assert create.summary == "Write a note."
    assert create.description == "Titles are unique."
    assert create.has_body
    rename = operations.get("notes.rename")
    assert rename.path_params == ("note_id",)
    assert rename.body_params == ("title",)
    assert rename.body_type.__struct_fields__ == ("title",)
    assert operations.before("notes.rename") == ("notes.create",)
    assert operations.location(operations.get("deeds.do"), "ded_1") == "/deeds/ded_1"
    assert operations.location(operations.get("secrets.create"), "x") is None
    assert operations.find("nobody.knows") is None
    assert len(operations) == len(notes.NOTE_OPERATIONS) + len(notes.DEED_OPERATIONS)
    assert declaration_of(notes.create).cli == "notes create"


def test_an_example_takes_values_from_the_answers_before_it() -> None:
    answers = {"notes.create": {"id": "nte_1", "tags": [{"name": "x"}]}}
    request = {"a": "$notes.create", "b": ["$notes.create/tags/0/name"], "c": {"d": "plain"}, "e": 1}
    assert example_request(request, answers) == {"a": "nte_1", "b": ["x"], "c": {"d": "plain"}, "e": 1}
