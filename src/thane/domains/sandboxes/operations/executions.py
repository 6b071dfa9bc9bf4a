"""What can be asked of executions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from thane.domains.sandboxes.entities import (
    BillingInfo,
    Execution,
    ExecutionChunk,
    ExecutionError,
    ExecutionOutput,
    ExecutionStatus,
    IsolationInfo,
    ResourceUsage,
)
from thane.domains.sandboxes.errors import ExecutionNotFound
from thane.domains.sandboxes.operations.sandboxes import Language
from thane.domains.sandboxes.service import (
    Done,
    ExecutionsService,
    Given,
    Intent,
    WantedLimits,
)
from thane.kernel.errors import Fault, Invalid
from thane.kernel.operations.declare import Effect, Example, Outside, Progress, StillRunning, operation
from thane.kernel.operations.listing import ListRequest, list_page
from thane.kernel.paging import Page
from thane.kernel.ports.isolation import InputFile
from thane.kernel.records import Unit

PATH_MOST, STEP_MOST = 1024, 255  # bytes, of a path and of each of its steps


class FileGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file for the workspace; its content is base64."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_MOST)]
    content: bytes


ContextName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="A context's name: letters, digits, dots, dashes and underscores",
    ),
]


class ExecuteRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sandbox_id: str
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=1 << 20, description="The program")]
    language: Language | None = None
    context: Annotated[
        ContextName | None,
        msgspec.Meta(description="Run in the living sandbox, with this context's variables and its files"),
    ] = None
    resource_limits: WantedLimits | None = None
    env: Annotated[dict[str, str], msgspec.Meta(max_length=256, description="Environment; never stored")] = {}
    stdin: Annotated[bytes, msgspec.Meta(description="Standard input, base64; never stored")] = b""
    files: Annotated[tuple[FileGiven, ...], msgspec.Meta(max_length=256)] = ()


class ExecutionResult(msgspec.Struct, frozen=True, kw_only=True):
    """How an execution ended. `ledger`, which the answer has beside these, says where that is recorded."""

    id: str
    run_id: str | None
    sandbox_id: str
    status: ExecutionStatus
    output: ExecutionOutput | None
    error: ExecutionError | None
    duration_ms: int | None
    resource_usage: ResourceUsage | None
    billing_info: BillingInfo | None
    isolation: IsolationInfo | None


@operation(
    "sandboxes.execute",
    http="POST /sandboxes/{sandbox_id}/executions",
    needs="sandboxes.execute",
    effect=Effect.OUTSIDE,
    entity=Execution,
    example=Example(
        {
            "sandbox_id": "$sandboxes.create/id",
            "code": "print('hello')\nopen('report.csv', 'w').write('day,units\\n1,3\\n')",
        }
    ),
    transient=("env", "stdin", "files"),
)
class Execute(Outside[ExecuteRequest, Intent, Done, ExecutionResult]):
    """Run code in a sandbox and wait for its end.

    Without a `context` it runs in a fresh jail of its own, and what it leaves there can be read
    for a day. With one it runs in the living sandbox: files stay, and so do variables of Python
    code; shell commands run beside it. State that was lost is told once, by an execution that
    fails with `context_lost` or `sandbox_lost`; the next one begins anew.

    With `Accept: text/event-stream` output and samples come while it runs. With an
    `Idempotency-Key` it outlives your connection; without one, hanging up cancels it.
    """

    service: ExecutionsService

    async def prepare(self, unit: Unit, request: ExecuteRequest) -> Intent:
        _check(request)
        return await self.service.prepare(
            unit,
            request.sandbox_id,
            request.code,
            request.language,
            request.resource_limits,
            request.context,
        )

    async def act(self, intent: Intent, request: ExecuteRequest, progress: Progress) -> Done:
        given = Given(
            code=request.code.encode(),
            env=request.env,
            stdin=request.stdin,
            files=tuple(InputFile(name=f.name, content=f.content) for f in request.files),
        )
        return await self.service.runner.act(intent, given, progress)

    async def settle(self, unit: Unit, intent: Intent, outcome: Done) -> ExecutionResult:
        done = await self.service.settle(unit, intent, outcome)
        return ExecutionResult(
            id=done.id,
            run_id=done.run_id,
            sandbox_id=done.sandbox_id,
            status=done.status,
            output=done.output,
            error=done.error,
            duration_ms=done.duration_ms,
            resource_usage=done.resource_usage,
            billing_info=done.billing_info,
            isolation=done.isolation,
        )

    async def recover(self, intent: Intent) -> Done | StillRunning:
        return await self.service.recover(intent) or StillRunning()

    async def record(self, unit: Unit, intent: Intent, events: tuple[Any, ...]) -> None:
        await self.service.keep(unit, intent, events)

    def release(self, intent: Intent) -> None:
        self.service.release(intent)

    def word(self, outcome: Done) -> str:
        return outcome.status

    def key(self, intent: Intent) -> str | None:
        return intent.id


def _check(request: ExecuteRequest) -> None:
    faults = []
    if not request.code.strip():
        faults.append(Fault("/code", "empty", "there is nothing to run"))
    faults += _wrong_files(request.files)
    for name in request.env:
        if not name or "=" in name or "\x00" in name or "\x00" in request.env[name]:
            pointer = "/env/" + name.replace("~", "~0").replace("/", "~1")
            detail = "a variable's name has no '=' and neither part a NUL"
            faults.append(Fault(pointer, "not_allowed", detail))
    if "\x00" in request.code:
        faults.append(Fault("/code", "not_allowed", "source code cannot hold a NUL"))
    if faults:
        raise Invalid(faults[0].detail, faults=tuple(faults))


def _wrong_files(files: tuple[FileGiven, ...]) -> list[Fault]:
    """Names that leave the workspace, are no file's, or get in each other's way."""
    faults = []
    seen: set[str] = set()
    for n, file in enumerate(files):
        steps = file.name.split("/")
        wrong = wrong_name(file.name)
        if wrong is not None:
            faults.append(Fault(f"/files/{n}/name", "not_allowed", wrong))
        above = {"/".join(steps[:k]) for k in range(1, len(steps))}
        if file.name in seen or above & seen or any(s.startswith(f"{file.name}/") for s in seen):
            faults.append(Fault(f"/files/{n}/name", "twice", "another file has this name or lies in the way"))
        seen.add(file.name)
    return faults


def wrong_name(name: str) -> str | None:
    """Why the isolation program would refuse this file; None if it would not."""
    steps = name.split("/")
    if any(step in ("", ".", "..") for step in steps):
        return "must be a path inside the workspace"
    if "\\" in name or any(ord(c) < ord(" ") or ord(c) == 0x7F for c in name):
        return "has a backslash or a control character"
    if len(name.encode()) > PATH_MOST or any(len(step.encode()) > STEP_MOST for step in steps):
        return f"is longer than {STEP_MOST} bytes between two '/', or than {PATH_MOST} in all"
    return None


class MarkStarted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution_id: str


class Started(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: ExecutionStatus


@operation(
    "executions.start",
    http=None,
    needs="executions.start",
    effect=Effect.RECORDS,
    entity=Execution,
    example=Example({"execution_id": "exe_00000000000070008000000000000000"}, before=("sandboxes.execute",)),
)
async def mark_started(executions: ExecutionsService, unit: Unit, request: MarkStarted) -> Started:
    """Note that an execution which waited for a slot now runs. Only Thane itself asks for it."""
    started = await executions.mark_started(unit, request.execution_id)
    return Started(id=started.id, status=started.status)


class GetExecution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution_id: str


async def execution_of(unit: Unit, execution_id: str) -> Execution:
    found = await unit.find(Execution, execution_id)
    if found is None:
        raise ExecutionNotFound(f"there is no execution {execution_id}")
    return found


@operation(
    "executions.get",
    http="GET /executions/{execution_id}",
    needs="executions.get",
    effect=Effect.NONE,
    entity=Execution,
    example=Example({"execution_id": "$sandboxes.execute/id"}),
)
async def get_execution(executions: ExecutionsService, unit: Unit, request: GetExecution) -> Execution:
    """Show one execution with its code, output, use and cost."""
    return await execution_of(unit, request.execution_id)


class ListExecutions(ListRequest, frozen=True, kw_only=True):
    sandbox_id: Annotated[str | None, msgspec.Meta(description="Only those of this sandbox")] = None
    search: Annotated[str, msgspec.Meta(description='Words in the code: `pandas OR "read csv" -test`')] = ""


@operation(
    "executions.list",
    http="GET /executions",
    needs="executions.list",
    effect=Effect.NONE,
    entity=Execution,
    lists=True,
    example=Example(),
)
async def list_executions(
    executions: ExecutionsService, unit: Unit, request: ListExecutions
) -> Page[Execution]:
    """List executions, filtered and sorted as you like, or search their code."""
    where = None if request.sandbox_id is None else Execution.sandbox_id == request.sandbox_id
    if request.search:
        found = await unit.search(Execution, request.search, where, request.limit)
        return Page(items=tuple(found))
    return await list_page(unit, Execution, request, where=where)


class ListByExecution(ListRequest, frozen=True, kw_only=True):
    execution_id: str


@operation(
    "executions.output",
    http="GET /executions/{execution_id}/output",
    needs="executions.output",
    effect=Effect.NONE,
    entity=ExecutionChunk,
    lists=True,
    example=Example({"execution_id": "$sandboxes.execute/id"}),
)
async def list_output(
    executions: ExecutionsService, unit: Unit, request: ListByExecution
) -> Page[ExecutionChunk]:
    """List an execution's output as it came, byte for byte; kept for a day."""
    await execution_of(unit, request.execution_id)
    where = ExecutionChunk.execution_id == request.execution_id
    return await list_page(unit, ExecutionChunk, request, where=where, order=(ExecutionChunk.seq.asc(),))


class ReadFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution_id: str
    name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=4096, description="As `output.files` names it")
    ]


class FileContent(msgspec.Struct, frozen=True, kw_only=True):
    """A produced file; `content` is base64."""

    name: str
    size: int
    content: bytes


@operation(
    "executions.read_file",
    http="GET /executions/{execution_id}/file",
    needs="executions.read_file",
    effect=Effect.NONE,
    example=Example(
        {"execution_id": "$sandboxes.execute/id", "name": "report.csv"},
    ),
)
async def read_file(executions: ExecutionsService, unit: Unit, request: ReadFile) -> FileContent:
    """Read a file that an execution produced; files are kept for a day."""
    await execution_of(unit, request.execution_id)
    content = executions.artifacts.read(request.execution_id, request.name)
    return FileContent(name=request.name, size=len(content), content=content)


EXECUTIONS = (
    Execute,
    mark_started,
    get_execution,
    list_executions,
    list_output,
    read_file,
)
