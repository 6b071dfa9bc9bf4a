"""The same programs again as an ordinary user, and in a full run where new namespaces are refused too."""

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

from tests.hostile.conftest import FULL, RESULTS
from tests.support.needs import require

pytestmark = [pytest.mark.hostile, pytest.mark.needs_root]

_ROOT = Path(__file__).parents[2]
_DENY = str(_ROOT / "tests/fresh/deny_namespaces.py")
_UID = 12346
_NEEDED = "import anyio, msgspec, pytest, thane"


def _environment(home: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("THANE_TEST_CI", "CI") if name in os.environ}
    return {
        "HOME": home,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join((str(_ROOT), str(_ROOT / "src"), sysconfig.get_path("purelib"))),
        "HOSTILE_RESULTS": f"{home}/results",
        **({"THANE_TEST_HOSTILE_FULL": "1"} if FULL else {}),
        **kept,
    }


def _run(command: list[str], home: str, uid: int | None) -> subprocess.CompletedProcess[str]:
    identity = {} if uid is None else {"user": uid, "group": uid, "extra_groups": ()}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, cwd=home, env=_environment(home), capture_output=True, text=True, check=False, **identity
    )


@pytest.fixture
def home() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="hostile-user-") as name:
        os.chown(name, _UID, _UID)
        yield name


def _python(home: str) -> str:
    """An interpreter that the user can reach and that can import what the tests need."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            if _run([candidate, "-c", _NEEDED], home, _UID).returncode == 0:
                return candidate
        except PermissionError:
            continue
    require(False, "an interpreter that another user can reach", get="apt install python3")
    raise AssertionError("require does not return here")


def _passed(command: list[str], home: str, uid: int | None) -> int:
    """How many tests have passed; -1, with their output, if any has not."""
    arguments = ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-m", "hostile and not needs_root"]
    folder = str(Path(__file__).parent)
    done = _run([*command, *arguments, "--basetemp", f"{home}/pytest", folder], home, uid)
    print(f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}")
    written = Path(home, "results")
    if RESULTS and written.exists():
        with Path(RESULTS).open("a") as file:
            file.write(written.read_text())
    passed = re.search(r"(\d+) passed", done.stdout)
    return int(passed[1]) if passed and done.returncode == 0 else -1


def test_as_an_ordinary_user(home: str) -> None:
    assert _passed([_python(home)], home, _UID) >= 100


@pytest.mark.skipif(not FULL, reason="runs with THANE_TEST_HOSTILE_FULL=1")
def test_as_an_ordinary_user_without_namespaces(home: str) -> None:
    python = _python(home)
    assert _passed([python, _DENY, python], home, _UID) >= 100


@pytest.mark.skipif(not FULL, reason="runs with THANE_TEST_HOSTILE_FULL=1")
def test_as_root_without_namespaces(home: str) -> None:
    assert _passed([sys.executable, _DENY, sys.executable], home, None) >= 100
