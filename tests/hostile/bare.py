"""Runs a program without a jail, in a stand-in host, and says whether it did its evil there."""

from __future__ import annotations

import base64
import functools
import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.hostile.rows import PRELUDE, Program, Shown

_STAND_IN = Path(__file__).parent / "standin.py"
_BOUND_S = 15
_AT_ONCE = 4
_NEW_USER = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x10000000) != 0)"


@dataclass(frozen=True)
class Finding:
    shown: bool
    lacking: bool  # the kernel or the machine has no such thing
    detail: str


@functools.cache
def namespaces_are_allowed() -> bool:
    """Whether a bare program of this user may make namespaces, and so whether there can be a stand-in."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", _NEW_USER], check=False).returncode == 0


def run(program: Program, how: Shown) -> Finding:
    plan = {
        "source": program.source,
        "prelude": PRELUDE,
        "raw": program.raw,
        "language": program.language,
        "env": dict(program.env),
        "files": {name: base64.b64encode(content).decode() for name, content in program.files.items()},
        "stdin": base64.b64encode(program.stdin).decode(),
        "visited": program.visited,
        "by": how.by,
        "amount": how.amount,
        "spare_uid": how.spare_uid,
        "bound_s": _BOUND_S,
    }
    done = subprocess.run(
        [os.path.realpath(sys.executable), "-I", "-S", "-B", str(_STAND_IN)],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    try:
        answer = json.loads(done.stdout[done.stdout.index("{") :])  # some programs write to every descriptor
    except ValueError:
        return Finding(False, False, f"the stand-in ended with {done.returncode}: {done.stderr[-2000:]}")
    if "error" in answer:
        return Finding(False, False, f"the stand-in failed: {answer['error']}")
    said = answer["stdout"] + (" SIGSEGV" if answer["status"] == 11 else "")
    lacking = not answer["shown"] and any(name in said for name in how.may_lack)
    return Finding(bool(answer["shown"]), lacking, json.dumps(answer, indent=1))


class Runs:
    """Runs of the programs that tests will ask for, a few at once, begun when the first is asked for."""

    def __init__(self, wanted: list[Program]) -> None:
        as_root = os.getuid() == 0
        self._wanted = [
            program
            for program in wanted
            if isinstance(program.bare, Shown) and (as_root or not program.bare.root_only)
        ]
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._runs: dict[str, Future[Finding]] = {}

    def of(self, program: Program) -> Finding:
        if not self._runs:
            for wanted in self._wanted:
                assert isinstance(wanted.bare, Shown)
                self._runs[wanted.name] = self._pool.submit(run, wanted, wanted.bare)
        return self._runs[program.name].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
