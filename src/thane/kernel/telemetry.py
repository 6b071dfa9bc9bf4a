"""What is counted and timed, in the process. The rest gets a `Telemetry` by injection.

Counting costs about a microsecond, so it is done everywhere: ask once for a meter
(`telemetry.query("select", "executions")`) and keep it. The numbers are exact, also with
threads. Names and text format are Prometheus'; `exposition.py` writes them, so that a
command that serves no metrics imports no client of it. Nothing here is billed or proven.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Generic, TypeVar

# Seconds. From a read in memory to the longest execution that anyone waits for.
SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
)

# Tables are made by users and paths by anyone: beyond this many combinations of labels in
# one family, further ones are counted together under OTHER instead of filling the memory.
MAX_CHILDREN = 2000
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Counter:
    """A number that only grows."""

    __slots__ = ("_lock", "value")

    def __init__(self) -> None:
        self.value = 0
        self._lock = Lock()

    def add(self, amount: int = 1) -> None:
        with self._lock:
            self.value += amount


class Gauge:
    """A number that is so now."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        self.value = value


class Histogram:
    """How many values lay where, and their sum. Bounds are upper ones, as Prometheus' `le`."""

    __slots__ = ("_lock", "bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        at = bisect_left(self.bounds, value)
        with self._lock:
            self.counts[at] += 1
            self.sum += value

    def read(self) -> tuple[list[int], float]:
        """Counts (not cumulative) and sum, of one moment."""
        with self._lock:
            return list(self.counts), self.sum


M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """One metric: a child for each combination of its labels' values."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], make: Callable[[], M]) -> None:
        self.name = name
        self.help = help_text
        self.labels = labels
        self._make: Callable[[], M] = make
        self._children: dict[tuple[str, ...], M] = {}
        self._lock = Lock()
        if not labels:
            self.child()  # so that it is shown before its first use

    def child(self, *values: str) -> M:
        """The one with these labels, in the order of `labels`; keep it where it is used often."""
        found = self._children.get(values)
        return self._new(values) if found is None else found

    def _new(self, values: tuple[str, ...]) -> M:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {values}")
        with self._lock:
            if len(self._children) >= MAX_CHILDREN:
                values = (OTHER,) * len(self.labels)
            return self._children.setdefault(values, self._make())

    def children(self) -> list[tuple[tuple[str, ...], M]]:
        with self._lock:
            return list(self._children.items())


class QueryMeter:
    """Statements of one operation on one table."""

    __slots__ = ("_error", "_ok", "_seconds")

    def __init__(self, ok: Counter, error: Counter, seconds: Histogram) -> None:
        self._ok, self._error, self._seconds = ok, error, seconds

    def observe(self, seconds: float, *, ok: bool = True) -> None:
        (self._ok if ok else self._error).add()
        self._seconds.observe(seconds)


class CacheMeter:
    """One cache."""

    __slots__ = ("hit", "miss")

    def __init__(self, hits: Counter, misses: Counter) -> None:
        self.hit: Callable[[], None] = hits.add
        self.miss: Callable[[], None] = misses.add


class OperationMeter:
    """One operation of the registry."""

    __slots__ = ("_name", "_outcomes", "_seconds")

    def __init__(self, name: str, outcomes: Family[Counter], seconds: Histogram) -> None:
        self._name, self._outcomes, self._seconds = name, outcomes, seconds

    def observe(self, outcome: str, seconds: float) -> None:
        """`outcome` is `ok` or the code of an error."""
        self._outcomes.child(self._name, outcome).add()
        self._seconds.observe(seconds)


class Telemetry:
    """Every metric of one process."""

    def __init__(self) -> None:
        self._families: dict[str, Family[Counter] | Family[Gauge] | Family[Histogram]] = {}
        self._queries = self.counter(
            "db_query_total", "Total database queries", ("operation", "table", "status")
        )
        self._query_seconds = self.histogram(
            "db_query_duration_seconds", "Query duration", ("operation", "table")
        )
        self._hits = self.counter("cache_hit_total", "Cache hits", ("cache",))
        self._misses = self.counter("cache_miss_total", "Cache misses", ("cache",))
        self._operations = self.counter(
            "thane_operations_total",
            "Operations by outcome: ok, or the code of an error",
            ("operation", "outcome"),
        )
        self._operation_seconds = self.histogram(
            "thane_operation_duration_seconds", "Duration of operations", ("operation",)
        )
        self._executions = self.counter(
            "thane_executions_total", "Code that was run, by outcome and isolation tier", ("outcome", "tier")
        )
        self._entries = self.counter("thane_ledger_entries_total", "Entries appended to the ledger").child()
        self._requests = self.counter(
            "thane_http_requests_total", "HTTP requests by method and status", ("method", "status")
        )

    # -- what the kernel counts --------------------------------------------------------

    def query(self, operation: str, table: str) -> QueryMeter:
        return QueryMeter(
            self._queries.child(operation, table, "ok"),
            self._queries.child(operation, table, "error"),
            self._query_seconds.child(operation, table),
        )

    def cache(self, name: str) -> CacheMeter:
        return CacheMeter(self._hits.child(name), self._misses.child(name))

    def operation(self, name: str) -> OperationMeter:
        return OperationMeter(name, self._operations, self._operation_seconds.child(name))

    def execution(self, outcome: str, tier: str) -> None:
        self._executions.child(outcome, tier).add()

    def ledger_entries(self, count: int = 1) -> None:
        self._entries.add(count)

    def http_request(self, method: str, status: int) -> None:
        """The method is the caller's text, so only known ones become a label."""
        self._requests.child(method if method in METHODS else OTHER, str(status)).add()

    # -- what modules declare ----------------------------------------------------------

    def counter(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Family[Counter]:
        """A counter of a module. Its name ends with `_total`."""
        if not name.endswith("_total"):
            raise ValueError(f"{name}: the name of a counter ends with _total")
        return self._add(Family(name, help_text, labels, Counter))

    def gauge(self, name: str, help_text: str, labels: tuple[str, ...] = ()) -> Family[Gauge]:
        return self._add(Family(name, help_text, labels, Gauge))

    def histogram(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), bounds: Sequence[float] = SECONDS
    ) -> Family[Histogram]:
        """A histogram of a module; `bounds` in the unit that ends its name."""
        return self._add(Family(name, help_text, labels, lambda: Histogram(bounds)))

    def _add(self, family: Family[M]) -> Family[M]:
        if family.name in self._families:
            raise ValueError(f"two metrics are called {family.name}")
        self._families[family.name] = family
        return family

    def families(self) -> Iterator[Family[Counter] | Family[Gauge] | Family[Histogram]]:
        """All of them, in the order in which they were declared."""
        yield from self._families.values()
