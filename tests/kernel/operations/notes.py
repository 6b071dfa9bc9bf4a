"""A tiny domain for tests: notes are records, jobs are effects outside the store."""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from thane.kernel.errors import NotFound, ThaneError
from thane.kernel.operations.declare import Effect, Example, Outside, Progress, StillRunning, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.ports.identity import Identified
from thane.kernel.records.entity import Field, Index, Record, entity, field, key
from thane.kernel.records.unit import Unit


@entity("notes", "nte", Index("tenant_id", "title", unique=True))
class Note(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = field()
    title: Field[str] = field()
    price: Field[Decimal | None] = field(precision=18, scale=2)
    created_at: Field[datetime] = field()


@entity("deeds", "ded")
class Deed(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = field()
    status: Field[str] = field()


@entity("deed_lines", "dln", history=False, stream="deed_id")
class DeedLine(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = field()
    deed_id: Field[str] = field()
    text: Field[str] = field()


class CreateNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: Annotated[str, Meta(min_length=1, max_length=40)]
    price: Decimal | None = None
    labels: list[str] = []


class NoteId(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    note_id: str


class RenameNote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    note_id: str
    title: Annotated[str, Meta(min_length=1)]


class ListNotes(ListRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    starts: str = ""


class MakeSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    password: str


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    token: str


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Told(msgspec.Struct, frozen=True, kw_only=True):
    told: str


class Notes:
    """The service."""

    def __init__(self) -> None:
        self.runs = 0


@operation(
    "notes.create",
    http="POST /notes",
    needs="notes.create",
    effect=Effect.RECORDS,
    example=Example({"title": "Milk"}),
    entity=Note,
    cli="notes create",
    tags=("notes",),
)
async def create(notes: Notes, unit: Unit, request: CreateNote) -> Note:
    """Write a note.

    Titles are unique.
    """
    notes.runs += 1
    return unit.create(
        Note(
            id=unit.new_id(Note),
            tenant_id=unit.context.tenant_id,
            title=request.title,
            price=request.price,
            created_at=unit.now,
        )
    )


@operation(
    "notes.get",
    http="GET /notes/{note_id}",
    needs="notes.read",
    effect=Effect.NONE,
    example=Example({"note_id": "$notes.create/id"}),
    entity=Note,
)
async def get(notes: Notes, unit: Unit, request: NoteId) -> Note:
    """Read a note."""
    return await unit.get(Note, request.note_id)


@operation(
    "notes.list",
    http="GET /notes",
    needs="notes.read",
    effect=Effect.NONE,
    example=Example({"limit": 5}, before=("notes.create",)),
    entity=Note,
    lists=True,
)
async def list_(notes: Notes, unit: Unit, request: ListNotes) -> Page[Note]:
    """List notes."""
    where = Note.title.startswith(request.starts) if request.starts else None
    return await list_page(unit, Note, request, where=where)


@operation(
    "notes.rename",
    http="PATCH /notes/{note_id}",
    needs="notes.write",
    effect=Effect.RECORDS,
    example=Example({"note_id": "$notes.create/id", "title": "Bread"}),
    entity=Note,
)
async def rename(notes: Notes, unit: Unit, request: RenameNote) -> Note:
    """Give a note another title."""
    return await unit.update(await unit.get(Note, request.note_id), title=request.title)


@operation(
    "notes.delete",
    http="DELETE /notes/{note_id}",
    needs="notes.write",
    effect=Effect.RECORDS,
    example=Example({"note_id": "$notes.create/id"}),
    entity=Note,
    status=204,
)
async def delete(notes: Notes, unit: Unit, request: NoteId) -> None:
    """Delete a note."""
    await unit.delete(await unit.get(Note, request.note_id))


@operation(
    "secrets.create",
    http="POST /secrets",
    needs="secrets.create",
    effect=Effect.RECORDS,
    example=Example({"name": "a", "password": "b"}),
    secret_fields=("token",),
    transient=("password",),
)
async def make_secret(notes: Notes, unit: Unit, request: MakeSecret) -> Secret:
    """Make a secret that is shown once."""
    return Secret(id=unit.new_id(Note), name=request.name, token=f"tok-{request.password}")


@operation(
    "notes.ping",
    http="POST /ping",
    needs="notes.ping",
    effect=Effect.RECORDS,
    status=200,
    example=Example(),
)
async def ping(notes: Notes, unit: Unit, request: Nothing) -> Told:
    """Change nothing, and leave an entry all the same."""
    return Told(told="pong")


async def who(notes: Notes, request: Nothing) -> Identified:
    from tests.kernel.operations.house import OWNER

    return Identified(principal=OWNER)


@operation(
    "setup.open",
    http="POST /setup",
    needs="",
    effect=Effect.RECORDS,
    status=200,
    example=Example(),
    anonymous=True,
    identified_by=who,
)
async def setup(notes: Notes, unit: Unit, request: Nothing) -> Told:
    """Be asked by nobody known."""
    return Told(told=unit.context.tenant_id)


# -- an effect outside ------------------------------------------------------------------


class DoDeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    what: str
    env: dict[str, str] = {}


class DeedIntent(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    what: str


class DeedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    text: str


class DeedView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    text: str
    version: int


class Line(msgspec.Struct, frozen=True, kw_only=True, tag="output"):
    text: str


class World:
    """What lies outside the store: survives the crash of a server."""

    def __init__(self) -> None:
        self.done: dict[str, DeedOutcome] = {}
        self.acted: list[str] = []
        self.envs: list[dict[str, str]] = []
        self.running: set[str] = set()
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.fail: BaseException | None = None
        self.settle_fails: BaseException | None = None
        self.asked = 0


@operation(
    "deeds.do",
    http="POST /deeds",
    needs="deeds.do",
    effect=Effect.OUTSIDE,
    example=Example({"what": "dig"}),
    entity=Deed,
    transient=("env",),
)
class Do(Outside[DoDeed, DeedIntent, DeedOutcome, DeedView]):
    """Do a deed."""

    service: World

    async def prepare(self, unit: Unit, request: DoDeed) -> DeedIntent:
        if request.what == "forbidden":
            raise NotFound("there is no such deed")
        made = unit.create(Deed(id=unit.new_id(Deed), tenant_id=unit.context.tenant_id, status="running"))
        return DeedIntent(id=made.id, what=request.what)

    async def act(self, intent: DeedIntent, request: DoDeed, progress: Progress) -> DeedOutcome:
        world = self.service
        world.acted.append(intent.id)
        world.envs.append(request.env)
        world.running.add(intent.id)
        world.begun.set()
        try:
            await progress(Line(text="begun"))
            await world.go.wait()
        except asyncio.CancelledError:
            world.done[intent.id] = DeedOutcome(status="cancelled", text="")
            raise
        finally:
            world.running.discard(intent.id)
        if world.fail is not None:
            raise world.fail
        await progress(Line(text="ended"))
        world.done[intent.id] = outcome = DeedOutcome(status="completed", text=intent.what.upper())
        return outcome

    async def settle(self, unit: Unit, intent: DeedIntent, outcome: DeedOutcome) -> DeedView:
        if self.service.settle_fails is not None:
            raise self.service.settle_fails
        deed = await unit.update(await unit.get(Deed, intent.id), status=outcome.status)
        return DeedView(id=deed.id, status=deed.status, text=outcome.text, version=deed.version)

    async def recover(self, intent: DeedIntent) -> DeedOutcome | StillRunning:
        self.service.asked += 1
        if intent.id in self.service.running:
            return StillRunning()
        return self.service.done.get(intent.id, DeedOutcome(status="failed", text="host_lost"))

    async def record(self, unit: Unit, intent: DeedIntent, events: tuple[Any, ...]) -> None:
        for event in events:
            unit.create(
                DeedLine(
                    id=unit.new_id(DeedLine),
                    tenant_id=unit.context.tenant_id,
                    deed_id=intent.id,
                    text=event.text,
                )
            )


class DeedId(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    deed_id: str


@operation(
    "deeds.get",
    http="GET /deeds/{deed_id}",
    needs="deeds.read",
    effect=Effect.NONE,
    example=Example({"deed_id": "$deeds.do/id"}),
    entity=Deed,
)
async def get_deed(notes: World, unit: Unit, request: DeedId) -> Deed:
    """Read a deed."""
    return await unit.get(Deed, request.deed_id)


class Broken(ThaneError):
    code = "test_broken"
    status = 503


NOTE_OPERATIONS = (create, get, list_, rename, delete, make_secret, ping, setup)
DEED_OPERATIONS = (Do, get_deed)
