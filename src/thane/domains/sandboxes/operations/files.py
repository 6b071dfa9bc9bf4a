"""What can be asked of a living sandbox's files."""

from __future__ import annotations

from typing import Annotated

import msgspec

from thane.domains.sandboxes.entities import ExecutionError
from thane.domains.sandboxes.operations.executions import PATH_MOST, wrong_name
from thane.domains.sandboxes.service import (
    ChangeFile,
    FileChanged,
    FileContent,
    FilesService,
    SandboxFiles,
)
from thane.kernel.errors import Fault, Invalid
from thane.kernel.operations.declare import Effect, Example, Outside, Progress, StillRunning, operation
from thane.kernel.records import Unit

FileName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=PATH_MOST, description="A path in the workspace: `data/in.csv`"),
]


class WriteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    name: FileName
    content: Annotated[bytes, msgspec.Meta(description="The bytes of the file")] = b""


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file. `error` says why it is as it was."""

    sandbox_id: str
    name: str
    size: int | None
    error: ExecutionError | None


def _named(name: str) -> str:
    wrong = wrong_name(name)
    if wrong is not None:
        raise Invalid(f"the name {wrong}", faults=(Fault("/name", "not_allowed", wrong),))
    return name


def _result(intent: ChangeFile, outcome: FileChanged) -> FileResult:
    return FileResult(sandbox_id=intent.id, name=intent.name, size=intent.size, error=outcome.error)


@operation(
    "sandboxes.write_file",
    http="POST /sandboxes/{sandbox_id}/files",
    needs="sandboxes.write_file",
    effect=Effect.OUTSIDE,
    example=Example({"sandbox_id": "$sandboxes.create/id", "name": "data/in.csv", "content": "MSwyCg=="}),
    transient=("content",),
    takes="content",
)
class WriteSandboxFile(Outside[WriteFile, ChangeFile, FileChanged, FileResult]):
    """Put a file into a sandbox: the body is its content, as it is, and takes an older one's place.

    The file is there for executions in the sandbox's contexts, until the sandbox ends.
    """

    service: FilesService

    async def prepare(self, unit: Unit, request: WriteFile) -> ChangeFile:
        return await self.service.prepare(unit, request.sandbox_id, _named(request.name), request.content)

    async def act(self, intent: ChangeFile, request: WriteFile, progress: Progress) -> FileChanged:
        return await self.service.write(intent, request.content)

    async def settle(self, unit: Unit, intent: ChangeFile, outcome: FileChanged) -> FileResult:
        await self.service.settle(unit, intent, outcome)
        return _result(intent, outcome)

    async def recover(self, intent: ChangeFile) -> FileChanged | StillRunning:
        return await self.service.recover(intent)


class RemoveFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    name: FileName


@operation(
    "sandboxes.remove_file",
    http="POST /sandboxes/{sandbox_id}/files/remove",
    needs="sandboxes.remove_file",
    effect=Effect.OUTSIDE,
    status=200,
    example=Example(
        {"sandbox_id": "$sandboxes.create/id", "name": "data"},
        before=("sandboxes.read_file", "sandboxes.list_files"),
    ),
)
class RemoveSandboxFile(Outside[RemoveFile, ChangeFile, FileChanged, FileResult]):
    """Remove a file of a living sandbox, or a folder with all that is in it."""

    service: FilesService

    async def prepare(self, unit: Unit, request: RemoveFile) -> ChangeFile:
        return await self.service.prepare(unit, request.sandbox_id, _named(request.name), None)

    async def act(self, intent: ChangeFile, request: RemoveFile, progress: Progress) -> FileChanged:
        return await self.service.remove(intent)

    async def settle(self, unit: Unit, intent: ChangeFile, outcome: FileChanged) -> FileResult:
        await self.service.settle(unit, intent, outcome)
        return _result(intent, outcome)

    async def recover(self, intent: ChangeFile) -> FileChanged | StillRunning:
        return await self.service.recover(intent)


class ReadSandboxFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    name: FileName


@operation(
    "sandboxes.read_file",
    http="GET /sandboxes/{sandbox_id}/file",
    needs="sandboxes.read_file",
    effect=Effect.NONE,
    example=Example(
        {"sandbox_id": "$sandboxes.create/id", "name": "data/in.csv"}, before=("sandboxes.write_file",)
    ),
    gives="content",
)
async def read_sandbox_file(files: FilesService, unit: Unit, request: ReadSandboxFile) -> FileContent:
    """Read a file of a living sandbox: the answer's body is its content, as it is."""
    return await files.read(unit, request.sandbox_id, _named(request.name))


class ListFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    folder: Annotated[str, msgspec.Meta(max_length=PATH_MOST, description="Only what lies below it")] = ""


@operation(
    "sandboxes.list_files",
    http="GET /sandboxes/{sandbox_id}/files",
    needs="sandboxes.list_files",
    effect=Effect.NONE,
    example=Example({"sandbox_id": "$sandboxes.create/id"}, before=("sandboxes.write_file",)),
)
async def list_sandbox_files(files: FilesService, unit: Unit, request: ListFiles) -> SandboxFiles:
    """List the files of a living sandbox, at most 1,000, and what is no file that can be read."""
    if request.folder:
        _named(request.folder.removesuffix("/"))
    return await files.list(unit, request.sandbox_id, request.folder)


FILES = (WriteSandboxFile, read_sandbox_file, list_sandbox_files, RemoveSandboxFile)
