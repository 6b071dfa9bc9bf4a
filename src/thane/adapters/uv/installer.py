"""`UvPackages`: resolves with uv, and installs what it has resolved into a folder named by its digest.

Nothing of a package runs here: wheels only, and byte code is compiled, never executed. A
folder appears whole or not at all, so a crash leaves only a folder that nobody knows.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

from thane.kernel.errors import Invalid, Unavailable

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"(?:===?|~=|!=|<=?|>=?)\s*[A-Za-z0-9.*+!_-]+"
_REQUIREMENT = re.compile(
    rf"{_NAME}(?:\[{_NAME}(?:\s*,\s*{_NAME})*\])?(?:\s*{_VERSION}(?:\s*,\s*{_VERSION})*)?", re.ASCII
)
_MOST_REQUIREMENTS = 256
_SHOWN = 2000  # bytes of what uv has complained of


class UvPackages:
    """See `thane.kernel.ports.packages.Packages`. `root` is made when it is first needed."""

    def __init__(self, root: Path, *, wheels: Path | None = None) -> None:
        """`wheels`: install from this folder of wheels alone, on a machine without a network."""
        self._root = root.absolute()
        self._source = () if wheels is None else ("--no-index", "--find-links", str(wheels.absolute()))

    async def install(self, requirements: tuple[str, ...]) -> Path:
        _check(requirements)
        pinned = await self._resolve(requirements)
        python = _interpreter()
        kind = f"{python} {platform.python_version()} {platform.machine()}\n".encode()
        folder = self._root / hashlib.sha256(kind + pinned).hexdigest()
        if not folder.is_dir():
            await self._fill(folder, pinned)
        return folder

    async def _resolve(self, requirements: tuple[str, ...]) -> bytes:
        """Every package with its one version and the digests of its wheels, as a requirements file."""
        command = ("pip", "compile", "--no-header", "--no-annotate", "--generate-hashes")
        asked = "\n".join(sorted(set(requirements))).encode()
        return await self._uv((*command, "-"), asked)

    async def _fill(self, folder: Path, pinned: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True, mode=0o755)
        made = Path(tempfile.mkdtemp(prefix="new-", dir=self._root))
        try:
            command = ("pip", "install", "--quiet", "--require-hashes", "--compile-bytecode")
            await self._uv((*command, "--target", str(made), "-r", "-"), pinned)
            _put(made, folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    async def _uv(self, command: tuple[str, ...], said: bytes) -> bytes:
        found = shutil.which("uv")
        if found is None:
            raise Unavailable(
                "packages are installed with uv, which is not to be found",
                hint="Install it (`pip install uv`) where the server's PATH leads to it.",
            )
        options = ("--only-binary", ":all:", "--python", _interpreter(), *self._source)
        running = await asyncio.create_subprocess_exec(
            found,
            *command,
            *options,
            cwd="/",
            umask=0o022,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"},
        )
        try:
            out, complaint = await running.communicate(said)
        except asyncio.CancelledError:
            running.kill()
            await running.wait()
            raise
        if running.returncode != 0:
            text = complaint[-_SHOWN:].decode("utf-8", "replace").strip()
            raise Invalid(f"the packages cannot be installed: {text}", hint="Change names or versions.")
        return out


def _put(made: Path, folder: Path) -> None:
    """Give what was made its name. If somebody else was quicker, theirs is the same."""
    (made / ".lock").unlink(missing_ok=True)  # uv's own
    made.chmod(0o755)
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _interpreter() -> str:
    """The one that jails run: this program's, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _check(requirements: tuple[str, ...]) -> None:
    if not 1 <= len(requirements) <= _MOST_REQUIREMENTS:
        raise Invalid(f"{len(requirements)} requirements; from 1 to {_MOST_REQUIREMENTS} can be installed")
    for requirement in requirements:
        if not _REQUIREMENT.fullmatch(requirement):
            raise Invalid(
                f"{requirement!r} is not a package's name with versions",
                hint="Write, for example, `pandas` or `httpx[http2]>=0.27,<1`.",
            )
