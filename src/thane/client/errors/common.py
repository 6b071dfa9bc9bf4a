"""Errors of common.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.problem import ApiError


class InternalError(ApiError):
    """Something went wrong in Thane; its log has the request."""

    code = "internal"


class AlreadyExists(ApiError):
    """A unique index refused the row. `index` names it."""

    code = "already_exists"


class Conflict(ApiError):
    """The row moved between read and write, more often than Thane repeats it for you."""

    code = "conflict"


class DatabaseError(ApiError):
    """Root of what a store can report (the seeds' tree)."""

    code = "database_error"


class Denied(ApiError):
    """The principal is known and may not do this."""

    code = "denied"


class FolderInUse(ApiError):
    """Another process owns this data folder."""

    code = "folder_in_use"


class Gone(ApiError):
    """It was here; erasure or retention took it."""

    code = "gone"


class HeadTooLarge(ApiError):
    """The request's line and headers, before anything of them was looked at."""

    code = "head_too_large"


class IdempotencyReused(ApiError):
    """Idempotency key used with another request."""

    code = "idempotency_reused"


class IllegalState(ApiError):
    """The resource's state does not allow this move."""

    code = "illegal_state"


class InProgress(ApiError):
    """The first request with this Idempotency-Key is still at work."""

    code = "in_progress"


class Invalid(ApiError):
    """The input is wrong. `faults` say where."""

    code = "invalid"


class IsolationUnavailable(ApiError):
    """No tier that is strong enough works on this machine."""

    code = "isolation_unavailable"


class LedgerError(ApiError):
    """Root of what is wrong with a leaf, a note, a proof or a bundle."""

    code = "ledger_error"


class Malformed(ApiError):
    """The bytes could not be read at all (not JSON, not UTF-8)."""

    code = "malformed"


class MethodNotAllowed(ApiError):
    """Method not allowed."""

    code = "method_not_allowed"


class NotFound(ApiError):
    """Not there, or not the caller's: the two are not told apart."""

    code = "not_found"


class OutcomeUnrecorded(ApiError):
    """Something was done outside and neither the store nor the spool could take its outcome."""

    code = "outcome_unrecorded"


class PortInUse(ApiError):
    """The port is taken."""

    code = "port_in_use"


class PreconditionFailed(ApiError):
    """If-Match does not hold."""

    code = "precondition_failed"


class RateLimited(ApiError):
    """Too many requests."""

    code = "rate_limited"


class RequestTimeout(ApiError):
    """A request that does not arrive: nothing of it was done."""

    code = "request_timeout"


class SealingError(ApiError):
    """Root of what sealing reports."""

    code = "sealing_error"


class SettingsError(ApiError):
    """Wrong settings."""

    code = "settings"


class SpoolRefused(ApiError):
    """A spool file could not be written, read or removed."""

    code = "spool_refused"


class TooLarge(ApiError):
    """Body too large."""

    code = "too_large"


class Unauthorized(ApiError):
    """No or no valid credentials."""

    code = "unauthorized"


class Unavailable(ApiError):
    """A part that Thane needs is away or overloaded."""

    code = "unavailable"


class NotAcceptable(ApiError):
    """Unsupported media type."""

    code = "unsupported_media_type"


class BundleInvalid(LedgerError):
    """An entry bundle whose length prefixes do not add up."""

    code = "bundle_invalid"


class ConnectionFailed(DatabaseError):
    """The store cannot be reached."""

    code = "connection_failed"


class ContextLost(Gone):
    """A context's interpreter has ended, and with it its variables."""

    code = "context_lost"


class Corrupt(DatabaseError):
    """The store contradicts itself or what was signed."""

    code = "corrupt"


class Erased(Gone):
    """The value's subject was erased, its key destroyed: nobody can read the value again."""

    code = "erased"


class HistoryExpired(Gone):
    """Before the retention horizon."""

    code = "history_expired"


class KeyFileCorrupt(SealingError):
    """A file of the key folder is not what Thane wrote."""

    code = "key_file_corrupt"


class KeyFolderExists(SealingError):
    """A key folder was to be made where something lies already; nothing was touched."""

    code = "key_folder_exists"


class KeyFolderMissing(SealingError):
    """There is no key folder, or it lacks a part without which it is none."""

    code = "key_folder_missing"


class KeyFolderUnsafe(SealingError):
    """Others than the owner could read the keys. The hint is the command that mends it."""

    code = "key_folder_unsafe"


class KeyFolderUnwritable(SealingError):
    """The key folder could not be written; what was there before still holds."""

    code = "key_folder_unwritable"


class KeyMissing(SealingError):
    """The key that a value was sealed with, or that wraps it, is not here."""

    code = "key_missing"


class LeafInvalid(LedgerError):
    """A leaf or a head that is too large, not canonical, or not of the known shape."""

    code = "leaf_invalid"


class LeaseLost(Conflict):
    """Another process holds the lease now, or it ran out before it was renewed."""

    code = "lease_lost"


class MigrationFailed(DatabaseError):
    """Migration failed."""

    code = "migration_failed"


class NoteInvalid(LedgerError):
    """A signed note, verifier key or checkpoint that is malformed or not signed by a known key."""

    code = "note_invalid"


class ProofInvalid(LedgerError):
    """A Merkle proof that does not lead to the root it is held against, or cannot be read."""

    code = "proof_invalid"


class QueryFailed(DatabaseError):
    """Query failed."""

    code = "query_failed"


class SandboxLost(Gone):
    """The jail of a stateful sandbox has ended, and with it its files and its contexts' variables."""

    code = "sandbox_lost"


class SealedCorrupt(SealingError):
    """Sealed bytes that were changed, cut, or sealed for another place (AAD) or another key."""

    code = "sealed_corrupt"


class Superseded(Conflict):
    """Another process has taken the intent over and writes, or wrote, its outcome."""

    code = "superseded"


class TilePathInvalid(NotFound):
    """A path that names no tile. A client sent it, so it is a 404."""

    code = "tile_path_invalid"


class TokenMalformed(Unauthorized):
    """Not a token of Thane's, or mistyped: its checksum does not fit. Found without the store."""

    code = "token_malformed"


class TransactionFailed(DatabaseError):
    """A commit could not be done; nothing of it is in the store."""

    code = "transaction_failed"


class LedgerBehind(Corrupt):
    """The store is older than what was signed: a lost or truncated log, or an old copy."""

    code = "ledger_behind"


class LedgerForked(Corrupt):
    """A tree does not continue what was signed before: entries were changed, not added."""

    code = "ledger_forked"


class NobodyAnswers(ConnectionFailed):
    """No connection was made, so nothing of the request was sent: it may be sent again, whatever it is."""

    code = "nobody_answers"


class StorageFull(TransactionFailed):
    """Disk full."""

    code = "storage_full"
