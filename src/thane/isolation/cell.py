"""One execution in a stateful context, or one command beside it, from its start to its verdict.

At its timeout the code is interrupted as by Ctrl-C, and if it does not stop its process
is killed, with the context's variables. The context itself is not trusted: it can say
that an execution is over, and that is all that it can say.
"""

from __future__ import annotations

import asyncio
import marshal
import os
import re
import signal
import socket
import time
from dataclasses import replace
from typing import Any

from thane.isolation import accounting, collection, deposit, launch, tiers
from thane.isolation.execution import Finished
from thane.isolation.host import Host
from thane.isolation.monitor import Send
from thane.isolation.output import Output
from thane.isolation.request import Refused, Request
from thane.isolation.sandbox import Context, Process, Sandbox
from thane.isolation.verdict import Ended, judge

_GRACE_SECONDS = 1.0
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_DONE = re.compile(rb"done (\d{1,9}) (\d{1,3})")


class Cell:
    def __init__(self, host: Host, sandbox: Sandbox, request: Request, send: Send) -> None:
        self.cause: str | None = None
        self._host = host
        self._sandbox = sandbox
        self._request = request
        self._send = send
        self._process: Process | None = None
        self._over = asyncio.Event()
        self._code: int | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> Finished:
        """Run to the end. Raises Refused when it could not be started at all."""
        request, place = self._request, self._sandbox.jail.place
        if self._sandbox.lost.is_set():
            raise Refused("not_found", "the sandbox has ended", "Create a new one.")
        inputs = self._fill()
        group = self._sandbox.jail.group
        kills = group.oom_kills() if group is not None else 0
        began, usage = time.monotonic(), accounting.Usage()
        with self._sandbox.busy():
            before, outputs, status = await self._live(usage)
        usage.wall_us = int((time.monotonic() - began) * 1e6)
        usage.cpu_us = max(0, self._cpu_us() - before)
        # Of a sandbox that was ended by whoever has it, the group may be gone already.
        closed = self._sandbox.cause == "closed"
        oom_kills = group.oom_kills() - kills if group is not None and not closed else 0
        if oom_kills:
            self._sandbox.exhausted("memory")  # what else of it the kernel has killed is not known
            await self._sandbox.lost.wait()
        report = self._report(status)
        cause = self._sandbox.cause or self.cause
        ended = Ended(cause, report, status, oom_kills, outputs[0].truncated, outputs[1].truncated)
        found = collection.Found()
        if request.collect and not self._sandbox.lost.is_set():
            found = collection.scan(place.workspace, inputs, self._sandbox.limits.disk_bytes)
        tier = self._sandbox.jail.tier
        verdict = judge(self._request, tier, tiers.enforcement(tier, self._host), ended, usage, found)
        if self.cause == "timeout" and request.language == "python":
            kept = "kept" if self._code is not None else "lost, as it did not stop when interrupted"
            verdict["message"] += f"; the context's variables are {kept}"
        if self._sandbox.lost.is_set():
            verdict["message"] += "; the sandbox has ended with its contexts and files"
        verdict |= {"jail": self._sandbox.id, "jail_alive": not self._sandbox.lost.is_set()}
        verdict["context_alive"] = self._sandbox.has_context(request.context or "")
        kept_place = place if request.collect and not self._sandbox.lost.is_set() else None
        return Finished(verdict, kept_place, self._sandbox.limits.disk_bytes, shared=True)

    def stop(self, cause: str) -> None:
        """Interrupt it, and kill it if that is not enough. The first cause counts."""
        if self.cause is not None:
            return
        self.cause = cause
        if self._process is None:
            return
        if self._request.language == "python":
            self._process.signal(signal.SIGINT)
            self._loop.call_later(_GRACE_SECONDS, self._kill)
        else:
            self._kill()

    def raise_memory(self, memory_bytes: int) -> bool:
        """Let the sandbox have more memory from now on."""
        limits = replace(self._sandbox.limits, memory_bytes=memory_bytes)
        self._sandbox.raise_memory(limits)
        self._request = replace(
            self._request, limits=replace(self._request.limits, memory_bytes=memory_bytes)
        )
        return True

    def _kill(self) -> None:
        """Its process and those of its process group; what left the group ends with the sandbox."""
        if self._process is not None and not self._over.is_set():
            self._process.kill_group()

    def _fill(self) -> dict[str, collection.Fingerprint]:
        jail, inputs = self._sandbox.jail, {}
        try:
            for name, content in self._request.files:
                inputs[name] = deposit.put(jail.place.workspace, name, content, self._sandbox.owner)
        except OSError as error:
            message = f"the input files do not fit the workspace: {error}"
            raise Refused("invalid", message, "Send less, rename the file, or raise --disk.") from error
        return inputs

    # -- running ---------------------------------------------------------------------------

    async def _live(self, usage: accounting.Usage) -> tuple[int, tuple[Output, Output], int]:
        """CPU time before, the outputs, and the wait status (0 while the process lives on)."""
        out, err = os.pipe(), os.pipe()
        streams = [launch.standard_input(self._request), out[1], err[1]]
        limit = self._request.limits.output_bytes
        outputs = (
            Output(out[0], limit, lambda data: self._send({"t": "output", "stream": "stdout"}, data)),
            Output(err[0], limit, lambda data: self._send({"t": "output", "stream": "stderr"}, data)),
        )
        context: Context | None = None
        try:
            if self._request.language == "python":
                context = await self._begin_in_context(streams)
            else:
                self._process = await self._sandbox.start(self._request, "command", streams)
            before = self._cpu_us()
            await self._until_over(usage)
        finally:
            if context is not None and context.channel.fileno() >= 0:
                self._loop.remove_reader(context.channel.fileno())
            for output in outputs:
                output.drain()
        process = self._process
        assert process is not None, "it was begun above"
        return before, outputs, process.status if process.ended.is_set() else 0

    async def _begin_in_context(self, streams: list[int]) -> Context:
        request = self._request
        try:
            context = await self._sandbox.context(request)
            self._process = context.process
            context.cells += 1
            spec = launch.sealed_memory(marshal.dumps({"code": request.code, "env": dict(request.env)}))
            streams.append(spec)
            self._loop.add_reader(context.channel.fileno(), self._hear, context)
            try:
                socket.send_fds(context.channel, [b"%d" % context.cells], streams)
            except OSError:
                context.process.signal(signal.SIGKILL)  # it has closed its channel: its end is the answer
        finally:
            for descriptor in streams:
                os.close(descriptor)
        return context

    def _hear(self, context: Context) -> None:
        try:
            said = context.channel.recv(64)
        except ConnectionResetError:
            said = b""
        if not said:
            self._loop.remove_reader(context.channel.fileno())
            context.process.signal(signal.SIGKILL)
            return
        done = _DONE.fullmatch(said)
        if done is None or int(done[1]) != context.cells:
            # Only the code itself says such things, and might never stop.
            self._loop.remove_reader(context.channel.fileno())
            self.cause = self.cause or "broken"
            context.process.signal(signal.SIGKILL)
            return
        self._code = int(done[2]) & 0xFF
        self._over.set()

    async def _until_over(self, usage: accounting.Usage) -> None:
        process = self._process
        assert process is not None, "it was begun before"
        timer = self._loop.call_later(self._request.limits.timeout_ms / 1000, self.stop, "timeout")
        sampling = asyncio.create_task(self._sample(usage))
        ending = asyncio.create_task(process.ended.wait())
        done = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait((ending, done), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._kill()
            raise
        finally:
            timer.cancel()
            for task in (sampling, ending, done):
                task.cancel()

    async def _sample(self, usage: accounting.Usage) -> None:
        began = time.monotonic()
        while True:
            usage.wall_us = int((time.monotonic() - began) * 1e6)
            memory = self._sandbox.monitor.look()
            usage.peak_memory_bytes = max(usage.peak_memory_bytes, memory)
            usage.workspace_bytes = accounting.used_of_file_system(self._sandbox.jail.place.base)
            sample = {"t": "sample", "at_us": usage.wall_us, "memory_bytes": memory}
            self._send({**sample, "usage": usage.as_dict()}, b"")
            await asyncio.sleep(self._request.sample_seconds)

    def _cpu_us(self) -> int:
        """CPU time of the process and of what it has reaped, so far; by the kernel's clock ticks."""
        process = self._process
        if process is None or process.ended.is_set():
            return process.cpu_us if process is not None else 0
        try:
            with open(f"/proc/{process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return process.cpu_us
        return sum(int(field) for field in fields[11:15]) * _TICK_US

    def _report(self, status: int) -> dict[str, Any]:
        if self._code is not None:
            return {"exit": self._code}
        if os.WIFSIGNALED(status):
            return {"signal": os.WTERMSIG(status)}
        return {"exit": os.WEXITSTATUS(status)}
