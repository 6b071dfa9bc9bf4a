"""The error tree: what Thane raises, and what a caller reads.

Every error has a stable `code`, an HTTP `status`, whether the same request may be
sent again (`retryable`), and a `hint`: the next step. Hosts turn an error into RFC
9457 problem JSON, a CLI line or an MCP error; nothing else formats one. Domains
subclass these in their own `errors.py`; a code is unique in the whole tree.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class Fault(NamedTuple):
    """One thing that is wrong with the input. `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    code: str
    detail: str


class ThaneError(Exception):
    """Root of the tree. `message` says what happened and where; `hint` what to do next."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "Look for the request id in the server's log."

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        faults: tuple[Fault, ...] = (),
        retry_after: float | None = None,
        extra: dict[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.faults = faults
        self.retry_after = retry_after
        self.extra = extra or {}


# -- what the caller did ------------------------------------------------------------


class Invalid(ThaneError):
    """The input is wrong. `faults` say where."""

    code = "invalid"
    status = 422
    title = "Invalid input"
    default_hint = "Correct the fields named in `errors` and send the request again."


class Malformed(ThaneError):
    """The bytes could not be read at all (not JSON, not UTF-8)."""

    code = "malformed"
    status = 400
    title = "Malformed request"
    default_hint = "Send a body of valid UTF-8 JSON."


class TooLarge(ThaneError):
    code = "too_large"
    status = 413
    title = "Body too large"
    default_hint = "Send less, or raise `http.max_body_bytes` in the settings."


class HeadTooLarge(ThaneError):
    """The request's line and headers, before anything of them was looked at."""

    code = "head_too_large"
    status = 431
    title = "Head too large"
    default_hint = "Send fewer or shorter headers, or raise `http.max_header_bytes` in the settings."


class RequestTimeout(ThaneError):
    """A request that does not arrive: nothing of it was done."""

    code = "request_timeout"
    status = 408
    title = "Request too slow"
    retryable = True
    default_hint = "Send it again, all at once; `http.body_timeout_secs` is what it may take."


class Unauthorized(ThaneError):
    """No or no valid credentials."""

    code = "unauthorized"
    status = 401
    title = "Not signed in"
    default_hint = "Send `Authorization: Bearer KEY`; `thane keys create NAME` makes one."


class Denied(ThaneError):
    """The principal is known and may not do this."""

    code = "denied"
    status = 403
    title = "Denied"
    default_hint = "Ask an owner of the project for the permission named here."


class NotFound(ThaneError):
    """Not there, or not the caller's: the two are not told apart."""

    code = "not_found"
    status = 404
    title = "Not found"
    default_hint = "Check the id; list the resource to see what there is."


class MethodNotAllowed(ThaneError):
    code = "method_not_allowed"
    status = 405
    title = "Method not allowed"
    default_hint = "The header `Allow` lists the methods of this path."


class NotAcceptable(ThaneError):
    code = "unsupported_media_type"
    status = 415
    title = "Unsupported media type"
    default_hint = "Send `Content-Type: application/json`."


class AlreadyExists(ThaneError):
    """A unique index refused the row. `index` names it."""

    code = "already_exists"
    status = 409
    title = "Already exists"
    default_hint = "Use another value, or read the row that has it."

    def __init__(self, index: str, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(
            message or f"a row with this value exists already ({index})", hint=hint, extra={"index": index}
        )
        self.index = index


class Conflict(ThaneError):
    """The row moved between read and write, more often than Thane repeats it for you."""

    code = "conflict"
    status = 409
    title = "Conflict"
    retryable = True
    default_hint = "Read the resource again and repeat the change."


class IllegalState(ThaneError):
    """The resource's state does not allow this move."""

    code = "illegal_state"
    status = 409
    title = "Not in this state"
    default_hint = "Read the resource; its `status` says what is possible."


class PreconditionFailed(ThaneError):
    """If-Match does not hold."""

    code = "precondition_failed"
    status = 412
    title = "Changed meanwhile"
    default_hint = "Read the resource again: its ETag has changed."


class IdempotencyReused(ThaneError):
    code = "idempotency_reused"
    status = 409
    title = "Idempotency key used with another request"
    default_hint = "Use a new Idempotency-Key for a different request."


class InProgress(ThaneError):
    """The first request with this Idempotency-Key is still at work."""

    code = "in_progress"
    status = 409
    title = "Still in progress"
    retryable = True
    default_hint = "Wait for the time in Retry-After, then ask again."


class Gone(ThaneError):
    """It was here; erasure or retention took it."""

    code = "gone"
    status = 410
    title = "Gone"
    default_hint = "It cannot be had any more."


class HistoryExpired(Gone):
    code = "history_expired"
    title = "Before the retention horizon"
    default_hint = "Ask for a position after the horizon named here."


class RateLimited(ThaneError):
    code = "rate_limited"
    status = 429
    title = "Too many requests"
    retryable = True
    default_hint = "Wait for the time in Retry-After."


# -- what happened to us ------------------------------------------------------------


class Unavailable(ThaneError):
    """A part that Thane needs is away or overloaded."""

    code = "unavailable"
    status = 503
    title = "Not available now"
    retryable = True
    default_hint = "Wait a little and repeat the request; `thane doctor` shows what is down."


class OutcomeUnrecorded(ThaneError):
    """Something was done outside and neither the store nor the spool could take its outcome."""

    code = "outcome_unrecorded"
    status = 507
    title = "Done, but not recorded"
    default_hint = "Free space in the data folder; the reconciler settles the intent named here."


class DatabaseError(ThaneError):
    """Root of what a store can report (the seeds' tree)."""

    code = "database_error"
    title = "Database error"


class ConnectionFailed(DatabaseError):
    code = "connection_failed"
    status = 503
    title = "The store cannot be reached"
    retryable = True
    default_hint = "Check that the store named in `database.url` is up and reachable."


class MigrationFailed(DatabaseError):
    code = "migration_failed"
    title = "Migration failed"
    default_hint = "The store is as it was before the step named here; mend the cause and start again."


class QueryFailed(DatabaseError):
    code = "query_failed"
    title = "Query failed"


class TransactionFailed(DatabaseError):
    """A commit could not be done; nothing of it is in the store."""

    code = "transaction_failed"
    status = 503
    title = "Nothing was written"
    retryable = True
    default_hint = "Check the data folder's disk; nothing of the request was stored."


class StorageFull(TransactionFailed):
    code = "storage_full"
    status = 507
    title = "Disk full"
    retryable = False
    default_hint = "Free space on the disk of the data folder, then repeat the request."


class Corrupt(DatabaseError):
    """The store contradicts itself or what was signed."""

    code = "corrupt"
    title = "The store is damaged"
    default_hint = "Run `thane verify` to see what does not agree."


class LedgerBehind(Corrupt):
    """The store is older than what was signed: a lost or truncated log, or an old copy."""

    code = "ledger_behind"
    title = "The store is behind its signed checkpoint"
    default_hint = (
        "Restore the newest copy of the store; `thane verify` shows the index from which entries are missing."
    )


# -- what a person has to mend before start -----------------------------------------


class SettingsError(ThaneError):
    code = "settings"
    title = "Wrong settings"
    default_hint = "Run `thane config check` to see every value and where it comes from."


class FolderInUse(ThaneError):
    code = "folder_in_use"
    title = "Another process owns this data folder"
    default_hint = "Stop it, use its API, or choose another folder with --data."


class PortInUse(ThaneError):
    code = "port_in_use"
    title = "The port is taken"
    default_hint = "Choose another one with --port."


class IsolationUnavailable(ThaneError):
    """No tier that is strong enough works on this machine."""

    code = "isolation_unavailable"
    status = 503
    title = "Code cannot be isolated here"
    default_hint = "Run `thane doctor` to see what each tier lacks."


def tree() -> dict[str, type[ThaneError]]:
    """Every error class by code. Raises when two share one."""
    found: dict[str, type[ThaneError]] = {}

    def visit(cls: type[ThaneError]) -> None:
        known = found.setdefault(cls.code, cls)
        if known is not cls:
            raise TypeError(f"{cls.__name__} and {known.__name__} share the code {cls.code!r}")
        for child in cls.__subclasses__():
            visit(child)

    visit(ThaneError)
    return found
