"""Declare an operation: what can be asked of a domain, said once, for every host.

One way, in a domain's `operations.py`. What reads or changes records is a function of the
domain's service, the unit and the request; its types and its docstring are the contract:

    @operation("notes.create", http="POST /notes", needs="notes.create", effect=Effect.RECORDS,
               example=Example({"title": "Milk"}), entity=Note)
    async def create(notes: Notes, unit: Unit, request: CreateNote) -> Note:
        \"""Write a note.

        Longer text, for people and for models.
        \"""

What acts outside the store is a class over `Outside` (see `outside.py` for the steps),
made with the service at wiring: `Execute(service)`. `Operations.bind(service, create, …)`
binds both. The request is one msgspec Struct with `forbid_unknown_fields`: path, query and
body are its fields. This file must not run anything; it only describes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Generic, Protocol, TypeVar, get_args, get_origin

import msgspec

from thane.kernel.ports.identity import Identified
from thane.kernel.records.unit import Unit

T = TypeVar("T")
Req = TypeVar("Req")
Intent = TypeVar("Intent")
Outcome = TypeVar("Outcome")
Resp = TypeVar("Resp")


class Effect(StrEnum):
    """How the recorder binds: a read, a change of records, or an effect outside the store."""

    NONE = "none"
    RECORDS = "records"
    OUTSIDE = "outside"


class Example(msgspec.Struct, frozen=True):
    """One working request.

    A text `$entity.verb/field` stands for a field of that operation's answer to its own
    example, which is run before; `before` names operations to run first without using
    their answer.
    """

    request: Mapping[str, Any] = {}
    before: tuple[str, ...] = ()


class StillRunning(msgspec.Struct, frozen=True):
    """What `recover` says while the effect goes on: ask again later."""


class Progress(Protocol):
    """What `act` reports to: tagged Structs (`tag="output"`). It waits while no more can be taken."""

    async def __call__(self, event: msgspec.Struct, /) -> None: ...


class Outside(Generic[Req, Intent, Outcome, Resp]):
    """An effect outside the store, in four functions; all must be written.

    `Intent` and `Outcome` are msgspec Structs: they are stored (sealed, spooled) and read
    back by another process. Give `Intent` what `recover` needs and nothing transient.
    """

    def __init__(self, service: Any) -> None:
        self.service = service

    async def prepare(self, unit: Unit, request: Req) -> Intent:
        """Check, reserve and write what must stand before the effect. Runs again on a conflict."""
        raise NotImplementedError

    async def act(self, intent: Intent, request: Req, progress: Progress) -> Outcome:
        """Do it. `request` is as it was sent, transient fields too. An exception means that what
        happened is unknown: `recover` is asked. Cancellation means: end it; either return an
        outcome that says so, or let CancelledError go and let `recover` tell."""
        raise NotImplementedError

    async def settle(self, unit: Unit, intent: Intent, outcome: Outcome) -> Resp:
        """Write the outcome and make the answer. Runs again on a conflict."""
        raise NotImplementedError

    async def recover(self, intent: Intent) -> Outcome | StillRunning:
        """What became of it, asked without the one who acted. Must not act."""
        raise NotImplementedError

    # -- may be written ---------------------------------------------------------------------

    async def record(self, unit: Unit, intent: Intent, events: tuple[Any, ...]) -> None:
        """Keep progress, in a housekeeping unit: at most 64 KB or 50 ms of it at a time."""

    def release(self, intent: Intent) -> None:
        """Give back what `prepare` took beside its unit, such as a place in a queue.

        Called when the unit was not committed, and when the act has ended; perhaps twice.
        """

    def word(self, outcome: Outcome) -> str:
        """The outcome in one word, for the entry's leaf."""
        return str(getattr(outcome, "status", "") or "done")

    def key(self, intent: Intent) -> str | None:
        """The id of the resource that the effect is about, for the entry and for the answer's Location."""
        return getattr(intent, "id", None)


