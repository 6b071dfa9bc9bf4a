"""What can go wrong with keys and sealed values. Codes are unique in the whole error tree."""

from __future__ import annotations

from thane.kernel.errors import Gone, ThaneError, Unauthorized


class SealingError(ThaneError):
    """Root of what sealing reports."""

    code = "sealing_error"
    title = "Sealed data cannot be used"
    default_hint = "Run `thane doctor` to see the state of the key folder."


class KeyMissing(SealingError):
    """The key that a value was sealed with, or that wraps it, is not here."""

    code = "key_missing"
    title = "A key is missing"
    default_hint = "Restore the newest key backup into the key folder; no other copy of the key exists."


class SealedCorrupt(SealingError):
    """Sealed bytes that were changed, cut, or sealed for another place (AAD) or another key."""

    code = "sealed_corrupt"
    title = "Sealed data is damaged"
    default_hint = "Run `thane verify` to find what else does not agree, then restore from a backup."


class Erased(Gone):
    """The value's subject was erased, its key destroyed: nobody can read the value again."""

    code = "erased"
    title = "Erased"
    default_hint = "The data's subject was erased; the ledger entry of the erasure says when and by whom."


class KeyFolderMissing(SealingError):
    """There is no key folder, or it lacks a part without which it is none."""

    code = "key_folder_missing"
    title = "No key folder"
    default_hint = "Restore the key folder from its backup; a new one cannot read what was sealed before."


class KeyFolderExists(SealingError):
    """A key folder was to be made where something lies already; nothing was touched."""

    code = "key_folder_exists"
    title = "The key folder exists already"
    default_hint = "Open it instead, or choose another path."


class KeyFolderUnsafe(SealingError):
    """Others than the owner could read the keys. The hint is the command that mends it."""

    code = "key_folder_unsafe"
    title = "The key folder is open to others"


class KeyFolderUnwritable(SealingError):
    """The key folder could not be written; what was there before still holds."""

    code = "key_folder_unwritable"
    status = 507
    title = "The key folder cannot be written"
    default_hint = "Check free space and that the file system is not read-only, then repeat."


class KeyFileCorrupt(SealingError):
    """A file of the key folder is not what Thane wrote."""

    code = "key_file_corrupt"
    title = "A key file is damaged"
    default_hint = "Restore this file from the key backup."


class TokenMalformed(Unauthorized):
    """Not a token of Thane's, or mistyped: its checksum does not fit. Found without the store."""

    code = "token_malformed"
    title = "Not a valid key"
    default_hint = "Copy the whole key again, from `thane_` to its last character."
