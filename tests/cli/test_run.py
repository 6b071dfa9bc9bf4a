"""`thane run`: each option proven by what the program inside sees, and how each end is told."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.program import PROGRAM, eventually, started, thane

COUNT = "import time\nprint('begun', flush=True)\ntime.sleep(60)\n"


def code_of(data: Path, program: str, *options: str | Path) -> int:
    return thane("run", "-c", program, *options, data=data).code


def test_output_arrives_before_the_program_ends(data: Path) -> None:
    going = started("run", "--data", data, "-c", COUNT)
    assert going.stdout is not None
    assert going.stdout.readline() == b"begun\n"
    assert going.poll() is None
    going.send_signal(signal.SIGINT)
    _, err = going.communicate(timeout=30)
    assert going.returncode == 130
    # Ctrl-C cancels the program, and the record says so, with what it used until then.
    words = err.decode().replace(",", "").splitlines()[-1].split()
    assert words[3] == "cancelled"
    assert int(words[4]) > 0, words
    assert words[9] != "T0", words
    rows = thane("timeline", words[1], "--json", data=data).json
    assert [(r["kind"], r["operation"], r["outcome"]) for r in rows] == [
        ("record", "runs.create", "done"),
        ("record", "sandboxes.create", "done"),
        ("intent", "sandboxes.execute", None),
        ("outcome", "sandboxes.execute", "cancelled"),
        ("record", "runs.finish", "done"),
    ]


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_program_as_ctrl_c_does(data: Path, name: signal.Signals) -> None:
    going = started("run", "--data", data, "-c", COUNT)
    assert going.stdout is not None
    going.stdout.readline()
    going.send_signal(name)
    _, err = going.communicate(timeout=30)
    assert (going.returncode, b" cancelled " in err) == (130, True), err


def test_a_program_that_isolation_refuses_says_why(data: Path) -> None:
    """Also where the server's minimum or the sandbox's demand can be met: there it runs on that tier."""
    tiers = {tier["tier"]: tier for tier in thane("doctor", "--json", data=data).json["isolation"]}
    for done in (
        thane("run", "-c", "print(1)", data=data, env={"THANE_ISOLATION_MINIMUM_TIER": "T3"}),
        thane("run", "--min-tier", "T3", "-c", "print(1)", data=data),
    ):
        if tiers["T3"]["available"]:
            assert (done.code, done.text, done.summary[2]) == (0, "1\n", "completed"), done.notes
            assert "T3" in done.summary
        else:
            assert done.code == 1
            assert done.summary[2] == "failed"
            assert "isolation_unavailable: the job asks for tier T3" in done.notes
            assert tiers["T3"]["missing"] in done.notes
            assert tiers["T3"]["remedy"] in done.notes
            assert "thane doctor" in done.notes


def test_a_program_for_which_no_isolation_can_be_started_says_why(tmp_path: Path) -> None:
    nowhere = {"THANE_ISOLATION_SOCKET": "/proc/none/isolation.sock"}
    done = thane("run", "-c", "print(1)", data=tmp_path / "data", env=nowhere)
    assert (done.code, done.summary[2]) == (1, "failed"), done.notes
    assert "isolation_unavailable: the isolation program cannot be started or reached" in done.notes
    assert thane("verify", data=tmp_path / "data").code == 0


def test_a_reader_that_goes_away_cancels_the_program(data: Path) -> None:
    program = "while True: print('x' * 1000, flush=True)"
    with subprocess.Popen(
        ["head", "-c", "10"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as head:  # what `| head` is
        assert head.stdin is not None
        going = subprocess.Popen(
            [*PROGRAM, "run", "--data", str(data), "--timeout", "30", "-c", program],
            stdout=head.stdin,
            stderr=subprocess.PIPE,
        )
        head.stdin.close()
        _, err = going.communicate(timeout=30)
    assert going.returncode == 130
    assert b"cancelled" in err
    assert b"Traceback" not in err


@pytest.mark.parametrize(
    ("program", "options", "code", "told"),
    [
        ("import sys; sys.exit(0)", (), 0, ""),
        ("import sys; sys.exit(7)", (), 7, ""),
        ("raise ValueError('no')", (), 1, "ValueError: no"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", (), 137, "SIGKILL"),
        ("import time; time.sleep(60)", ("--timeout", "1"), 124, "raise --timeout"),
        ("x = bytearray(300 << 20); print(len(x))", ("--memory", "64"), 137, "raise --memory"),
    ],
)
def test_the_exit_code_is_the_programs_own_or_says_what_ended_it(
    data: Path, program: str, options: tuple[str, ...], code: int, told: str
) -> None:
    done = thane("run", "-c", program, *options, data=data)
    assert (done.code, told in done.notes) == (code, True), done.notes
    assert done.summary[2] == {0: "completed", 124: "timeout"}.get(code, "failed")


def test_memory_is_limited_to_what_was_asked(data: Path) -> None:
    program = "x = bytearray(200 << 20); print('held')"
    assert code_of(data, program, "--memory", "400") == 0
    assert code_of(data, program, "--memory", "100") == 137


def test_cpu_is_limited_to_what_was_asked(data: Path) -> None:
    program = (
        "import time\nstart, used = time.monotonic(), time.process_time\n"
        "while time.monotonic() - start < 1.5: pass\nprint(used() / (time.monotonic() - start))"
    )
    whole = thane("run", "-c", program, "--cpu", "1", "--json", data=data).json
    third = thane("run", "-c", program, "--cpu", "0.25", "--json", data=data).json
    if third["isolation"]["limits"]["cpu"].startswith("cgroup"):
        assert float(third["output"]["stdout"]) < 0.45
    assert third["resource_usage"]["cpu_time_ms"] < whole["resource_usage"]["cpu_time_ms"] + 100


def test_disk_is_limited_to_what_was_asked(data: Path) -> None:
    program = "open('big', 'wb').write(bytes(40 << 20)); print('written')"
    assert code_of(data, program, "--disk", "60", "--memory", "400") == 0
    refused = thane("run", "-c", program, "--disk", "10", "--memory", "400", data=data)
    assert refused.code != 0
    assert b"written" not in refused.out


def test_variables_reach_the_program_and_nothing_else_does(data: Path) -> None:
    program = (
        "import os\nprint(os.environ['MODE'][::-1], os.environ['EMPTY'], os.environ.get('SECRET_OF_HOST'))"
    )
    done = thane(
        "run",
        "-c",
        program,
        "--env",
        "MODE=not=to be stored",
        "--env",
        "EMPTY=",
        data=data,
        env={"SECRET_OF_HOST": "x"},
    )
    assert done.out == b"derots eb ot=ton  None\n"
    store = b"".join(p.read_bytes() for p in data.glob("store.db*"))
    assert b"to be stored" not in store  # variables are transient


def test_files_lie_in_the_workspace_and_produced_ones_come_out(data: Path, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)  # more than a client may send
    given = tmp_path / "given.bin"
    given.write_bytes(content)
    note = tmp_path / "ümlaut name.txt"
    note.write_text("read me")
    program = (
        "import os, pathlib\n"
        "print(sorted(os.listdir()))\n"
        "pathlib.Path('copy.bin').write_bytes(pathlib.Path('given.bin').read_bytes()[::-1])\n"
        "os.makedirs('deep/er'); pathlib.Path('deep/er/x.txt').write_text('x')\n"
        "os.symlink('/etc/passwd', 'link')\n"
    )
    out = tmp_path / "new" / "results"
    done = thane("run", "-c", program, "--file", given, "--file", note, "--out", out, data=data)
    assert done.code == 0, done.notes
    assert "given.bin" in done.text
    assert note.name in done.text
    assert (out / "copy.bin").read_bytes() == content[::-1]
    assert (out / "deep" / "er" / "x.txt").read_text() == "x"
    assert not (out / "link").exists()


def test_output_is_passed_on_byte_for_byte(data: Path) -> None:
    raw = bytes(range(256)) * 300
    program = (
        "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 300)\nsys.stderr.buffer.write(b'\\xff\\xfe')"
    )
    done = thane("run", "-c", program, data=data)
    assert (done.code, done.out) == (0, raw)
    assert done.err.startswith(b"\xff\xfe")
    shown = thane("run", "--json", "-c", program, data=data).json["output"]
    assert "\ufffd" in shown["stdout"]
    assert shown["stderr"] == "\ufffd\ufffd"


def test_a_shell_script_is_run_by_a_shell(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "count.sh"
    script.write_text("for n in 1 2 3; do echo $n; done; exit 4\n")
    done = thane("run", script, data=data)
    assert (done.code, done.out) == (4, b"1\n2\n3\n")
    assert thane("run", "--language", "shell", "-c", "echo $((6*7))", data=data).out == b"42\n"


def test_two_commands_at_once_share_one_folder(data: Path) -> None:
    going = started("run", "--data", data, "-c", "import time; print('one', flush=True); time.sleep(2)")
    assert going.stdout is not None
    assert going.stdout.readline() == b"one\n"
    other = thane("run", "-c", "print('two')", data=data)
    assert (other.code, other.out) == (0, b"two\n"), other.notes
    assert going.poll() is None
    going.communicate(timeout=30)
    assert going.returncode == 0
    eventually(lambda: not (data / "thane.sock").exists(), "the socket's end")


def test_what_is_not_taken_out_is_told(data: Path, tmp_path: Path) -> None:
    program = "import os\nos.symlink('x', 'link')\nfor n in range(1003): open(f'{n:04}', 'w').close()"
    done = thane("run", "-c", program, "--out", tmp_path / "out", data=data)
    assert done.code == 0, done.notes
    assert "not taken out: link: it is a symbolic link" in done.notes
    assert "not taken out: 3 more files" in done.notes
    assert len(list((tmp_path / "out").iterdir())) == 1000
