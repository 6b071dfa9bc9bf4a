"""The same tests again, as an ordinary user and where the kernel refuses new namespaces.

As root these start a second pytest, with the tests that are marked `for_others`; as an
ordinary user the first of them is what the whole run is anyway.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import require

_ROOT = Path(__file__).parents[2]
_DENY = str(_ROOT / "tests/fresh/deny_namespaces.py")
_UID = 12345
_SYSTEM_PYTHON = "/usr/bin/python3"
# Tier T1 is attacked in the main run already; what differs here is where its workspace lies.
_WITHOUT_ATTACKS = ("-k", "not hostile_program")
_NEEDED = "import anyio, msgspec, pytest, thane"


def _environment(home: str) -> dict[str, str]:
    packages = sysconfig.get_path("purelib")
    kept = {name: os.environ[name] for name in ("THANE_TEST_CI", "CI") if name in os.environ}
    return {
        "HOME": home,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join((str(_ROOT), str(_ROOT / "src"), packages)),
        **kept,
    }


def _run(command: list[str], home: str, uid: int | None) -> subprocess.CompletedProcess[str]:
    identity = {} if uid is None else {"user": uid, "group": uid, "extra_groups": ()}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, cwd=home, env=_environment(home), capture_output=True, text=True, check=False, **identity
    )


@pytest.fixture
def home() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="thane-other-") as name:
        if os.getuid() == 0:
            os.chown(name, _UID, _UID)
        yield name


def _python_for(uid: int, home: str) -> str:
    """An interpreter that the user can reach and that can import what the tests need."""
    for candidate in (sys.executable, _SYSTEM_PYTHON):
        try:
            if _run([candidate, "-c", _NEEDED], home, uid).returncode == 0:
                return candidate
        except PermissionError:
            continue
    require(False, "an interpreter that another user can reach", get="apt install python3")
    raise AssertionError("require does not return here")


def _passed(command: list[str], home: str, uid: int | None, *more: str) -> int:
    """How many tests have passed; -1, with their output, if any has not."""
    arguments = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "for_others",
        "--basetemp",
        f"{home}/pytest",
    ]
    done = _run([*command, *arguments, *more, str(Path(__file__).parent)], home, uid)
    print(f"{done.stdout}\n{done.stderr}")
    passed = re.search(r"(\d+) passed", done.stdout)
    return int(passed[1]) if passed and done.returncode == 0 else -1


@pytest.mark.needs_root
def test_as_an_ordinary_user(home: str) -> None:
    assert _passed([_python_for(_UID, home)], home, _UID) >= 20


@pytest.mark.needs_root
def test_as_an_ordinary_user_without_namespaces(home: str) -> None:
    python = _python_for(_UID, home)
    assert _passed([python, _DENY, python], home, _UID, *_WITHOUT_ATTACKS) >= 20


@pytest.mark.needs_root
def test_as_root_without_namespaces(home: str) -> None:
    assert _passed([sys.executable, _DENY, sys.executable], home, None, *_WITHOUT_ATTACKS) >= 20
