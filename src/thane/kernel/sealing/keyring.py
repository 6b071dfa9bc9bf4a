"""The key folder: the few secrets everything else hangs on, kept apart from the store.

    keys/                 mode 0700, owned by the user Thane runs as
      master/<id>.key     master keys (AES-256); each wraps subject keys
      current             id of the master key that wraps new subject keys
      index.key           key of the blind indexes
      ledger.key          Ed25519 seed that signs checkpoints, with its name (the origin)
      erasures            one JSON line per erased subject, only appended

A key file is one JSON object {"id", "kind", "secret", "v"} (and "name" for the ledger's).
`id` is derived from the secret, so a damaged file is noticed when it is read. Subject
keys are not here: they live, wrapped, in the store, and are destroyed there to erase.

It must not log, print or cache secrets longer than its own life, and it never deletes a
master key: old ones open what they wrapped until a rotation has re-wrapped it.
"""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from binascii import Error as Base64Error
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from thane.kernel.sealing import keyfiles
from thane.kernel.sealing.envelope import KEY_BYTES, KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES, SubjectKey
from thane.kernel.sealing.errors import (
    KeyFileCorrupt,
    KeyFolderExists,
    KeyFolderMissing,
    KeyFolderUnwritable,
    KeyMissing,
    SealedCorrupt,
)

_WRAPPED_BYTES: Final = NONCE_BYTES + KEY_BYTES + TAG_BYTES

_MASTER, _INDEX, _LEDGER = "master", "index", "ledger"
_CURRENT, _ERASURES = "current", "erasures"


