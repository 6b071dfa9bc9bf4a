"""Every command prints JSON if asked, and shells complete all of them."""

from __future__ import annotations

import json
import os
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
        timeout=PATIENCE,
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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_this_program(shell: str) -> None:
    done = thane("completion", shell)
    assert f"_THANE_COMPLETE={shell}_complete" in done.text
    assert f"thane completion {shell}" in done.notes


def test_another_shell_is_refused_with_those_that_there_are() -> None:
    done = thane("completion", "cmd")
    assert done.code == 2
    assert "bash" in done.notes
