"""`IsolationClient`: the isolation port, over the isolation program's socket.

Starts the program when nobody has, keeps one connection, and connects anew when the
program has died. It decides nothing about isolation; it translates.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import msgspec

from thane.adapters.isolation import frames, program
from thane.adapters.isolation.connection import Connection, ConnectionLost, Stream
from thane.adapters.isolation.frames import Header
from thane.adapters.isolation.landing import Landing
from thane.kernel.errors import Gone, Invalid, IsolationUnavailable, NotFound, ThaneError
from thane.kernel.ports.isolation import (
    Context,
    ContextLost,
    Enforcement,
    Home,
    Job,
    Listing,
    Outcome,
    OutputChunk,
    ProducedFile,
    Progress,
    SandboxLost,
    TierReport,
    Usage,
    Verdict,
)

_START_SECONDS = 20.0
_START_PAUSE = 0.005
_LOG_TAIL = 2000
_NOTHING_ENFORCED = Enforcement(
    memory="none", cpu="none", disk="none", timeout="none", processes="none", output="none", network="none"
)


class IsolationClient:
    """See `thane.kernel.ports.isolation.Isolation` for what each method promises."""

    def __init__(
        self,
        socket_path: Path,
        log_path: Path,
        slots: int,
        server_name: str,
        *,
        program_arguments: tuple[str, ...] = (),
    ) -> None:
        """`program_arguments` go to the program if this client starts it; they are for tests."""
        self._socket_path = socket_path.absolute()
        self._log_path = log_path.absolute()
        self._slots = slots
        self._server_name = server_name
        self._program_arguments = program_arguments
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._start_seconds = _START_SECONDS

    # -- connecting ----------------------------------------------------------------------

    async def start(self) -> None:
        await self._connected()

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.alive:
                if self._connection is not None:
                    await self._connection.close()
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> Connection:
        """Connect, starting the program when nobody listens. A program that is just ending is waited out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._start_seconds
        started = False
        while loop.time() < deadline:
            try:
                connection = program.connect(self._socket_path)
                if connection is not None:
                    return await Connection.open(connection, self._server_name)
                if not started:
                    self._launch()
                    started = True
            except ConnectionLost:
                started = False  # it was on its way out: the next one has to be started
            except ValueError as error:
                raise IsolationUnavailable(
                    f"the isolation program refuses to speak with us: {error}"
                ) from error
            except OSError as error:
                raise IsolationUnavailable(
                    f"the isolation program cannot be started or reached: {error}"
                ) from error
            await asyncio.sleep(_START_PAUSE)
        message = (
            f"the isolation program did not answer on {self._socket_path} within {self._start_seconds:g} s"
        )
        raise IsolationUnavailable(f"{message}: {self._log_end()}", hint=f"Read its log, {self._log_path}.")

    def _launch(self) -> None:
        self._socket_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        program.launch(self._socket_path, self._log_path, self._slots, self._program_arguments)

    def _log_end(self) -> str:
        try:
            return (
                self._log_path.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace").strip()
                or "its log is empty"
            )
        except OSError as error:
            return f"its log cannot be read ({error})"

    @asynccontextmanager
    async def _request(self, header: Header, body: bytes = b"") -> AsyncIterator[Stream]:
        connection = await self._connected()
        async with connection.stream(header, body) as stream:
            yield stream

    async def _ask(self, header: Header, body: bytes = b"") -> Header:
        """One request with one answer."""
        try:
            async with self._request(header, body) as stream:
                answer, _ = await stream.next()
        except ConnectionLost as error:
            raise IsolationUnavailable(f"{error}; its log says: {self._log_end()}") from error
        if answer["t"] == "error":
            _raise(answer)
        return answer

    # -- the port ------------------------------------------------------------------------

    async def ladder(self, *, on_demand: bool = True) -> tuple[TierReport, ...]:
        return frames.tiers((await self._ask({"t": "ladder", "on_demand": on_demand}))["tiers"])

    async def run(self, job: Job) -> AsyncIterator[Progress]:
        header, body = frames.run_frame(job)
        ended = False
        try:
            async with self._request(header, body) as stream:
                while not ended:
                    answer, data = await stream.next()
                    kind = answer["t"]
                    ended = kind in ("verdict", "error")
                    if kind == "output":
                        yield OutputChunk(answer["stream"], data)
                    elif kind == "sample":
                        yield frames.sample(answer)
                    elif kind == "verdict":
                        yield frames.verdict(answer["verdict"])
                    elif answer["code"] == "cancelled":
                        yield _without_run(job, Outcome.CANCELLED, answer["message"])
                    else:
                        _raise(answer)
        except ConnectionLost:
            ended = True
            message = "the isolation program died while the code ran, and all its jails with it; run it again"
            yield _without_run(job, Outcome.HOST_LOST, message)
        finally:
            if not ended and self._connection is not None:
                self._connection.say({"t": "cancel", "job_id": job.id})

    async def cancel(self, job_id: str) -> None:
        await self._ask({"t": "cancel", "job_id": job_id})

    async def recall(self, job_id: str) -> Verdict | None:
        found = (await self._ask({"t": "recall", "job_id": job_id}))["verdict"]
        return None if found is None else frames.verdict(found)

    async def collect(self, job_id: str, into: Path) -> tuple[ProducedFile, ...]:
        landing = Landing(into)
        current: int | None = None
        try:
            async with self._request({"t": "collect", "job_id": job_id}) as stream:
                while True:
                    answer, data = await stream.next()
                    if answer["t"] == "error":
                        _raise(answer)
                    if answer["t"] == "collected":
                        return frames.files(answer["files"])
                    if current is None:
                        current = landing.create(answer["name"])
                    _write_all(current, data)
                    if answer["end"]:
                        os.close(current)
                        current = None
        except ConnectionLost as error:
            raise Gone(f"the files of job {job_id} went with the isolation program") from error
        finally:
            if current is not None:
                os.close(current)
            landing.close()

    async def release(self, job_id: str) -> None:
        await self._ask({"t": "release", "job_id": job_id})

    async def contexts(self, sandbox_id: str) -> tuple[Context, ...]:
        return frames.contexts((await self._ask({"t": "context.list", "sandbox_id": sandbox_id}))["contexts"])

    async def end_context(self, sandbox_id: str, context: str) -> None:
        await self._ask({"t": "context.end", "sandbox_id": sandbox_id, "context": context})

    async def idle(self) -> dict[str, float]:
        if self._connection is None or not self._connection.alive:
            return {}  # what does not run has no sandboxes, and is not started to be asked
        return msgspec.convert(
            (await self._ask({"t": "sandbox.idle"}))["idle"], dict[str, float], strict=False
        )

    async def close_sandbox(self, sandbox_id: str) -> None:
        await self._ask({"t": "sandbox.close", "sandbox_id": sandbox_id})

    async def raise_memory(self, job_id: str, memory_bytes: int) -> bool:
        asked = {"t": "memory.raise", "job_id": job_id, "memory_bytes": memory_bytes}
        return bool((await self._ask(asked))["raised"])

    async def write_file(self, home: Home, name: str, content: bytes) -> str:
        return str((await self._ask(frames.write_frame(home, name), content))["jail"])

    async def read_file(self, sandbox_id: str, jail: str, name: str) -> bytes:
        parts: list[bytes] = []
        asked = {"t": "file.read", "sandbox_id": sandbox_id, "jail": jail, "name": name}
        try:
            async with self._request(asked) as stream:
                while True:
                    answer, data = await stream.next()
                    if answer["t"] == "error":
                        _raise(answer)
                    parts.append(data)
                    if answer["end"]:
                        return b"".join(parts)
        except ConnectionLost as error:
            raise SandboxLost(f"the files of {sandbox_id} went with the isolation program") from error

    async def list_files(self, sandbox_id: str, jail: str, folder: str = "") -> Listing:
        asked = {"t": "file.list", "sandbox_id": sandbox_id, "jail": jail, "folder": folder}
        return frames.listing((await self._ask(asked))["listing"])

    async def remove_file(self, sandbox_id: str, jail: str, name: str) -> None:
        await self._ask({"t": "file.remove", "sandbox_id": sandbox_id, "jail": jail, "name": name})

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _without_run(job: Job, outcome: Outcome, message: str) -> Verdict:
    """The verdict of a job of which there is nothing to measure."""
    return Verdict(
        job_id=job.id,
        outcome=outcome,
        exit_code=1,
        signal=None,
        message=message,
        usage=Usage(),
        tier=job.minimum_tier,
        enforcement=_NOTHING_ENFORCED,
        stdout_truncated=False,
        stderr_truncated=False,
    )


_ERRORS: dict[str, type[ThaneError]] = {
    "invalid": Invalid,
    "not_found": NotFound,
    "refused": Invalid,
    "sandbox_lost": SandboxLost,
    "context_lost": ContextLost,
    "isolation_unavailable": IsolationUnavailable,
    "jail_failed": IsolationUnavailable,
}


def _raise(answer: Header) -> NoReturn:
    """The program's refusal as an error of Thane's tree."""
    kind = _ERRORS.get(answer["code"], IsolationUnavailable)
    raise kind(answer["message"], hint=answer["hint"] or None)
