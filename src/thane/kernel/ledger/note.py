"""Signed notes, checkpoints and proof files, as text that other people's tools read.

Formats: c2sp.org/signed-note (Ed25519 only, signature type 0x01), c2sp.org/tlog-checkpoint
and c2sp.org/tlog-proof. Parsing is strict: one spelling per value, bounded sizes, and a
text whose signature has not been checked is not given out. It must not decide which keys
are trusted: callers hand in verifiers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from thane.kernel.ledger.errors import NoteInvalid, ProofInvalid
from thane.kernel.ledger.tree import HASH_BYTES

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_DASH: Final = "\u2014 "
# Control characters other than newline, and lone surrogates, which have no UTF-8 form.
_NOT_IN_NOTES: Final = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"

# The standard asks for a bound of at least 16 signatures; cosignatures of witnesses fit well within.
MAX_NOTE_CHARS: Final = 1 << 20
MAX_SIGNATURES: Final = 100
# A tree of 2^63 leaves has paths of at most 63 hashes.
MAX_PATH_HASHES: Final = 63


class Verifier:
    """One public key that may sign notes, under its name."""

    __slots__ = ("_public", "key_id", "name", "vkey")

    def __init__(self, name: str, public_key: bytes) -> None:
        """`public_key` has 32 bytes (RFC 8032). Raises NoteInvalid for a bad name or key."""
        _refuse_bad_name(name)
        if len(public_key) != 32:
            raise NoteInvalid(f"an Ed25519 public key has 32 bytes, not {len(public_key)}")
        self.name = name
        self.key_id = sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_BYTES]
        self.vkey = f"{name}+{self.key_id.hex()}+{_b64(_ED25519 + public_key)}"
        self._public = Ed25519PublicKey.from_public_bytes(public_key)

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """From `<name>+<key id, hex>+<base64(0x01 ‖ public key)>`. Raises NoteInvalid."""
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _unb64(encoded, "verifier key")
        if data[:1] != _ED25519:
            raise NoteInvalid("a verifier key is not of type 0x01 (Ed25519), the only one known here")
        verifier = cls(name, data[1:])
        if verifier.key_id.hex() != key_id:
            raise NoteInvalid(f"the verifier key of {name} has a wrong key id: it was mistyped or changed")
        return verifier

    def signed(self, text: str, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `text`."""
        try:
            self._public.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private key that signs notes under a name. `repr` does not show it."""

    __slots__ = ("_private", "name", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        """`seed` is the Ed25519 seed, 32 bytes (RFC 8032). Raises NoteInvalid for a bad name, ValueError
        for a seed of another length."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._private.public_key().public_bytes_raw())
        self.name = name

    @property
    def vkey(self) -> str:
        """The public half, as verifiers are given it."""
        return self.verifier.vkey

    def named(self, name: str) -> Signer:
        """The same key under another name (its key id, and so its vkey, differ)."""
        return Signer(name, self._private.private_bytes_raw())

    def signature_line(self, text: str) -> str:
        """`— <name> <base64(key id ‖ signature)>` and a newline, over `text`, which ends in a newline."""
        return f"{_DASH}{self.name} {_b64(self.verifier.key_id + self._private.sign(text.encode()))}\n"


def sign_note(text: str, *signers: Signer) -> str:
    """`text`, a blank line, and one signature line per signer.

    Raises NoteInvalid if there is no signer, or `text` cannot be a note's.
    """
    if not signers:
        raise NoteInvalid("a note needs at least one signature")
    if not text.endswith("\n"):
        raise NoteInvalid("a note's text ends in a newline")
    _refuse_bad_text(text)
    return text + "\n" + "".join(signer.signature_line(text) for signer in signers)


