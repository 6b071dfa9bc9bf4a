"""The store port: what every engine must be able to do, and the values it is spoken to in.

An engine is thin. It compiles predicates, moves rows, and applies batches of write sets
under its locks; what an entry holds, how a row is digested and when a unit is repeated
is decided above it. The conformance suite is written against this protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from thane.kernel.ledger.leaf import Head
from thane.kernel.ledger.tree import FullTileReader, LeafHashReader
from thane.kernel.records.predicate import Order, Predicate
from thane.kernel.records.schema import Schema
from thane.kernel.records.steps import Step
from thane.kernel.records.text import TextQuery

T = TypeVar("T")


class Stored(NamedTuple):
    """A row as an engine returns it: sealed fields of `record` hold their stored bytes.

    `salt` and `entry` are None without history.
    """

    record: Any
    salt: bytes | None
    entry: int | None


class Operation(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Change(NamedTuple):
    """One row's change, ready to be written.

    `record` has sealed fields as stored bytes; `blind` their blind indexes; `text` the
    analysed words of the searchable fields (empty where an update leaves them all alone);
    `changed` the fields whose values differ from the row as it was (None: not known, or all).
    """

    operation: Operation
    schema: Schema
    id: str
    record: Any | None
    expected: int  # the version the row must have now; 0: it must not exist
    salt: bytes | None
    blind: Mapping[str, bytes]
    text: Mapping[str, str]
    changed: frozenset[str] | None = None


class Guard(NamedTuple):
    """A row that was read and must still have this version; 0: must still be absent."""

    schema: Schema
    id: str
    version: int


class Increment(NamedTuple):
    """Arithmetic on a counter row, made with `record`'s values where it is not there yet.

    `deltas` adds to numbers, and to numbers inside JSON objects (`{"field": {"key": n}}`).
    """

    schema: Schema
    id: str
    record: Any
    deltas: Mapping[str, Any]


class EntryDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry without its place: the committer gives it `seq` and `time`.

    `details` and `bodies` are ciphertexts. `outcome` is None for an intent only.
    """

    kind: str
    operation: str
    actor: tuple[str, ...]
    project: str | None
    run: str | None
    request: str
    resource: str | None
    outcome: str | None
    intent: int | None
    details: bytes | None
    heads: tuple[Head, ...]
    bodies: tuple[bytes, ...]


class WriteSet(msgspec.Struct, frozen=True, kw_only=True):
    """All that one unit writes, together or not at all. Without `draft` it is housekeeping.

    `new_tenant`: the unit makes the tenant, whose log begins with this entry. `durable`:
    answered only once it is on the disk. `place`: called under the lock with the index the
    entry will have, for rows that must know it (open intents); returns further changes.
    """

    tenant_id: str
    draft: EntryDraft | None = None
    guards: tuple[Guard, ...] = ()
    changes: tuple[Change, ...] = ()
    increments: tuple[Increment, ...] = ()
    durable: bool = False
    place: Callable[[int, int], tuple[Change, ...]] | None = None


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a unit's entry stands. `index` is None for housekeeping."""

    index: int | None
    leaf_hash: bytes | None
    time_us: int


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is stored. Blanked bodies are empty; blanked details are None."""

    index: int
    leaf: bytes
    leaf_hash: bytes
    heads: tuple[Head, ...]
    bodies: tuple[bytes, ...]
    details: bytes | None


# (index, leaf, leaf hash, the heads' JSON array or None, bodies, details): an entry as it lies there.
BareEntry = tuple[int, str, bytes, str | None, Sequence[bytes], bytes | None]
# A row's values as it lies there: times in µs, decimals as plain text at their scale, JSON as text,
# sealed fields as stored; in the order of the fields asked for, then version, salt and entry.
BareRow = tuple[Any, ...]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """One query. `tenant_id` None is only for unscoped schemas, `identify` and `across`."""

    schema: Schema
    tenant_id: str | None
    where: Predicate | None = None
    order: tuple[Order, ...] = ()
    limit: int = 500


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregate as a question of `Engine.ask`; see `Engine.aggregate`."""

    selection: Selection
    measures: Mapping[str, Measure]
    by: tuple[str, ...] = ()


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a list, read along an index (see `serving`).

    `within`: ranges of it, one after the other. Rows that `where` refuses are passed over, and
    at most `most` rows of a range are looked at; None: the rows are few, and are sorted.
    """

    schema: Schema
    tenant_id: str | None
    index: str | None
    within: tuple[Predicate | None, ...]
    where: Predicate | None
    order: tuple[Order, ...]
    limit: int
    most: int | None


class Walked(NamedTuple, Generic[T]):
    """`stopped` are the sort keys of the last row that was looked at, if there may be more behind it
    though there are fewer than `limit` rows here."""

    rows: list[T]
    stopped: tuple[Any, ...] | None


class Measure(msgspec.Struct, frozen=True):
    """One figure of an aggregate: count, sum, avg, min or max of a field (count may take none).

    Sums are exact. An average is a Decimal, rounded half-even to the field's scale (18
    digits for whole numbers). Over no value all but count are None.
    """

    function: str
    field: str | None = None


class Hop(NamedTuple):
    """One step through the graph: `schema` and `field` hold the reference.

    Forward goes from the referred row to the referring ones.
    """

    schema: Schema
    field: str
    forward: bool


class LogSize(NamedTuple):
    """A tenant's tree as it stands."""

    tenant_id: str
    size: int
    root: bytes