FOUR = ("prepare", "act", "settle", "recover")
Handler = Callable[[Any, Unit, Any], Awaitable[Any]]
IdentifiedBy = Callable[[Any, Any], Awaitable[Identified]]
NeedsOf = Callable[[Any, Any], str]


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """All that `@operation` was told. See `operation` for the fields."""

    name: str
    http: str | None
    needs: str
    effect: Effect
    example: Example | None
    status: int
    tags: tuple[str, ...]
    cli: str | None
    entity: type[Any] | None
    lists: bool
    anonymous: bool
    identified_by: IdentifiedBy | None
    secret_fields: tuple[str, ...]
    transient: tuple[str, ...]
    needs_of: NeedsOf | None
    streams: tuple[type[msgspec.Struct], ...]
    takes: str
    gives: str
    target: Any  # the function, or the class over Outside


def operation(  # noqa: PLR0913 - one argument per thing an operation says of itself
    name: str,
    *,
    http: str | None,
    needs: str,
    effect: Effect,
    example: Example | None = None,
    status: int | None = None,
    tags: tuple[str, ...] = (),
    cli: str | None = None,
    entity: type[Any] | None = None,
    lists: bool = False,
    anonymous: bool = False,
    identified_by: IdentifiedBy | None = None,
    secret_fields: tuple[str, ...] = (),
    transient: tuple[str, ...] = (),
    needs_of: NeedsOf | None = None,
    streams: tuple[type[msgspec.Struct], ...] = (),
    takes: str = "",
    gives: str = "",
) -> Callable[[T], T]:
    """Mark a function or an `Outside` class as an operation; it stays what it was.

    `http`: `"POST /notes/{note_id}"` below /api/v1; None for what only Thane itself calls.
    `needs`: the permission; empty only with `anonymous`. `status`: 201 for POST, else 200.
    `cli`: the command (`"notes create"`), if there is one. `entity`: whose rows it is about:
    what a list lists, and what If-Match speaks of (its id is then the last path parameter).
    `lists`: the request is a `ListRequest`. `anonymous`: asked without a bearer token;
    `identified_by(service, request)` then tells whose tenant it turns out to concern.
    `secret_fields`: of the answer, shown once: never stored, left out of replays.
    `transient`: fields of the request that are never stored. `needs_of(service, request)`: the
    permission, where it follows from the request; `needs` then says so to people.
    `streams`: the answer is a stream of these events for as long as the client listens; the
    handler returns a `Stream` (see `streams.py`), which the host shows as it can.
    `takes`: the field of the request that is the whole body, as bytes; the others stand in path and
    query. `gives`: the field of the answer that is the whole body of the answer, as bytes.
    """

    def mark(target: T) -> T:
        default = 201 if (http or "").startswith("POST ") else 200
        target.__operation__ = Declaration(  # type: ignore[attr-defined]
            name=name,
            http=http,
            needs=needs,
            effect=effect,
            example=example,
            status=status or default,
            tags=tags,
            cli=cli,
            entity=entity,
            lists=lists,
            anonymous=anonymous,
            identified_by=identified_by,
            secret_fields=secret_fields,
            transient=transient,
            needs_of=needs_of,
            streams=streams,
            takes=takes,
            gives=gives,
            target=target,
        )
        return target

    return mark


def declaration_of(target: Any) -> Declaration:
    """What `@operation` said of a function or class; TypeError if it said nothing."""
    found = vars(target).get("__operation__")
    if not isinstance(found, Declaration):
        raise TypeError(f"{target!r} is no operation: it lacks @operation")
    return found


def description_of(kind: Any) -> str:
    """What a field's type says of it to people; empty if nothing."""
    if get_origin(kind) is Annotated:
        own = [m.description for m in kind.__metadata__ if isinstance(m, msgspec.Meta) and m.description]
        return str(own[-1]) if own else description_of(get_args(kind)[0])
    found = (description_of(part) for part in get_args(kind) if not isinstance(part, str))
    return next((words for words in found if words), "")
