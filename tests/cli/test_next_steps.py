"""Every error ends with the next step: of usage, of each class of the tree, and of our own faults."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from tests.cli.test_every_command import COMMANDS
from tests.manifest.compare import Built
from tests.support.program import PATIENCE, environment, thane
from thane.interfaces.cli.output import ANY_STEP, REFUSED, USAGE, refuse, refuse_error, refuse_usage
from thane.kernel.errors import AlreadyExists, Fault, ThaneError, tree


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said, which is in the form that every error has."""
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line for line in lines if line.startswith("error: ")], err
    assert lines[-1].startswith("  "), err
    assert lines[-1].strip()
    return lines


def errors() -> list[type[ThaneError]]:
    Built()  # imports every module
    return sorted(tree().values(), key=lambda cls: cls.code)


@pytest.mark.parametrize("cls", errors(), ids=lambda cls: cls.code)
def test_each_error_of_the_tree_ends_with_its_next_step(
    cls: type[ThaneError], capsys: pytest.CaptureFixture[str]
) -> None:
    made = cls("ux_names") if cls is AlreadyExists else _made(cls)
    with pytest.raises(SystemExit) as ended:
        refuse_error(made)
    lines = told(capsys)
    assert lines[-1].strip() in made.hint.splitlines()[-1]
    assert ended.value.code in (USAGE, REFUSED)


def _made(cls: type[ThaneError]) -> ThaneError:
    """One as it is raised; some are made from what they are about."""
    made = cls.__new__(cls)
    ThaneError.__init__(made, "what happened", faults=(Fault("/name", "wrong", "is \x1b[31mwrong"),))
    return made


def _usage_errors() -> list[tuple[tuple[str, ...], list[str]]]:
    """For each command what is wrong with any: an option nobody knows, and a word too many."""
    found = []
    for path, command in COMMANDS.items():
        found.append((path, ["--no-such-option"]))
        for parameter in command.params:
            if isinstance(parameter, click.Option) and isinstance(
                parameter.type, click.types.IntParamType | click.Choice
            ):
                found.append((path, [parameter.opts[0], "neither"]))
        if sum(isinstance(p, click.Argument) for p in command.params) < 3:
            found.append((path, ["1", "2", "3"]))
    return found


@pytest.mark.parametrize(("path", "words"), _usage_errors(), ids=" ".join)
def test_each_usage_error_ends_with_where_to_look(
    path: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from thane.interfaces.cli.main import cli

    with pytest.raises(click.ClickException) as wrong:
        cli([*path, *words], prog_name="thane", standalone_mode=False)
    with pytest.raises(SystemExit) as ended:
        refuse_usage(wrong.value)
    assert told(capsys)[-1] == f"  Try: thane {' '.join(path)} --help"
    assert ended.value.code == USAGE


@pytest.mark.parametrize("words", [("rnu",), ("keys", "mkae"), ("run", "--wall", "3"), ("keys", "revoke")])
def test_the_program_says_it_so(words: tuple[str, ...]) -> None:
    done = thane(*words)
    lines = done.notes.splitlines()
    assert (done.code, lines[0].startswith("error: "), len(lines)) == (USAGE, True, 2)
    assert lines[1].startswith("  Try: thane")


@pytest.mark.parametrize("words", [(), ("keys",), ("config",)])
def test_without_a_command_the_commands_are_told(words: tuple[str, ...]) -> None:
    done = thane(*words)
    assert done.code == USAGE
    assert done.notes.startswith("Usage: thane")


def test_an_error_without_a_next_step_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        refuse("it broke", "")
    assert told(capsys)[-1] == f"  {ANY_STEP}"


def test_a_fault_of_ours_shows_where_it_is_and_what_to_do() -> None:
    broken = (
        "import sys, thane.__main__ as program\n"
        "def breaks(*given, **more): raise RuntimeError('a seam')\n"
        "program.cli = breaks\nprogram.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken], env=environment(), capture_output=True, timeout=PATIENCE, check=False
    )
    lines = done.stderr.decode().splitlines()
    assert done.returncode == REFUSED
    assert lines[0].startswith("Traceback")
    assert lines[-2].startswith("error: this is a fault of Thane itself: RuntimeError")
    assert "Report it" in lines[-1]


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "thane", "operations", "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
