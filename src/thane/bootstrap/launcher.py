"""What the command line uses to open data folders, serve them, and read them beside their owner."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from thane.adapters.disk import DataFolder
from thane.bootstrap.edge import make_server, read_again, tls_of, with_room
from thane.bootstrap.joining import JoiningCaller, visitors_served
from thane.bootstrap.place import data_folder, refuse_impossible
from thane.bootstrap.reading import StoreReader
from thane.bootstrap.system import System
from thane.interfaces.cli.launcher import Copy, Ledger, Ready
from thane.interfaces.http.door import Behind, Door
from thane.interfaces.local import Caller, InProcess, UnixSocket
from thane.kernel.errors import FolderInUse, NotFound
from thane.kernel.logs import Scrubber, configure
from thane.kernel.operations.registry import Operations
from thane.kernel.ports.isolation import TierReport
from thane.kernel.ports.machine import Examination
from thane.kernel.settings import Loaded, find_config, load
from thane.kernel.settings_effect import idle

log = logging.getLogger(__name__)

# An owner that is leaving has this long beyond its drain time to give the folder up.
PATIENCE_SECONDS = 5.0
# What outlasts the drain time is ended, and may take so long to be settled and answered before it is cut off.
ANSWER_SECONDS = 5


class ProgramLauncher:
    """See `thane.interfaces.cli.launcher.Launcher` for what each method promises."""

    def settings(self, config: str | None, overrides: Mapping[str, Any]) -> Loaded:
        loaded = load(find_config(config, os.environ), os.environ, overrides)
        refuse_impossible(loaded.settings)
        return loaded

    def data(self, option: str | None) -> Path:
        return Path(option or os.environ.get("THANE_DATA") or ".thane")

    @asynccontextmanager
    async def calling(self, data: Path, loaded: Loaded) -> AsyncIterator[Caller]:
        folder = data_folder(data, loaded.settings)
        async with AsyncExitStack() as kept:

            async def join() -> Caller:
                system = await self._owned(folder, loaded)
                if system is None:
                    return UnixSocket(folder.socket)
                return await kept.enter_async_context(self._owning(system))

            caller = JoiningCaller(join, self._patience(loaded))
            await caller.join()
            yield caller

    @asynccontextmanager
    async def _owning(self, system: System) -> AsyncIterator[Caller]:
        """Others find this process while it owns the folder; what they began is finished before it leaves."""
        drain = system.settings.http.drain_timeout_secs

        def server() -> Behind:
            return make_server(system.app, system.settings, drain + ANSWER_SECONDS)

        door = Door(system.folder.socket, server)
        try:
            door.open()
            yield InProcess(system.app)
            if not await visitors_served(system.pipeline.effects):
                drain = 0
        finally:
            await _ended(system, door.close(), drain)

    def _patience(self, loaded: Loaded) -> float:
        """How long an owner may take to leave: a server that is told to stop answers nobody new meanwhile."""
        return loaded.settings.http.drain_timeout_secs + ANSWER_SECONDS + PATIENCE_SECONDS

    async def _owned(self, folder: DataFolder, loaded: Loaded) -> System | None:
        """A started system that owns the folder; None if another process does and answers."""
        self._log(loaded, quiet=True)
        deadline = time.monotonic() + self._patience(loaded)
        while True:
            system = System(loaded.settings, folder, role="command")
            try:
                await system.start()
            except FolderInUse:
                if folder.socket.exists():
                    return None
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return system

    @asynccontextmanager
    async def reading(self, data: Path, loaded: Loaded) -> AsyncIterator[Ledger]:
        folder = data_folder(data, loaded.settings)
        if not folder.exists:
            raise NotFound(f"there is no store in {folder.path}", hint="Try: thane run -c 'print(1)'")
        self._log(loaded, quiet=True)
        reader = StoreReader(loaded.settings, folder)
        await reader.open()
        try:
            yield reader
        finally:
            await reader.close()

    async def copied(self, data: Path, loaded: Loaded, into: Path) -> Copy:
        from thane.bootstrap.touching import TouchedCopy

        return await TouchedCopy.of(data_folder(data, loaded.settings), into)

    async def serving(self, data: Path, loaded: Loaded) -> AsyncIterator[Ready]:
        started = time.monotonic()
        self._log(loaded, quiet=False)
        folder = data_folder(data, loaded.settings)
        settings, tls = with_room(loaded.settings), tls_of(loaded.settings)
        system = System(settings, folder, role="server")
        await system.start()
        drain = settings.http.drain_timeout_secs
        server = make_server(system.app, settings, drain + ANSWER_SECONDS, tls)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stop.set)
        if tls is not None:
            loop.add_signal_handler(signal.SIGHUP, read_again, tls)
        try:
            await server.start_unix(folder.socket)
            host, port = await server.start_tcp(settings.http.host, settings.http.port)
            shown = f"[{host}]" if ":" in host else host
            yield Ready(
                url=f"http{'' if tls is None else 's'}://{shown}:{port}",
                data=folder.path,
                tier=await system.best_tier(),
                setup_link=await system.owner.setup_link() if system.is_new else None,
                seconds=time.monotonic() - started,
            )
            await stop.wait()
        finally:
            await _ended(system, server.stop(), drain)

    def operations(self) -> Operations:
        with TemporaryDirectory() as scratch:
            return System.unopened(load(None, {}).settings, DataFolder(Path(scratch))).operations

    async def examine(self, data: Path, config: str | None) -> Examination:
        from thane.bootstrap.examine import examine

        return await examine(data, config, self.ladder)

    async def ladder(self, data: Path, loaded: Loaded) -> tuple[TierReport, ...]:
        """The isolation tiers of this machine, probed."""
        if await asyncio.to_thread(data.exists):
            return await System.probe(loaded.settings, data_folder(data, loaded.settings))
        # Looking at the machine leaves nothing behind.
        with TemporaryDirectory(prefix="thane-") as scratch:
            return await System.probe(loaded.settings, DataFolder(Path(scratch)))

    def _log(self, loaded: Loaded, *, quiet: bool) -> None:
        """A server logs as its settings say; a command only what went wrong."""
        level = "error" if quiet and loaded.settings.log.level == "info" else loaded.settings.log.level
        configure(level=level, style=loaded.settings.log.format, scrub=Scrubber(loaded.secrets()))
        for setting in idle(loaded.settings):
            log.warning("%s", setting)


async def _ended(system: System, hang_up: Coroutine[Any, Any, None], drain: int) -> None:
    """Take no more, let what was begun end, end what does not, and answer all of it; then stop."""
    try:
        await asyncio.gather(hang_up, system.pipeline.close(drain))
    finally:
        await system.stop()
