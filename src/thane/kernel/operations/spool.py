"""The spool: outcomes that the store could not take, each an fsynced, sealed file.

What was done outside cannot be undone by a full disk. The file is sealed as the entry would
have been, so that no plaintext lies in the data folder; the reconciler settles from it and
then removes it. Files are small and few; they are read and written in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from thane.kernel.errors import ThaneError
from thane.kernel.records.prepare import Preparer
from thane.kernel.sealing.envelope import open_sealed, seal, sealed_key_id

_SUFFIX: Final = ".outcome"


class SpoolRefused(ThaneError):
    """A spool file could not be written, read or removed."""

    code = "spool_refused"
    status = 507
    title = "The spool cannot be used"
    default_hint = "Free space in the data folder and check that it can be written."


class Spooled(msgspec.Struct, frozen=True):
    """One waiting outcome. `outcome` is the operation's own struct, as JSON."""

    tenant_id: str
    intent_index: int
    operation: str
    outcome: msgspec.Raw


class Spool:
    """The folder `<data>/spool/`."""

    def __init__(self, folder: Path, preparer: Preparer) -> None:
        self._folder = folder
        self._preparer = preparer

    async def put(self, item: Spooled, subject: str) -> None:
        """Write one file that survives a power cut; SpoolRefused, and then nothing is there."""
        key = await self._preparer.ring.of(subject)
        data = seal(key, msgspec.json.encode(item), _aad(item.tenant_id, item.intent_index))
        await asyncio.to_thread(self._write, _name(item.tenant_id, item.intent_index), data)

    async def waiting(self) -> list[tuple[str, int]]:
        """(tenant, intent index) of each file."""
        names = await asyncio.to_thread(self._names)
        found: list[tuple[str, int]] = []
        for name in names:
            tenant_id, _, index = name.removesuffix(_SUFFIX).rpartition("-")
            if tenant_id and index.isdecimal():
                found.append((tenant_id, int(index)))
        return sorted(found)

    async def get(self, tenant_id: str, intent_index: int) -> Spooled | None:
        """The outcome of an intent, if it waits here; Erased if its key was destroyed."""
        data = await asyncio.to_thread(self._read, _name(tenant_id, intent_index))
        if data is None:
            return None
        keys = await self._preparer.ring.load(sealed_key_id(data))
        plain = open_sealed(keys, data, _aad(tenant_id, intent_index))
        return msgspec.json.decode(plain, type=Spooled)

    async def drop(self, tenant_id: str, intent_index: int) -> None:
        """After its outcome is in the ledger."""
        await asyncio.to_thread(self._remove, _name(tenant_id, intent_index))

    # -- in the thread ----------------------------------------------------------------------

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        waiting = self._folder / f".{name}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with waiting.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            waiting.replace(path)
            self._sync_folder()
        except OSError as fault:
            # What is half written is never read; the next attempt overwrites it.
            with contextlib.suppress(OSError):
                waiting.unlink()
            raise SpoolRefused(f"the outcome could not be spooled: {fault.strerror or fault}") from fault

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _names(self) -> list[str]:
        try:
            return [n for n in os.listdir(self._folder) if n.endswith(_SUFFIX) and not n.startswith(".")]  # noqa: PTH208 - names only
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise SpoolRefused(f"the spool cannot be read: {fault.strerror or fault}") from fault

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise SpoolRefused(f"the spool cannot be read: {fault.strerror or fault}") from fault

    def _remove(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as fault:
            raise SpoolRefused(f"a settled outcome stays in the spool: {fault.strerror or fault}") from fault


def _name(tenant_id: str, intent_index: int) -> str:
    return f"{tenant_id}-{intent_index}{_SUFFIX}"


def _aad(tenant_id: str, intent_index: int) -> bytes:
    return f"spool/{tenant_id}/{intent_index}".encode()