class WrappedKey(msgspec.Struct, frozen=True):
    """A subject key as the store keeps it.

    `wrapped` is nonce (12 bytes) ‖ AES-256-GCM(master key, secret) (48 bytes), with
    associated data b"subject=" + subject. `key_id` and `master_key_id` have 16 bytes.
    """

    subject: str
    key_id: bytes
    master_key_id: bytes
    wrapped: bytes


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `erasures`: whose keys (hex ids) were destroyed, and when (µs since 1970 UTC)."""

    key_ids: tuple[str, ...]
    subject: str
    time: int


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: str
    kind: str
    secret: str
    v: int
    name: str | None = None


class KeyFolder:
    """An open key folder. Reads its files when opened; one process owns it, as it owns the data folder."""

    def __init__(self, path: Path) -> None:
        """Opens the folder at `path`.

        Raises KeyFolderMissing, KeyFolderUnsafe (loose mode or another owner; the hint is
        the command that mends it) and KeyFileCorrupt.
        """
        self.path = path
        self._master_path = path / _MASTER
        self._masters: dict[bytes, AESGCM] = {}
        self._current = self._read_current()
        self._cipher(
            self._current
        )  # without it nothing could be sealed: say so at start, not at the first write
        self._index_key, _ = _read_key(path, "index.key", _INDEX)
        self._ledger_seed, name = _read_key(path, "ledger.key", _LEDGER)
        if not name:
            raise KeyFileCorrupt(f"{path / 'ledger.key'} names no log")
        self._ledger_name = name

    @classmethod
    def create(cls, path: Path, *, ledger_name: str, master: bytes | None = None) -> KeyFolder:
        """Makes a folder with fresh keys at `path`, whole or not at all, and opens it.

        `master` (32 bytes) becomes its first master key; without it one is made.
        `ledger_name` names the signing key (a schema-less URL, c2sp.org/signed-note) and
        cannot change later: every verifier has it. Raises KeyFolderExists if something
        lies at `path`, KeyFolderUnwritable if the disk refuses, ValueError for a bad name or
        a master key of another length.
        """
        if master is not None and len(master) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(master)}")
        if not ledger_name or "+" in ledger_name or ledger_name.split() != [ledger_name]:
            raise ValueError(f"{ledger_name!r} cannot name a ledger: no spaces, no '+', not empty")
        if os.path.lexists(path):
            raise KeyFolderExists(f"something lies at {path} already")
        making = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            for new in (making, making / _MASTER):
                new.mkdir(mode=keyfiles.FOLDER_MODE)
            _write_key(making, "index.key", _INDEX, None)
            _write_key(making, "ledger.key", _LEDGER, ledger_name)
            _add_master(making, master)
            making.rename(path)
            parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)
        except OSError as fault:
            raise KeyFolderUnwritable(f"the key folder {path} could not be made: {fault.strerror}") from fault
        finally:
            if making.exists():
                shutil.rmtree(making)
        return cls(path)

    @classmethod
    def open_or_create(cls, path: Path, *, ledger_name: str, master: bytes | None = None) -> KeyFolder:
        """The folder at `path`, made first if nothing is there. Raises what both raise.

        `ledger_name` and `master` are for a new folder; see `holds_master` for an old one.
        """
        if os.path.lexists(path):
            return cls(path)
        return cls.create(path, ledger_name=ledger_name, master=master)

    # -- master keys ------------------------------------------------------------------

    @property
    def current_master_id(self) -> bytes:
        """Id (16 bytes) of the master key that wraps new subject keys."""
        return self._current

    def master_ids(self) -> list[bytes]:
        """Ids of all master keys, sorted. Raises KeyFileCorrupt for a file that is none."""
        with keyfiles.folder(self._master_path):
            # A temporary file of a write that a crash cut off begins with a dot.
            files = [file for file in self._master_path.iterdir() if not file.name.startswith(".")]
        return sorted(_id_from_hex(file.name.removesuffix(".key"), file) for file in files)

    def holds_master(self, secret: bytes) -> bool:
        """Whether this is one of the master keys."""
        return _key_id(_MASTER, secret) in self.master_ids()

    def add_master(self) -> bytes:
        """Makes a new master key and lets it wrap from now on; returns its id. The old ones stay."""
        self._current = _add_master(self.path)
        return self._current

    def _read_current(self) -> bytes:
        try:
            text = keyfiles.read(self.path, _CURRENT)
        except FileNotFoundError:
            raise KeyFolderMissing(f"{self.path} has no file {_CURRENT!r}: it is no key folder") from None
        return _id_from_hex(text.decode("ascii", "replace").removesuffix("\n"), self.path / _CURRENT)

    def _cipher(self, master_id: bytes) -> AESGCM:
        cipher = self._masters.get(master_id)
        if cipher is None:
            try:
                secret, _ = _read_key(self._master_path, f"{master_id.hex()}.key", _MASTER)
            except KeyFolderMissing:
                raise KeyMissing(f"the master key {master_id.hex()} is not in {self._master_path}") from None
            if _key_id(_MASTER, secret) != master_id:
                raise KeyFileCorrupt(f"{self._master_path / master_id.hex()}.key holds another key")
            cipher = self._masters[master_id] = AESGCM(secret)
        return cipher

    # -- subject keys -----------------------------------------------------------------

    def new_subject_key(self, subject: str) -> tuple[SubjectKey, WrappedKey]:
        """A fresh data key for `subject`, and what the store keeps of it."""
        key = SubjectKey.new(subject)
        return key, self.wrap(key)

    def wrap(self, key: SubjectKey) -> WrappedKey:
        """`key` wrapped under the current master key. Wrapping again after `add_master` is a rotation."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(self._current).encrypt(nonce, key.secret, _wrap_aad(key.subject))
        return WrappedKey(key.subject, key.key_id, self._current, nonce + sealed)

    def unwrap(self, wrapped: WrappedKey) -> SubjectKey:
        """The data key. Raises KeyMissing without its master key, SealedCorrupt if it was changed."""
        cipher = self._cipher(wrapped.master_key_id)
        data = wrapped.wrapped
        if len(data) != _WRAPPED_BYTES or len(wrapped.key_id) != KEY_ID_BYTES:
            raise SealedCorrupt(
                f"the wrapped key of {wrapped.subject} has {len(data)} bytes, not {_WRAPPED_BYTES}"
            )
        try:
            secret = cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _wrap_aad(wrapped.subject))
        except InvalidTag:
            raise SealedCorrupt(
                f"the wrapped key {wrapped.key_id.hex()} of {wrapped.subject} does not open with its "
                "master key: it was changed, or belongs to another subject"
            ) from None
        return SubjectKey(wrapped.subject, wrapped.key_id, secret)

    # -- the other keys ---------------------------------------------------------------

    @property
    def index_key(self) -> bytes:
        """Key (32 bytes) of the blind indexes; for `blind_index` and nothing else."""
        return self._index_key

    @property
    def ledger_seed(self) -> bytes:
        """Ed25519 seed (32 bytes, RFC 8032) that signs checkpoints; for `note.Signer` and nothing else."""
        return self._ledger_seed

    @property
    def ledger_name(self) -> str:
        """Name of the signing key, and origin of the logs it signs."""
        return self._ledger_name

    # -- erasures ---------------------------------------------------------------------

    def record_erasure(self, subject: str, key_ids: Sequence[bytes], time: int) -> None:
        """Writes down, fsynced, that these keys of `subject` are to exist nowhere; a restore replays it.

        `time` is in µs since 1970 UTC. Call it before the keys are destroyed.
        """
        line = msgspec.json.encode(Erasure(tuple(key_id.hex() for key_id in key_ids), subject, time))
        keyfiles.append_line(self.path, _ERASURES, line)

    def erasures(self) -> list[Erasure]:
        """All erasures, oldest first. A last line without newline was torn by a crash and does not count.

        Raises KeyFileCorrupt for any other line that is not one.
        """
        try:
            data = keyfiles.read(self.path, _ERASURES)
        except FileNotFoundError:
            return []
        try:
            return [msgspec.json.decode(line, type=Erasure) for line in data.split(b"\n")[:-1]]
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise KeyFileCorrupt(f"{self.path / _ERASURES} has a line that is no erasure: {fault}") from fault


