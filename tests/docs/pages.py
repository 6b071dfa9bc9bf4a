"""Runs a page of the documentation: its blocks in their order, against a server on a fresh data folder.

`sh` blocks run in bash, `python` blocks in one namespace, and a `text` block is what the block
before it prints, where `…` stands for anything. A block that only says `thane serve` runs in
the background, for all pages.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.program import PATIENCE, READY, environment, eventually
from tests.support.project import ROOT

_FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
SERVE = "thane serve"


class Block(NamedTuple):
    language: str
    body: str
    line: int


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(found["language"], found["body"], text.count("\n", 0, found.start()) + 2)
        for found in _FENCE.finditer(text)
    ]


def agrees(expected: str, printed: str) -> bool:
    """Whether it was printed; `…` is anything, and spaces count as one."""
    wanted = " ".join(expected.split())
    pattern = ".*?".join(re.escape(part.strip()) for part in wanted.split("…")).replace(r"\ ", r"\s+")
    return re.fullmatch(rf"\s*{pattern}\s*", " ".join(printed.split()), re.DOTALL) is not None


class Session:
    """A data folder that all pages share, and its server from the first `thane serve` on."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self._log = folder / "serve.log"
        self._server: subprocess.Popen[bytes] | None = None

    def serve(self, environ: dict[str, str]) -> str:
        """Its URL, once it is ready."""
        if self._server is None:
            with self._log.open("wb") as file:
                self._server = subprocess.Popen(SERVE.split(), env=environ, stdout=file, stderr=file)
        ready = eventually(lambda: READY.search(self._log.read_bytes()), "a server that is ready")
        return f"http://{ready[1].decode()}:{ready[2].decode()}"

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            assert self._server.wait(PATIENCE) == 0, self._log.read_text()


class Page:
    """One page at work in a folder; `environ` is this process's while it runs."""

    def __init__(self, path: Path, folder: Path, environ: MutableMapping[str, str], session: Session) -> None:
        self._path = path
        self._folder = folder
        self._environ = environ
        self._session = session
        self._names: dict[str, Any] = {"__name__": "__main__"}
        scripts = Path(sys.executable).parent
        environ["PATH"] = f"{scripts}{os.pathsep}{os.environ['PATH']}"
        environ["THANE_HTTP_PORT"] = "0"
        environ["THANE_DATA"] = str(session.data)

    def run(self) -> int:
        """All of it; how many blocks ran. AssertionError with the place of what is not as it says."""
        printed, ran = "", 0
        try:
            for block in blocks(self._path.read_text(encoding="utf-8")):
                where = f"{self._path.relative_to(ROOT)}:{block.line}"
                if block.language == "text":
                    assert agrees(block.body, printed), f"{where} expects\n{block.body}\nand saw\n{printed}"
                    continue
                printed = self._do(block, where)
                ran += 1
        finally:
            for value in self._names.values():
                if type(value).__name__ == "Thane":
                    value.close()
        return ran

    def _do(self, block: Block, where: str) -> str:
        if block.language == "python":
            return self._python(block, where)
        assert block.language == "sh", f"{where}: nobody tests a block in {block.language!r}"
        if block.body.strip() == SERVE:
            self._environ["THANE_URL"] = self._session.serve(self._everything())
            return ""
        return self._shell(block, where)

    def _python(self, block: Block, where: str) -> str:
        code = compile("\n" * (block.line - 1) + block.body, str(self._path), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self._names)
        return out.getvalue()

    def _shell(self, block: Block, where: str) -> str:
        state = self._folder / "environment"
        script = f"set -euo pipefail\n{block.body}\nenv -0 > {state}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._everything(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{where}: exit code {done.returncode}\n{done.stderr.decode()}"
        for name, value in _exported(state):
            if name.startswith("THANE_"):
                self._environ[name] = value
        return done.stdout.decode()

    def _everything(self) -> dict[str, str]:
        given = {name: value for name, value in self._environ.items() if name.startswith(("THANE_", "PATH"))}
        return environment(**given)


def _exported(state: Path) -> Iterator[tuple[str, str]]:
    for pair in state.read_text(encoding="utf-8").split("\0"):
        name, equals, value = pair.partition("=")
        if equals:
            yield name, value