# Stands for the root log where a tenant's id is asked for.
ROOT_LOG = ""


class Signed(NamedTuple):
    """What a signing round makes for one tree: the checkpoint to keep. `tenant_id` may be ROOT_LOG."""

    tenant_id: str
    size: int
    note: str


SignRound = Callable[[Sequence[LogSize], "RootTree"], Sequence[Signed]]


class RootTree(Protocol):
    """The root log inside a signing round."""

    def append(self, leaf: bytes) -> None: ...

    @property
    def size(self) -> int: ...

    def root(self) -> bytes: ...


class Engine(Protocol):
    """One store."""

    name: str

    async def open(self) -> None:
        """Connect. ConnectionFailed, Corrupt or StorageFull with the next step; nothing is changed."""

    async def close(self) -> None:
        """Finish what was submitted, then let go."""

    async def check(self) -> None:
        """Corrupt, or what the store says, if it is not there as it was opened; for `/health`."""

    async def apply_steps(self, steps: Sequence[Step], digest: str) -> None:
        """Run schema steps in one transaction and remember the schema's digest.

        MigrationFailed leaves all as it was.
        """

    async def schema_digest(self) -> str | None:
        """The digest given to the last `apply_steps`; None for an empty store."""

    async def fetch(self, schema: Schema, tenant_id: str | None, id: str) -> Stored | None:
        """The row with this id, if it is the tenant's."""

    async def fetch_blind(self, schema: Schema, field: str, index: bytes) -> Stored | None:
        """The row whose sealed field has this blind index, in any tenant (unique over the installation)."""

    async def select(self, selection: Selection) -> list[Stored]:
        """Rows that match, in order; NULL is below everything. Without an order: in none."""

    async def walk(self, walk: Walk) -> Walked[Stored]:
        """Rows in order, up to the limit. With an order each page costs the same."""

    async def has_more(self, walk: Walk, count: int) -> bool:
        """Whether more than `count` rows lie in the first range, whatever `where` says of them."""

    async def count(self, selection: Selection) -> int:
        """How many rows match."""

    async def aggregate(
        self, selection: Selection, by: tuple[str, ...], measures: Mapping[str, Measure]
    ) -> list[dict[str, Any]]:
        """One dict per group, with the group's fields and each measure by its name, in their order."""

    async def ask(self, questions: Sequence[Selection | Figures]) -> list[list[Any]]:
        """The answers to several questions in one round trip, all of one moment: what `select` or
        `aggregate` would answer to each."""

    async def search(self, selection: Selection, query: TextQuery) -> list[Stored]:
        """Rows whose searchable fields match, the one made last first."""

    async def traverse(
        self, start: Schema, tenant_id: str, id: str, hops: Sequence[Hop], limit: int
    ) -> list[Stored]:
        """The rows at the end of the hops, each once, in order of id."""

    async def commit(self, write_set: WriteSet) -> Committed:
        """Apply now. Conflict if a guard fails, AlreadyExists(index), Invalid for a reference to nothing."""

    def ride(self, write_set: WriteSet) -> None:
        """Housekeeping that may wait for the next commit, half a second at most, or be lost in a crash."""

    async def entries(self, tenant_id: str, start: int, limit: int) -> list[EntryRow]:
        """Entries from index `start` on, in order (of the root log: only leaves)."""

    async def entries_at(self, tenant_id: str, indexes: Sequence[int]) -> list[EntryRow]:
        """The entries with these indexes that there are, in order, in one read."""

    async def bare_entries(self, tenant_id: str, start: int, limit: int) -> list[BareEntry]:
        """As `entries`, without making records of them: for who checks a great many."""

    async def bare_rows(
        self,
        schema: Schema,
        tenant_id: str | None,
        fields: Sequence[str],
        after: str,
        until: str | None,
        limit: int | None = None,
    ) -> list[BareRow]:
        """These fields of the rows whose id is past `after`, and at most `until`, in order of id."""

    async def log_size(self, tenant_id: str) -> int:
        """How many entries the tenant's tree has."""

    async def logs(self) -> list[str]:
        """Tenants that have a log, in the order in which the logs began."""

    async def sign(self, round: SignRound) -> list[Signed]:
        """Run a signing round over the trees that grew since their last checkpoint, as one durable batch."""

    async def checkpoints(self, tenant_id: str, limit: int = 1) -> list[Signed]:
        """The newest signed checkpoints of a tree, newest first."""

    async def with_tree(self, tenant_id: str, work: Callable[[int, FullTileReader, LeafHashReader], T]) -> T:
        """Run `work(size, full tiles, leaf hashes)` on a consistent view of one tree: proofs are made so."""

    async def last_head(self, tenant_id: str, table: str, id: str) -> int | None:
        """The index of the newest entry with a head of this row (for deleted ones); a scan, newest first."""

    async def blank(self, tenant_id: str, index: int, bodies: Sequence[int], details: bool) -> None:
        """Retention: empty these bodies, and the details, of one entry; NotFound."""

    def wake(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back (in the loop's thread) after each commit that appended entries; returns what ends it."""
