"""The page of the commands, made from the command line itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from thane.interfaces.cli.main import cli

NAME = "thane"


def walk(command: click.Command, ctx: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command that does something, with its context."""
    if not isinstance(command, click.Group):
        yield command, ctx
        return
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        assert found is not None, name
        yield from walk(found, click.Context(found, info_name=name, parent=ctx))


def commands() -> list[tuple[click.Command, click.Context]]:
    """All of them, in the order of `thane --help`."""
    return list(walk(cli, click.Context(cli, info_name=NAME)))


def silent_commands() -> list[str]:
    """Commands and options that do not say what they are for."""
    found = [f"command {ctx.command_path}" for command, ctx in commands() if not command.help]
    for command, ctx in commands():
        options = (p for p in command.params if isinstance(p, click.Option))
        found += [f"option {ctx.command_path} {o.opts[0]}" for o in options if not o.help]
    return found


def command_page() -> str:
    """The page's text."""
    lines = [
        "# Commands",
        "",
        "Every command explains itself with `--help` and prints JSON with `--json`. Tables fit the",
        "terminal; where the output is no terminal they are as wide as they are. Colours are for",
        "terminals, and `NO_COLOR=1` turns them off. Exit codes: 0 done; 1 something is wrong with",
        "what was looked at, or the program failed; 2 wrong input; 70 all else that Thane refuses;",
        "130 interrupted. `thane run` ends as its program does, with 124 after a time-out. Every",
        "error ends with the next step.",
    ]
    for command, ctx in commands():
        lines += ["", f"## {ctx.command_path}", "", inspect.cleandoc(command.help or ""), ""]
        lines += ["```text", " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)]), "```", ""]
        lines += ["| option | takes | |", "|---|---|---|"]
        for option in command.params:
            if isinstance(option, click.Option):
                lines.append(f"| {_names(option)} | {_takes(option, ctx)} | {_help(option)} |")
    return "\n".join(lines)


def _names(option: click.Option) -> str:
    return ", ".join(f"`{name}`" for name in option.opts)


def _takes(option: click.Option, ctx: click.Context) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    return f"`{option.make_metavar(ctx)}`" + (", repeatable" if option.multiple else "")


def _help(option: click.Option) -> str:
    default = f" Default: {option.default}." if option.show_default else ""
    return f"{option.help or ''}{default}".replace("|", "\\|")
