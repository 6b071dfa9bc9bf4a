"""Verifier keys and signed checkpoints: c2sp.org/signed-note (Ed25519) and c2sp.org/tlog-checkpoint."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from thane_verify.report import Flaw

_ED25519 = 1
_LARGEST = 2**63 - 1


def whole_number(text: str, what: str) -> int:
    """A decimal number in its only spelling. Raises Flaw."""
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text) or int(text) > _LARGEST:
        raise Flaw(f"the {what} {text[:30]!r} is not a whole number")
    return int(text)


def from_base64(text: str, what: str) -> bytes:
    """The bytes of standard base64 in its only spelling. Raises Flaw."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Flaw(f"the {what} is not base64") from None
    if base64.b64encode(data).decode("ascii") != text:
        raise Flaw(f"the {what} is not in the usual base64 spelling")
    return data


@dataclass(frozen=True)
class PublicKey:
    """A key the reader trusts: it was given on the command line, never taken from the proof."""

    name: str
    key_id: bytes
    raw: bytes

    @staticmethod
    def parse(text: str) -> PublicKey:
        """From a vkey, `name+id+base64`. Raises Flaw."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not parts[0] or re.search(r"\s", parts[0]):
            raise Flaw("the key is not of the form NAME+ID+BASE64")
        name, key_id, encoded = parts
        data = from_base64(encoded, "key")
        if len(data) != 33 or data[0] != _ED25519:
            raise Flaw("the key is not an Ed25519 key; this verifier knows no other kind")
        expected = hashlib.sha256(name.encode("utf-8") + b"\n" + data).digest()[:4]
        if key_id != expected.hex():
            raise Flaw(f"the key of {name} was mistyped or changed: its id should be {expected.hex()}")
        return PublicKey(name, expected, data[1:])


@dataclass(frozen=True)
class Checkpoint:
    """The signed head of a log: `size` entries with this root, and the key that signed it."""

    origin: str
    size: int
    root: bytes
    key: PublicKey


def open_checkpoint(note: str, keys: list[PublicKey]) -> Checkpoint:
    """The checkpoint in `note`, if one of `keys` signed it for a log of its own.

    A key NAME speaks for the log NAME and for the logs NAME/…: an installation signs each
    tenant's log with one key. Raises Flaw.
    """
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise Flaw("the checkpoint is cut: it is text, a blank line, and signature lines")
    text += "\n"
    signed_by = _check_signatures(text, tail[:-1].split("\n"), keys)
    lines = text.split("\n")[:-1]
    if len(lines) < 3 or "" in lines:
        raise Flaw("the checkpoint needs three lines: log, size and root")
    origin, size, root = lines[:3]
    if origin != signed_by.name and not origin.startswith(signed_by.name + "/"):
        raise Flaw(
            f"the key {signed_by.name} signed a checkpoint of the log {origin!r}, which is not its own"
        )
    decoded = from_base64(root, "checkpoint's root")
    if len(decoded) != 32:
        raise Flaw(f"the checkpoint's root has {len(decoded)} bytes instead of 32")
    return Checkpoint(origin, whole_number(size, "checkpoint's size"), decoded, signed_by)


def _check_signatures(text: str, lines: list[str], keys: list[PublicKey]) -> PublicKey:
    """The first of `keys` that signed `text`. Raises Flaw if none did, or one that is named did not."""
    if len(lines) > 100:
        raise Flaw("the checkpoint has more than 100 signatures")
    signed_by: PublicKey | None = None
    names = []
    for line in lines:
        found = re.fullmatch(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)", line)
        if found is None:
            raise Flaw("the checkpoint has a malformed signature line")
        data = from_base64(found[2], "signature")
        names.append(found[1])
        for key in keys:
            if (found[1], data[:4]) != (key.name, key.key_id):
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key.raw).verify(data[4:], text.encode("utf-8"))
            except InvalidSignature:
                raise Flaw(
                    f"the signature of {key.name} is wrong: the checkpoint was changed or made by another"
                ) from None
            signed_by = signed_by or key
    if signed_by is None:
        wanted = ", ".join(f"{key.name} ({key.key_id.hex()})" for key in keys)
        raise Flaw(f"the checkpoint is not signed by {wanted}, only by: {', '.join(names)}")
    return signed_by
