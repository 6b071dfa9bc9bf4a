"""Every command prints JSON if asked, and shells complete all of them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.support.program import PATIENCE, environment, eventually, started, thane
from thane.interfaces.cli.main import cli


def walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that name it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        assert found is not None, name
        yield from walk(found, (*path, name))


COMMANDS = dict(walk(cli))
# What each is called with; `{key}` is the id of a key, and so on. A new command wants a line, or a test.
ARGUMENTS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("demo",): (),
    ("run",): ("-c", "print(1)"),
    ("sandboxes", "create"): ("--name", "walked"),
    ("sandboxes", "execute"): ("{sandbox}", "open('f', 'w').write('x')"),
    ("sandboxes", "get"): ("{sandbox}",),
    ("sandboxes", "list"): (),
    ("sandboxes", "dashboard"): (),
    ("sandboxes", "resource-summary"): ("{sandbox}",),
    ("sandboxes", "list-files"): ("{sandbox}",),
    ("contexts", "create"): ("{sandbox}", "--name", "walked"),
    ("contexts", "list"): ("{sandbox}",),
    ("contexts", "restart"): ("{sandbox}", "walked"),
    ("contexts", "remove"): ("{sandbox}", "walked"),
    ("executions", "list"): ("--sandbox-id", "{sandbox}"),
    ("executions", "get"): ("{execution}",),
    ("executions", "output"): ("{execution}",),
    ("executions", "read-file"): ("{execution}", "f"),
    ("resource-metrics", "list"): ("{execution}",),
    ("resource-metrics", "record"): ("{execution}", '{"loss": 0.5}'),
    ("resource-alerts", "list"): ("{sandbox}",),
    ("sandboxes", "terminate"): ("{sandbox}",),
    ("keys", "create"): ("walked",),
    ("keys", "list"): (),
    ("keys", "revoke"): ("{key}",),
    ("timeline",): (),
    ("verify",): (),
    ("prove",): ("0",),
    ("config", "check"): (),
    ("operations",): (),
    ("doctor",): (),
    ("completion",): ("bash",),
}
WITHOUT_DATA = {("config", "check"), ("operations",), ("completion",)}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_takes_json(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert "--json" in options


# All of them in one process, whose start takes longer than most of what they do.
ONE_PROCESS = """
import json, sys
from click.testing import CliRunner
from thane.bootstrap.launcher import ProgramLauncher
from thane.interfaces.cli.main import cli

ids = {}
MADE = {"keys create": "{key}", "sandboxes create": "{sandbox}", "sandboxes execute": "{execution}"}
for words in json.loads(sys.argv[1]):
    given = [ids.get(word, word) for word in words]
    done = CliRunner().invoke(cli, given, obj=ProgramLauncher(), prog_name="thane")
    assert done.exit_code == 0, (words, done.output, done.exception)
    document = json.loads(done.stdout)
    if " ".join(words[:2]) in MADE:
        ids[MADE[" ".join(words[:2])]] = document["id"]
    print(words[0])
"""


def test_every_command_prints_one_json_document(data: Path) -> None:
    calls = [
        [*path, *arguments, "--json", *(() if path in WITHOUT_DATA else ("--data", str(data)))]
        for path, arguments in ARGUMENTS.items()
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS, json.dumps(calls)],
        env=environment(),
        capture_output=True,
        check=False,
        timeout=10 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().split() == [path[0] for path in ARGUMENTS]


def test_a_server_says_in_json_that_it_is_ready(data: Path) -> None:
    server = started("serve", "--port", "0", "--json", "--data", data)
    try:
        assert server.stdout is not None
        text = b""
        while b"\n}" not in text:
            line = server.stdout.readline()
            assert line, text
            text += line
        ready = json.loads(text)
        assert ready["url"].startswith("http://127.0.0.1:")
        assert ready["data"] == str(data)
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE)
    assert eventually(lambda: server.returncode == 0, "the server's end")


def completed(*words: str) -> set[str]:
    """What bash offers for the last word, with the script that we print."""
    script = (
        'eval "$(thane completion bash)"\n'
        f"COMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n"
        "_thane_completion thane\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment(PATH=path),
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.decode().split())


def test_bash_completes_commands_and_options() -> None:
    assert completed("thane", "ke") == {"keys"}
    assert completed("thane", "keys", "re") == {"revoke"}
    assert {"--json", "--data"} <= completed("thane", "timeline", "--")
    assert completed("thane", "completion", "f") == {"fish"}


def test_bash_completes_values() -> None:
    assert completed("thane", "run", "--language", "p") == {"python"}


def typed(keys: str, wanted: str, folder: Path) -> str:
    """What an interactive bash shows after these keys, until it shows what is wanted."""
    ours, theirs = pty.openpty()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        env=environment(PATH=path, TERM="dumb", PS1="$ ", HISTFILE="/dev/null"),
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""

    def sees(text: str) -> bool:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(ours, 1 << 16)
        return text.encode() in shown

    try:
        os.write(ours, b'eval "$(thane completion bash)"; echo set-"up"\n')
        eventually(lambda: sees("set-up"), "a shell that completes")
        shown = b""
        os.write(ours, keys.encode())
        eventually(lambda: sees(wanted), f"{wanted!r} after {keys!r}")
        return shown.decode()
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def test_a_person_who_presses_tab_gets_the_command_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "report.py").write_text("")
    assert "thane keys " in typed("thane ke\t", "keys ", tmp_path)
    assert "thane run report.py" in typed("thane run rep\t", "report.py", tmp_path)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_another_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}: run `apt install {shell}`")
    script = tmp_path / "script"
    script.write_text(thane("completion", shell).text)
    done = subprocess.run([program, "-n", str(script)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_what_bash_is(shell: str) -> None:
    """What the script asks the program for, and what it is answered, without the shell itself."""
    asked = {
        "zsh": {"COMP_WORDS": "thane ke", "COMP_CWORD": "1"},
        "fish": {"COMP_WORDS": "thane ke", "COMP_CWORD": "ke"},
    }
    answer = thane(env={"_THANE_COMPLETE": f"{shell}_complete", **asked[shell]})
    assert "keys" in answer.text
    assert "timeline" not in answer.text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_this_program(shell: str) -> None:
    done = thane("completion", shell)
    assert f"_THANE_COMPLETE={shell}_complete" in done.text
    assert f"thane completion {shell}" in done.notes


def test_another_shell_is_refused_with_those_that_there_are() -> None:
    done = thane("completion", "cmd")
    assert done.code == 2
    assert "bash" in done.notes
