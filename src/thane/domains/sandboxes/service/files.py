"""Rules of a living sandbox's files. They last as long as its jail, and that they are gone is said."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from thane.domains.sandboxes.entities import ExecutionError, Sandbox, SandboxStatus, SkippedFile
from thane.domains.sandboxes.errors import SandboxFileNotFound, SandboxTerminated
from thane.domains.sandboxes.service.limits import MIB, port_limits
from thane.kernel.errors import Fault, Invalid, NotFound, ThaneError
from thane.kernel.ports.isolation import Home, Isolation, Limits, Listing, Tier, stronger
from thane.kernel.records import Unit


class SandboxFile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int


class SandboxFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a sandbox, at most 1,000; `files_left_out` tells how many more there are.

    `skipped`: links, pipes and the like, which cannot be read from outside.
    """

    files: tuple[SandboxFile, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    files_left_out: int = 0


class FileContent(msgspec.Struct, frozen=True, kw_only=True):
    """A file's bytes."""

    content: bytes


class ChangeFile(msgspec.Struct, frozen=True, kw_only=True):
    """The intent to put a file, or (with `size` None) to remove one. Its content is not kept."""

    id: str  # the sandbox
    name: str
    limits: Limits
    jail: str
    minimum_tier: Tier = Tier.T0  # what the sandbox demands beyond the server's own minimum
    size: int | None = None
    sha256: str | None = None


class FileChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. `jail`: the one that it was put into."""

    jail: str = ""
    error: ExecutionError | None = None

    @property
    def status(self) -> str:
        return "done" if self.error is None else "failed"


class FilesService:
    def __init__(self, isolation: Isolation, minimum_tier: Tier) -> None:
        self._isolation = isolation
        self._minimum_tier = minimum_tier

    async def prepare(self, unit: Unit, sandbox_id: str, name: str, content: bytes | None) -> ChangeFile:
        """The intent; what can be seen to be wrong is refused before anything is done."""
        sandbox = await unit.get(Sandbox, sandbox_id)
        if sandbox.status is SandboxStatus.TERMINATED:
            raise SandboxTerminated(f"the sandbox {sandbox_id} is terminated")
        most = sandbox.resource_limits.max_disk_mb * MIB
        if content is not None and len(content) > most:
            detail = f"the file has {len(content)} bytes, and the sandbox's disk {most}"
            raise Invalid(
                detail, hint="Give the sandbox more disk.", faults=(Fault("", "too_large", detail),)
            )
        if content is None and sandbox.container_id is None:
            raise SandboxFileNotFound(f"the sandbox {sandbox_id} has no file {name}")
        if content is not None and sandbox.status is SandboxStatus.CREATED:
            await unit.update(sandbox, status=SandboxStatus.RUNNING, started_at=unit.now)
        return ChangeFile(
            id=sandbox_id,
            name=name,
            limits=port_limits(sandbox.resource_limits),
            jail=sandbox.container_id or "",
            minimum_tier=Tier(sandbox.minimum_tier or Tier.T0),
            size=None if content is None else len(content),
            sha256=None if content is None else sha256(content).hexdigest(),
        )

    async def write(self, intent: ChangeFile, content: bytes) -> FileChanged:
        home = Home(
            sandbox_id=intent.id,
            limits=intent.limits,
            minimum_tier=stronger(self._minimum_tier, intent.minimum_tier),
            jail=intent.jail,
        )
        try:
            return FileChanged(jail=await self._isolation.write_file(home, intent.name, content))
        except ThaneError as fault:
            return _failed(fault)

    async def remove(self, intent: ChangeFile) -> FileChanged:
        try:
            await self._isolation.remove_file(intent.id, intent.jail, intent.name)
        except ThaneError as fault:
            return _failed(fault)
        return FileChanged(jail=intent.jail)

    async def settle(self, unit: Unit, intent: ChangeFile, done: FileChanged) -> None:
        """The sandbox's row learns of its jail. That it is gone was told by this outcome."""
        sandbox = await unit.find(Sandbox, intent.id)
        if sandbox is None or sandbox.status is SandboxStatus.TERMINATED:
            return
        jail = sandbox.container_id
        if done.error is None:
            jail = done.jail
        elif done.error.error_type == "sandbox_lost" and jail == intent.jail:
            jail = None
        if jail != sandbox.container_id:
            await unit.update(sandbox, container_id=jail)

    async def recover(self, intent: ChangeFile) -> FileChanged:
        """What is there now tells whether it was done."""
        try:
            found = await self._isolation.list_files(intent.id, intent.jail)
        except ThaneError as fault:
            return _failed(fault)
        there = {f.name: f.size for f in found.files}.get(intent.name)
        if there == intent.size:
            return FileChanged(jail=intent.jail)
        why = "the server ended before the file was changed; ask for it again"
        return FileChanged(error=ExecutionError(error_type="host_lost", message=why))

    async def list(self, unit: Unit, sandbox_id: str, folder: str) -> SandboxFiles:
        """What lies in the sandbox. SandboxLost if it was there and is gone."""
        sandbox = await unit.get(Sandbox, sandbox_id)
        if sandbox.container_id is None:
            return SandboxFiles()
        found: Listing = await self._isolation.list_files(sandbox_id, sandbox.container_id, folder)
        return SandboxFiles(
            files=tuple(SandboxFile(name=f.name, size=f.size) for f in found.files),
            skipped=tuple(SkippedFile(name=name, reason=reason) for name, reason in found.refused_files),
            files_left_out=found.files_left_out,
        )

    async def read(self, unit: Unit, sandbox_id: str, name: str) -> FileContent:
        """A file's bytes. SandboxFileNotFound, SandboxLost, Invalid for what is no plain file."""
        sandbox = await unit.get(Sandbox, sandbox_id)
        missing = SandboxFileNotFound(f"the sandbox {sandbox_id} has no file {name}")
        if sandbox.container_id is None:
            raise missing
        try:
            return FileContent(
                content=await self._isolation.read_file(sandbox_id, sandbox.container_id, name)
            )
        except NotFound as fault:
            raise missing from fault


def _failed(fault: ThaneError) -> FileChanged:
    message = f"{fault.message}. {fault.hint}".strip(". ")
    return FileChanged(error=ExecutionError(error_type=fault.code, message=message))