def open_note(note: str, verifiers: Sequence[Verifier]) -> tuple[str, tuple[str, ...]]:
    """(text, names of the keys that signed it), once at least one of `verifiers` is found to have signed.

    Signatures of unknown keys are ignored. Raises NoteInvalid if the note is malformed, no
    known key signed, or the signature of a known key is wrong or there twice.
    """
    text, signatures = _split_note(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    signed: dict[tuple[str, bytes], str] = {}
    for name, key_id, signature in signatures:
        verifier = known.get((name, key_id))
        if verifier is None:
            continue
        if (name, key_id) in signed:
            raise NoteInvalid(f"the note carries two signatures of {name}")
        if not verifier.signed(text, signature):
            raise NoteInvalid(
                f"the signature of {name} is wrong: the note was changed, or another key signed it"
            )
        signed[name, key_id] = name
    if not signed:
        raise NoteInvalid("no known key signed this note")
    return text, tuple(signed.values())


class Checkpoint(NamedTuple):
    """The head of a log at one size. `extensions` are further lines, which Thane writes none of."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text: origin, size and base64 root, a line each. Raises NoteInvalid if they are bad."""
        if (
            not self.origin
            or "\n" in self.origin
            or not 0 <= self.size < 1 << 63
            or len(self.root) != HASH_BYTES
        ):
            raise NoteInvalid("a checkpoint has an origin of one line, a size and a root of 32 bytes")
        if any(not line or "\n" in line for line in self.extensions):
            raise NoteInvalid("an extension of a checkpoint is one line that is not empty")
        text = "".join(f"{line}\n" for line in (self.origin, self.size, _b64(self.root), *self.extensions))
        _refuse_bad_text(text)
        return text

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """From a note's text, which the caller has from `open_note`. Raises NoteInvalid."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise NoteInvalid("a checkpoint has at least three lines, none of them empty")
        origin, size, root, *extensions = lines
        data = _unb64(root, "root hash")
        if len(data) != HASH_BYTES:
            raise NoteInvalid(f"a checkpoint's root has {HASH_BYTES} bytes, not {len(data)}")
        return cls(origin, _decimal(size, "tree size"), data, tuple(extensions))


def sign_checkpoint(signer: Signer, size: int, root: bytes, *, origin: str | None = None) -> str:
    """The signed note of a log's head; the origin is the signer's name unless given."""
    return sign_note(Checkpoint(origin or signer.name, size, root).text(), signer)


def open_checkpoint(note: str, verifiers: Sequence[Verifier], *, origin: str) -> Checkpoint:
    """The checkpoint in `note`, signed by one of `verifiers`, of the log `origin`.

    Raises NoteInvalid as `open_note` does, and for a checkpoint of another log: with one
    key for many logs, the origin alone tells them apart.
    """
    text, _ = open_note(note, verifiers)
    checkpoint = Checkpoint.parse(text)
    if checkpoint.origin != origin:
        raise NoteInvalid(f"this checkpoint is of the log {checkpoint.origin!r}, not of {origin!r}")
    return checkpoint


@dataclass(frozen=True, slots=True)
class ProofFile:
    """The parts of a `.tlog-proof`. `checkpoint` is the signed note, verbatim and unchecked.

    Thane puts the entry's leaf into `extra`, so that the file is complete by itself. It
    is as trustworthy as its place in the tree, which the path proves; see `proof`.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None


def make_proof(index: int, path: Sequence[bytes], checkpoint: str, extra: bytes | None = None) -> str:
    """The text of a c2sp.org/tlog-proof@v1. Raises ProofInvalid for a path with a hash not of 32 bytes."""
    if index < 0 or len(path) > MAX_PATH_HASHES or any(len(node) != HASH_BYTES for node in path):
        raise ProofInvalid("a proof has an index and at most 63 hashes of 32 bytes")
    _split_note(checkpoint)
    lines = [_PROOF_HEADER]
    if extra:
        lines.append(f"extra {_b64(extra)}")
    lines.append(f"index {index}")
    lines.extend(_b64(node) for node in path)
    return "\n".join(lines) + "\n\n" + checkpoint


def parse_proof(text: str) -> ProofFile:
    """The parts of a c2sp.org/tlog-proof@v1, none of them checked. Raises ProofInvalid or NoteInvalid."""
    if len(text) > MAX_NOTE_CHARS:
        raise ProofInvalid(f"a proof of {len(text)} characters is too large ({MAX_NOTE_CHARS} at most)")
    head, blank, checkpoint = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != _PROOF_HEADER or not blank:
        raise ProofInvalid(
            f"a proof begins with the line {_PROOF_HEADER!r} and has a checkpoint after a blank line"
        )
    extra: bytes | None = None
    if lines and lines[0].startswith("extra "):
        extra = _unb64(lines.pop(0).removeprefix("extra "), "extra data")
        if not extra:
            raise ProofInvalid("a proof without extra data leaves its line out")
    if not lines or not lines[0].startswith("index "):
        raise ProofInvalid("a proof has a line 'index N' before its hashes")
    index = _decimal(lines.pop(0).removeprefix("index "), "index")
    if len(lines) > MAX_PATH_HASHES:
        raise ProofInvalid(f"a proof has at most {MAX_PATH_HASHES} hashes, not {len(lines)}")
    path = tuple(_unb64(line, "proof hash") for line in lines)
    if any(len(node) != HASH_BYTES for node in path):
        raise ProofInvalid(f"a proof's hashes have {HASH_BYTES} bytes each")
    _split_note(checkpoint)
    return ProofFile(index, path, checkpoint, extra)


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """(text, [(name, key id, signature)]) of a well-formed note, nothing verified."""
    if len(note) > MAX_NOTE_CHARS:
        raise NoteInvalid(f"a note of {len(note)} characters is too large ({MAX_NOTE_CHARS} at most)")
    _refuse_bad_text(note)
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise NoteInvalid("a note is text, a blank line, and signature lines that end in a newline")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid(f"a note has at most {MAX_SIGNATURES} signatures, not {len(lines)}")
    signatures = []
    for line in lines:
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise NoteInvalid("a signature line is '— <name> <base64>'")
        _refuse_bad_name(name)
        data = _unb64(encoded, "signature")
        if len(data) <= _KEY_ID_BYTES:
            raise NoteInvalid(f"the signature of {name} is too short")
        signatures.append((name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:]))
    return text + "\n", signatures


def _refuse_bad_text(text: str) -> None:
    if _NOT_IN_NOTES.search(text):
        raise NoteInvalid("a note is UTF-8 text without control characters other than newline")


def _refuse_bad_name(name: str) -> None:
    if not name or "+" in name or name.split() != [name]:
        raise NoteInvalid(f"{name!r} cannot name a key: no spaces, no '+', not empty")


def _decimal(text: str, what: str) -> int:
    """A whole number in its one spelling: ASCII digits, no sign, no leading zero, below 2^63."""
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or (text[0] == "0" and text != "0"):
        raise NoteInvalid(f"{text[:40]!r} is no {what}")
    value = int(text)
    if value >= 1 << 63:
        raise NoteInvalid(f"{text} is beyond any {what}")
    return value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(text: str, what: str) -> bytes:
    """Standard base64 (RFC 4648, section 4), padded, in its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as fault:
        raise NoteInvalid(f"a {what} is not valid base64: {fault}") from fault
    if _b64(data) != text:
        raise NoteInvalid(f"a {what} is not in the one base64 spelling of its bytes")
    return data
