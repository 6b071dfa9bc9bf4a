"""The parts of `just fresh` that can be tested without making a Debian."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fresh import deny_namespaces, fresh
from tests.support.project import ROOT

DENY = str(ROOT / "tests" / "fresh" / "deny_namespaces.py")

# Tries each way to a new user namespace and prints what the kernel said, then works as programs do.
TRY_NAMESPACES = """
import ctypes, errno, os, platform, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, SIGCHLD = 0x10000000, 17
clone, clone3 = {"x86_64": (56, 435), "aarch64": (220, 435)}[platform.machine()]
for call in (
    lambda: libc.unshare(NEWUSER),
    lambda: libc.syscall(clone, NEWUSER | SIGCHLD, 0, 0, 0, 0),
    lambda: libc.syscall(clone3, 0, 0),
    lambda: libc.setns(os.open("/proc/self/ns/user", os.O_RDONLY), 0),
):
    print(errno.errorcode[ctypes.get_errno()] if call() == -1 else "no error", flush=True)
thread = threading.Thread(target=print, args=("thread",), kwargs={"flush": True})
thread.start(); thread.join()
subprocess.run(["echo", "child"], check=True)
"""


def test_where_namespaces_are_denied_no_way_to_one_is_open_and_programs_still_work() -> None:
    done = subprocess.run(
        [sys.executable, DENY, sys.executable, "-c", TRY_NAMESPACES],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["EPERM", "EPERM", "ENOSYS", "EPERM", "thread", "child"]


def test_without_the_filter_the_kernel_answers_otherwise() -> None:
    if "Seccomp:\t0" not in Path("/proc/self/status").read_text():
        pytest.skip("a filter of somebody else's answers here")
    program = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
        "libc.syscall(435, 0, 0); print(ctypes.get_errno())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) == errno.EINVAL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_made_of_whole_instructions(machine: str) -> None:
    assert len(deny_namespaces.build_filter(machine)) == 13 * 8


def newcomer(name: str) -> fresh.House:
    return fresh.House(Path("/nowhere"), next(person for person in fresh.NEWCOMERS if person.name == name))


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("root", "run_1 exe_1 completed 31 ms 9.1 MB $0.000001 T2 ledger 4"),
        ("user", "run_1 tier=T2- ledger 4"),
        ("user", "run_1 tier=T2 ledger 4"),
        ("denied", "run_1 (T1)"),
    ],
)
def test_a_newcomer_accepts_the_tier_they_must_see(name: str, summary: str) -> None:
    newcomer(name).check_tier(["Installed 30 packages", summary, ""])


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("root", ["run_1 T2- ledger 4"]),
        ("root", ["T2", "run_1 done"]),
        ("user", ["run_1 T1"]),
        ("denied", ["run_1 T2"]),
        ("root", ["run_1 T2 and T1"]),
        ("root", ["run_1 XT2"]),
        ("root", []),
    ],
)
def test_a_newcomer_does_not_accept_another_tier(name: str, lines: list[str]) -> None:
    with pytest.raises(fresh.Failed, match="must name tier"):
        newcomer(name).check_tier(lines)


def test_registry_settings_are_passed_on_but_not_paths_that_the_debian_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in list(os.environ):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    monkeypatch.setenv("SECRET", "kept at home")
    assert fresh.passed_on(tmp_path / "debian") == {
        "PIP_INDEX_URL": "https://index.example",
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    }
