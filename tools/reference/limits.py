"""The page of limits: every number is read where it is enforced."""

from __future__ import annotations

import msgspec

from thane.domains.sandboxes.operations.executions import PATH_MOST, STEP_MOST
from thane.domains.sandboxes.service.executions import CHUNKS_MOST
from thane.domains.sandboxes.service.limits import LEAST_CPU, LEAST_MEMORY_MB
from thane.interfaces.http.app import OWNERS_MOST
from thane.interfaces.http.request import MAX_HEADER, MAX_QUERY_FIELDS
from thane.interfaces.http.server import MAX_MESSAGE_BYTES
from thane.interfaces.http.sse import MOST_WAITING
from thane.kernel import paging
from thane.kernel.ledger.leaf import MAX_LEAF_BYTES
from thane.kernel.operations.streams import MOST_OPEN
from thane.kernel.ports.isolation import Limits
from thane.kernel.records import filter as filters
from thane.kernel.records import text
from thane.kernel.settings_schema import Settings

Row = tuple[str, str, str]


def limits_page() -> str:
    """The page's text."""
    lines = [
        "# Limits",
        "",
        "What is beyond a limit is refused with an [error](errors.md) that says how much is allowed;",
        "nothing of it is done. A limit with a setting is its default, and [settings](settings.md) says",
        "how to change it.",
    ]
    for title, rows in (
        ("One request", _request()),
        ("One program", _program()),
        ("One server", _server()),
        ("What is kept", _kept()),
    ):
        lines += ["", f"## {title}", "", "| what | limit | setting |", "|---|---|---|"]
        lines += [f"| {what} | {limit} | {f'`{key}`' if key else ''} |" for what, limit, key in rows]
    return "\n".join(lines)


def _request() -> list[Row]:
    http, retention = Settings().http, Settings().retention
    return [
        ("body", _bytes(http.max_body_bytes), "http.max_body_bytes"),
        ("file as a body", _bytes(http.max_file_bytes), "http.max_file_bytes"),
        ("body of a command on the same machine", _bytes(OWNERS_MOST), ""),
        ("head: request line and all headers", _bytes(http.max_header_bytes), "http.max_header_bytes"),
        ("time until its head is there", f"{http.header_timeout_secs} s", "http.header_timeout_secs"),
        ("time until its body is there", f"{http.body_timeout_secs} s", "http.body_timeout_secs"),
        ("time to take the answer on", f"{http.send_timeout_secs} s", "http.send_timeout_secs"),
        ("one header that Thane reads", f"{MAX_HEADER} characters", ""),
        ("fields of a query", str(MAX_QUERY_FIELDS), ""),
        (
            "filter",
            f"{filters.MAX_CHARS} characters, {filters.MAX_TERMS} terms, {filters.MAX_DEPTH} deep",
            "",
        ),
        ("sort", f"{filters.MAX_SORT_KEYS} fields", ""),
        ("search", f"{text.MAX_QUERY_CHARS} characters, {text.MAX_QUERY_WORDS} words", ""),
        ("page of a list", f"{paging.MAX_LIMIT} rows; {paging.DEFAULT_LIMIT} if not said", ""),
        (
            "repetition by Idempotency-Key",
            f"{retention.idempotency_hours} hours",
            "retention.idempotency_hours",
        ),
    ]


def _program() -> list[Row]:
    ours = Settings().isolation
    port = {f.name: f.default for f in msgspec.structs.fields(Limits)}
    memory = f"{ours.memory_mb} MiB if not said; {LEAST_MEMORY_MB} MiB to all that the host has"
    cores = f"{ours.cpu_cores} if not said; {LEAST_CPU} to all that the host has"
    return [
        ("memory", memory, "isolation.memory_mb"),
        ("most memory that can be asked for", _host(ours.max_memory_mb, "MiB"), "isolation.max_memory_mb"),
        ("CPU cores", cores, "isolation.cpu_cores"),
        (
            "most cores that can be asked for",
            _host(int(ours.max_cpu_cores), "cores"),
            "isolation.max_cpu_cores",
        ),
        ("disk", f"{ours.disk_mb} MiB if not said", "isolation.disk_mb"),
        ("most disk that can be asked for", f"{ours.max_disk_mb} MiB", "isolation.max_disk_mb"),
        ("wall time", f"{ours.timeout_secs} s if not said", "isolation.timeout_secs"),
        ("most time that can be asked for", f"{ours.max_timeout_secs} s", "isolation.max_timeout_secs"),
        ("processes and threads", str(port["processes"]), ""),
        ("output", f"{_bytes(port['output_bytes'])} for each of stdout and stderr, then a marker", ""),
        ("pieces of output that are kept", str(CHUNKS_MOST), ""),
        ("name of a file", f"{PATH_MOST} bytes, {STEP_MOST} for each step", ""),
        ("network", "none", ""),
    ]


def _server() -> list[Row]:
    ours = Settings()
    return [
        ("programs at one time", _host(ours.isolation.slots, "", "one for each core"), "isolation.slots"),
        ("programs that wait for their turn", str(ours.isolation.max_queue), "isolation.max_queue"),
        ("connections", str(ours.http.max_connections), "http.max_connections"),
        ("requests worked on, without executions", str(ours.http.max_requests), "http.max_requests"),
        ("requests that wait for their turn", str(ours.http.max_queue), "http.max_queue"),
        (
            "bodies, and answers not taken",
            _bytes(ours.http.max_buffered_bytes),
            "http.max_buffered_bytes",
        ),
        ("an idle connection", f"{ours.http.idle_timeout_secs} s", "http.idle_timeout_secs"),
        ("open watches and other streams", str(MOST_OPEN), ""),
        ("events that wait for a slow reader", str(MOST_WAITING), ""),
        ("message that a WebSocket may send", _bytes(MAX_MESSAGE_BYTES), ""),
        ("time for open requests at a stop", f"{ours.http.drain_timeout_secs} s", "http.drain_timeout_secs"),
        ("identities kept in memory", str(ours.cache.max_entries), "cache.max_entries"),
        ("leaf of the ledger", _bytes(MAX_LEAF_BYTES), ""),
    ]


def _kept() -> list[Row]:
    ours = Settings().retention
    return [
        ("output and files of a program", _days(ours.output_days), "retention.output_days"),
        ("samples of resource use", _days(ours.metrics_days), "retention.metrics_days"),
        ("reads and refusals", _days(ours.access_days), "retention.access_days"),
        ("superseded versions and sealed details", _days(ours.history_days), "retention.history_days"),
        ("entries of the ledger", "for ever", ""),
    ]


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"


def _days(count: int) -> str:
    return "for ever" if count == 0 else f"{count} day{'s'[: count > 1]}"


def _host(count: int, unit: str, instead: str = "all that the host has") -> str:
    return f"{count} {unit}".strip() if count else instead
