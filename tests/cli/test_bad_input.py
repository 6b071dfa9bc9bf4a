"""What a person can get wrong: a clear message, the next step, the right exit code, nothing half done."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.needs import require
from tests.support.program import PROGRAM, Ended, Served, environment, started, thane

USAGE = 2
REFUSED = 70


@pytest.fixture(scope="module")
def used(data: Path) -> Path:
    assert thane("run", "-c", "print(1)", data=data).code == 0
    return data


def assert_told(done: Ended, code: int, *words: str) -> None:
    """What happened on one line, the next step on another, and no traceback."""
    assert done.code == code, done.notes
    assert "Traceback" not in done.notes
    for word in words:
        assert word in done.notes, done.notes
    lines = done.notes.rstrip().splitlines()
    error = next(n for n, line in enumerate(lines) if line.startswith("error: "))
    assert lines[error + 1].startswith("  "), done.notes
    assert lines[-1].startswith("  "), done.notes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.py",), ("there is no file nowhere.py",)),
        ((), ("give a file or -c CODE",)),
        (("-c", "print(1)", "x.py"), ("only one of them",)),
        (("-c", ""), ("empty",)),
        (("-c", " \n"), ("empty",)),
        (("-c", "1", "--memory", "0"), ("max_memory_mb", "is 0; allowed: 16 to")),
        (("-c", "1", "--memory", "99999999"), ("max_memory_mb", "allowed")),
        (("-c", "1", "--cpu", "0"), ("max_cpu_cores", "allowed")),
        (("-c", "1", "--cpu", "4096"), ("max_cpu_cores", "allowed")),
        (("-c", "1", "--cpu", "many"), ("cpu",)),
        (("-c", "1", "--cpu", "nan"), ("cpu",)),
        (("-c", "1", "--disk", "0"), ("max_disk_mb", "allowed")),
        (("-c", "1", "--disk", "99999999"), ("max_disk_mb", "allowed")),
        (("-c", "1", "--timeout", "0"), ("max_execution_time_sec", "allowed")),
        (("-c", "1", "--timeout", "-5"), ("max_execution_time_sec", "allowed")),
        (("-c", "1", "--memory", "1.5"), ("not a valid integer",)),
        (("-c", "1", "--memory", "99999999999999999999999"), ("memory",)),
        (("-c", "1", "--env", "NOVALUE"), ("is not K=V",)),
        (("-c", "1", "--env", os.fsdecode(b"A=\xff")), ("not valid UTF-8",)),
        (("-c", os.fsdecode(b"print('\xff')")), ("not valid UTF-8",)),
        (("-c", "1", "--env", "=x"), ("is not K=V",)),
        (("-c", "1", "--file", "nowhere.csv"), ("nowhere.csv cannot be read",)),
        (("-c", "1", "--file", "/"), ("cannot be read",)),
        (("-c", "1", "--out", "/proc/version"), ("is not a folder",)),
        (("-c", "1", "--out", "/proc/none/such"), ("cannot be made",)),
        (("-c", "1", "--language", "cobol"), ("cobol",)),
        (("-c", "1", "--wall", "3"), ("No such option",)),
        (("/",), ("cannot be read: Is a directory",)),
    ],
    ids=lambda given: " ".join(given) or "nothing",
)
def test_wrong_arguments_are_told(used: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_told(thane("run", *arguments, data=used), USAGE, *words)


def test_a_program_that_is_no_utf_8_is_told_with_the_byte(used: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"print('caf\xe9')")
    assert_told(thane("run", tmp_path / "latin.py", data=used), USAGE, "not valid UTF-8 (byte 10)")


def test_a_program_with_a_nul_is_refused(used: Path, tmp_path: Path) -> None:
    (tmp_path / "nul.py").write_bytes(b"print(1)\0")
    assert_told(thane("run", tmp_path / "nul.py", data=used), USAGE, "NUL")


def test_a_data_folder_whose_name_is_no_text_is_told(tmp_path: Path) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    assert_told(thane("run", "-c", "1", data=named), USAGE, "not valid UTF-8", "--data")
    assert not named.exists()


@pytest.mark.parametrize("command", ["timeline", "verify"])
def test_a_data_folder_that_cannot_be_looked_into_is_told(tmp_path: Path, command: str) -> None:
    assert_told(thane(command, data=tmp_path / ("x" * 300)), REFUSED, "cannot be used", "--data")


def test_an_empty_file_is_told(used: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_bytes(b"")
    assert_told(thane("run", tmp_path / "empty.py", data=used), USAGE, "empty")


def test_two_files_of_one_name_are_told(used: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "x.csv").write_text("1")
    (tmp_path / "a" / "x.csv").write_text("2")
    done = thane(
        "run", "-c", "1", "--file", tmp_path / "x.csv", "--file", tmp_path / "a" / "x.csv", data=used
    )
    assert_told(done, USAGE, "two files are called x.csv")


def test_what_is_refused_leaves_a_finished_run_and_no_execution(used: Path) -> None:
    thane("run", "-c", "1", "--memory", "0", data=used)
    rows = thane("timeline", "--limit", "5", "--json", data=used).json
    asked = [r["operation"] for r in rows if r["operation"] != "audit.seal_access"]  # which comes by itself
    assert asked[-2:] == ["runs.create", "runs.finish"]


def test_an_unknown_command_is_told() -> None:
    assert_told(thane("rnu"), USAGE, "No such command 'rnu'")


def test_a_folder_without_a_store_is_told(tmp_path: Path) -> None:
    done = thane("timeline", data=tmp_path / "none")
    assert_told(done, USAGE, "there is no store in", "thane run")
    assert not (tmp_path / "none").exists()


def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = thane("run", "-c", "1", data=tmp_path / "file")
    assert done.code in (USAGE, REFUSED)
    assert_told(done, done.code, str(tmp_path / "file"))


def test_a_data_folder_that_cannot_be_made_is_told() -> None:
    done = thane("run", "-c", "1", data=Path("/proc/thane"))
    assert_told(done, done.code, "/proc/thane")
    assert done.code in (USAGE, REFUSED)


def test_a_data_folder_of_somebody_else_is_told(used: Path) -> None:
    require(os.geteuid() == 0, "the rights of root", get="sudo --preserve-env=PATH uv run pytest")
    done = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            *PROGRAM,
            "run",
            "-c",
            "1",
            "--data",
            used,
        ],
        # Without what has subprocesses measured: another user cannot write where it is kept.
        env={k: v for k, v in environment(HOME="/tmp").items() if not k.startswith("COVERAGE")},
        capture_output=True,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    if "No module named" in ended.notes or "Permission denied: '/root" in ended.notes:
        pytest.skip("needs an interpreter that another user may run")
    assert ended.code in (USAGE, REFUSED), ended.notes
    assert_told(ended, ended.code, str(used))


def test_a_port_in_use_is_told_and_the_folder_is_left(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = thane("serve", "--port", port, data=tmp_path / "data")
        assert_told(done, REFUSED, f"port {port}", "--port")
    assert thane("run", "-c", "print(1)", data=tmp_path / "data").code == 0


def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    assert_told(
        thane("serve", "--host", "192.0.2.1", "--port", "0", data=tmp_path / "data"), USAGE, "192.0.2.1"
    )
    assert_told(thane("serve", "--host", "no.such.invalid", data=tmp_path / "data"), USAGE, "no.such.invalid")


def test_a_second_server_on_the_folder_is_told_and_a_command_goes_through_the_first(tmp_path: Path) -> None:
    server = Served(tmp_path / "data")
    try:
        done = thane("serve", "--port", "0", data=server.data)
        assert_told(done, REFUSED, str(server.process.pid), "--data")
        assert thane("run", "-c", "print('through')", data=server.data).out == b"through\n"
        operations = [e["operation"] for e in thane("timeline", "--json", data=server.data).json]
        assert operations.count("sandboxes.execute") == 2
        assert server.call("GET", "/executions").json["items"][0]["output"]["stdout"] == "through\n"
    finally:
        assert server.stop() == 0


def test_a_server_stops_gracefully_and_finishes_what_was_begun(tmp_path: Path) -> None:
    server = Served(tmp_path / "data")
    going = started(
        "run",
        "--data",
        server.data,
        "-c",
        "import time; print('on', flush=True); time.sleep(1.5); print('done')",
    )
    assert going.stdout is not None
    assert going.stdout.readline() == b"on\n"
    assert server.stop() == 0
    out, err = going.communicate(timeout=30)
    assert (going.returncode, out) == (0, b"done\n"), err


def test_every_refusal_of_the_tree_says_what_to_do_next() -> None:
    from tests.manifest.compare import Built
    from thane.kernel.errors import tree

    Built()  # imports every module
    silent = [name for name, cls in tree().items() if not cls.default_hint and cls.status < 500]
    assert not silent
    assert not [n for n, cls in tree().items() if re.search(r"\bTODO\b", cls.default_hint)]