def _wrap_aad(subject: str) -> bytes:
    return b"subject=" + subject.encode()


def _key_id(kind: str, secret: bytes) -> bytes:
    """First 16 bytes of SHA-256("thane-key:" ‖ kind ‖ newline ‖ secret); a random secret stays one."""
    return sha256(f"thane-key:{kind}\n".encode() + secret).digest()[:KEY_ID_BYTES]


def _id_from_hex(text: str, where: Path) -> bytes:
    try:
        key_id = bytes.fromhex(text)
    except ValueError:
        key_id = b""
    if len(key_id) != KEY_ID_BYTES or key_id.hex() != text:
        raise KeyFileCorrupt(f"{where} does not hold the id of a key")
    return key_id


def _write_key(path: Path, name: str, kind: str, ledger_name: str | None) -> None:
    secret = os.urandom(KEY_BYTES)
    text = base64.b64encode(secret).decode()
    file = _KeyFile(id=_key_id(kind, secret).hex(), kind=kind, secret=text, v=1, name=ledger_name)
    keyfiles.write(path, name, msgspec.json.encode(file) + b"\n", replace=False)


def _add_master(path: Path, given: bytes | None = None) -> bytes:
    secret = os.urandom(KEY_BYTES) if given is None else given
    key_id = _key_id(_MASTER, secret)
    file = _KeyFile(id=key_id.hex(), kind=_MASTER, secret=base64.b64encode(secret).decode(), v=1)
    keyfiles.write(path / _MASTER, f"{key_id.hex()}.key", msgspec.json.encode(file) + b"\n", replace=False)
    keyfiles.write(path, _CURRENT, key_id.hex().encode() + b"\n", replace=True)
    return key_id


def _read_key(path: Path, name: str, kind: str) -> tuple[bytes, str | None]:
    """(secret, name) of a key file. Raises KeyFolderMissing if it is not there, KeyFileCorrupt if damaged."""
    where = path / name
    try:
        data = keyfiles.read(path, name)
    except FileNotFoundError:
        raise KeyFolderMissing(f"the key file {where} is missing") from None
    try:
        file = msgspec.json.decode(data, type=_KeyFile)
        secret = base64.b64decode(file.secret, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, Base64Error) as fault:
        raise KeyFileCorrupt(f"{where} cannot be read: {fault}") from fault
    if file.v != 1 or file.kind != kind:
        raise KeyFileCorrupt(
            f"{where} holds a key of kind {file.kind!r}, version {file.v}; expected {kind!r}, 1"
        )
    if len(secret) != KEY_BYTES or _key_id(kind, secret).hex() != file.id:
        raise KeyFileCorrupt(f"{where} was changed: its id does not fit its secret")
    return secret, file.name
