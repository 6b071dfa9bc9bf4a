"""Connections: who may speak, which frame means what, and what a lost connection ends.

Each connection starts with `hello`; then any number of requests, each with a stream id
of the client's choosing. Everything a job does is answered on its stream.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from thane.isolation import collection, files, request, wire
from thane.isolation.jobs import Jobs
from thane.isolation.probe import Probe
from thane.isolation.request import Refused
from thane.isolation.sandbox import Sandbox
from thane.isolation.sandboxes import Sandboxes
from thane.isolation.wire import Header

_FILE_PIECE = 1 << 18
_OVERFLOW_UID = 65534


def peer_may_speak(connection: socket.socket, *, in_user_namespace: bool) -> bool:
    """Whether the other side is this program's own user, or root.

    Inside a user namespace of our own every foreign uid, root's too, reads as the
    overflow uid; there the socket's mode (0600), which only root passes, has decided.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (0, os.getuid()) or (in_user_namespace and uid == _OVERFLOW_UID)


class Connection:
    """One client. Its jobs live no longer than it does."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        jobs: Jobs,
        sandboxes: Sandboxes,
        probe: Probe,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._jobs = jobs
        self._sandboxes = sandboxes
        self._server: str | None = None  # the client's name, once it has said hello
        self._probe = probe
        self._own: set[str] = set()  # ids of jobs that this client asked for
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: dict[str, Callable[[Header, bytes], Awaitable[None]]] = {
            "run": self._run,
            "cancel": self._cancel,
            "recall": self._recall,
            "collect": self._collect,
            "release": self._release,
            "ladder": self._ladder,
            "context.list": self._list_contexts,
            "context.end": self._end_context,
            "sandbox.close": self._close_sandbox,
            "sandbox.idle": self._idle,
            "memory.raise": self._raise_memory,
            "file.write": self._write_file,
            "file.read": self._read_file,
            "file.list": self._list_files,
            "file.remove": self._remove_file,
        }

    async def serve(self) -> None:
        """Speak until the client leaves; then end and reap all its jobs."""
        try:
            if await self._hello():
                while (frame := await wire.read(self._reader)) is not None:
                    self._dispatch(*frame)
        except wire.ProtocolError as error:
            self._send({"t": "error", "id": 0, "code": "protocol", "message": str(error), "hint": ""})
        except ConnectionError:
            pass  # the client is gone: what follows is the same as when it says goodbye
        finally:
            for job_id in self._own:
                self._jobs.stop(job_id, "lost")
            if self._tasks:
                await asyncio.wait(self._tasks)
            for job_id in self._own:
                self._jobs.release(job_id)
            if self._server is not None:
                self._sandboxes.leave(self._server)
            self._writer.close()

    async def _hello(self) -> bool:
        frame = await wire.read(self._reader)
        if frame is None:
            return False
        header, _ = frame
        if header["t"] != "hello" or wire.VERSION not in header.get("versions", []):
            message = f"this isolation program speaks version {wire.VERSION} only"
            hint = "Stop all servers of this host, so that the program ends, and start them again."
            self._send({"t": "error", "id": 0, "code": "version", "message": message, "hint": hint})
            return False
        self._server = str(header.get("server_name", ""))
        self._sandboxes.arrive(self._server)
        self._send({"t": "hello", "version": wire.VERSION, "pid": os.getpid()})
        return True

    def _dispatch(self, header: Header, body: bytes) -> None:
        stream = header.get("id")
        if not isinstance(stream, int):
            raise wire.ProtocolError("a frame has no stream id")
        task = asyncio.create_task(self._answer(header, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, header: Header, body: bytes) -> None:
        kind, stream = header["t"], header["id"]
        try:
            if kind not in self._handlers:
                raise Refused("unsupported", f"unknown frame type {kind!r}")
            await self._handlers[kind](header, body)
        except Refused as refused:
            self._refuse(stream, refused)
        except Exception as error:  # one request's defect must not end the other jobs
            traceback.print_exc(file=sys.stderr)
            self._refuse(
                stream, Refused("internal", f"the isolation program failed: {error!r}", "See its log.")
            )

    def _refuse(self, stream: int, refused: Refused) -> None:
        self._send(
            {
                "t": "error",
                "id": stream,
                "code": refused.code,
                "message": refused.message,
                "hint": refused.hint,
            }
        )

    def _send(self, header: Header, body: bytes = b"") -> None:
        if not self._writer.is_closing():
            self._writer.write(wire.encode(header, body))

    # -- requests ------------------------------------------------------------------------

    async def _run(self, header: Header, body: bytes) -> None:
        job = request.parse(header, body)
        self._own.add(job.id)
        stream = header["id"]

        def send(event: dict[str, Any], data: bytes) -> None:
            self._send({**event, "id": stream}, data)

        verdict = await self._jobs.run(job, send, self._server or "")
        if self._jobs.folders_of(job.id) is None:
            self._own.discard(job.id)
        self._send({"t": "verdict", "id": stream, "verdict": verdict})

    async def _cancel(self, header: Header, _: bytes) -> None:
        self._jobs.stop(_job_id(header), "cancelled")
        self._send({"t": "cancelled", "id": header["id"]})

    async def _recall(self, header: Header, _: bytes) -> None:
        self._send({"t": "recalled", "id": header["id"], "verdict": self._jobs.recall(_job_id(header))})

    async def _release(self, header: Header, _: bytes) -> None:
        self._jobs.release(_job_id(header))
        self._own.discard(_job_id(header))
        self._send({"t": "released", "id": header["id"]})

    async def _list_contexts(self, header: Header, _: bytes) -> None:
        contexts = self._sandboxes.contexts(self._server or "", _text(header, "sandbox_id"))
        self._send({"t": "contexts", "id": header["id"], "contexts": contexts})

    async def _end_context(self, header: Header, _: bytes) -> None:
        name = _text(header, "context")
        self._sandboxes.end_context(self._server or "", _text(header, "sandbox_id"), name)
        self._send({"t": "ended", "id": header["id"]})

    async def _close_sandbox(self, header: Header, _: bytes) -> None:
        await self._jobs.close_sandbox(self._server or "", _text(header, "sandbox_id"))
        self._send({"t": "closed", "id": header["id"]})

    async def _idle(self, header: Header, _: bytes) -> None:
        idle = self._sandboxes.idle(self._server or "")
        self._send({"t": "idle", "id": header["id"], "idle": idle})

    async def _ladder(self, header: Header, _: bytes) -> None:
        reports = await self._probe.ladder(on_demand=bool(header.get("on_demand", True)))
        self._send({"t": "ladder", "id": header["id"], "tiers": reports})

    async def _collect(self, header: Header, _: bytes) -> None:
        """Each file in pieces (`file` frames; the last one of a file says `end`), then `collected`."""
        job_id, stream = _job_id(header), header["id"]
        finished = self._jobs.folders_of(job_id)
        if finished is None or finished.place is None:
            raise Refused("not_found", f"the files of job {job_id} are not here any more")
        for entry in finished.verdict["files"]:
            name = entry["name"]
            try:
                descriptor = collection.open_file(finished.place.workspace, name, finished.disk_bytes)
            except OSError as error:
                raise Refused("refused", f"{name} cannot be taken out: {error}") from error
            await self._send_file(stream, name, descriptor, finished.disk_bytes)
        self._send({"t": "collected", "id": stream, "files": finished.verdict["files"]})

    async def _send_file(self, stream: int, name: str, descriptor: int, most: int) -> None:
        left = most  # in a living sandbox it may grow while it is read
        try:
            while left > 0 and (data := os.read(descriptor, min(left, _FILE_PIECE))):
                left -= len(data)
                self._send({"t": "file", "id": stream, "name": name, "end": False}, data)
                await self._writer.drain()
        finally:
            os.close(descriptor)
        self._send({"t": "file", "id": stream, "name": name, "end": True})

    async def _raise_memory(self, header: Header, _: bytes) -> None:
        memory = header.get("memory_bytes")
        if not isinstance(memory, int) or memory <= 0:
            raise Refused("invalid", "the frame has no number `memory_bytes`")
        raised = self._jobs.raise_memory(_job_id(header), memory)
        self._send({"t": "raised", "id": header["id"], "raised": raised})

    # -- files of stateful sandboxes -----------------------------------------------------

    async def _write_file(self, header: Header, body: bytes) -> None:
        sandbox = await self._jobs.home(request.parse_home(header), self._server or "")
        files.write(sandbox, _text(header, "name"), body)
        self._send({"t": "written", "id": header["id"], "jail": sandbox.id})

    async def _read_file(self, header: Header, _: bytes) -> None:
        name = _text(header, "name")
        sandbox = self._home(header)
        descriptor = files.open_to_read(sandbox, name)
        await self._send_file(header["id"], name, descriptor, sandbox.limits.disk_bytes)

    async def _list_files(self, header: Header, _: bytes) -> None:
        found = files.find(self._home(header), _text(header, "folder"))
        listed = {
            "files": [{"name": name, "size": size} for name, size in found.files],
            "refused_files": [list(entry) for entry in found.refused],
            "files_left_out": found.left_out,
        }
        self._send({"t": "files", "id": header["id"], "listing": listed})

    async def _remove_file(self, header: Header, _: bytes) -> None:
        files.remove(self._home(header), _text(header, "name"))
        self._send({"t": "removed", "id": header["id"]})

    def _home(self, header: Header) -> Sandbox:
        return self._sandboxes.find_in(self._server or "", _text(header, "sandbox_id"), _text(header, "jail"))


def _job_id(header: Header) -> str:
    return _text(header, "job_id")


def _text(header: Header, name: str) -> str:
    value = header.get(name)
    if not isinstance(value, str):
        raise Refused("invalid", f"the frame has no text `{name}`")
    return value
