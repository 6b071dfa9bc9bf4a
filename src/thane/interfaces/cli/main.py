"""The command `thane`: its options and its commands. Each command's code is imported when it is used."""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from thane.interfaces.cli.launcher import Launcher

COMMANDS = {
    "demo": ("thane.interfaces.cli.demo", "See an agent's run, from code to proof, in a few seconds."),
    "run": ("thane.interfaces.cli.run", "Run a program in a sandbox and record it."),
    "serve": ("thane.interfaces.cli.serve", "Serve the HTTP API."),
    "sandboxes": ("thane.interfaces.cli.sandboxes", "Make sandboxes, run in them, put files there."),
    "contexts": ("thane.interfaces.cli.sandboxes", "Keep variables from one execution to the next."),
    "executions": ("thane.interfaces.cli.sandboxes", "Look at what was run."),
    "resource-metrics": ("thane.interfaces.cli.sandboxes", "Look at what code used; add figures of yours."),
    "resource-alerts": ("thane.interfaces.cli.sandboxes", "List alerts of nearly used up memory."),
    "keys": ("thane.interfaces.cli.keys", "Make, list and revoke API keys."),
    "timeline": ("thane.interfaces.cli.trail", "Show what happened, with ledger indexes."),
    "verify": ("thane.interfaces.cli.trail", "Check the whole store against its proofs."),
    "prove": ("thane.interfaces.cli.trail", "Write the proof of one entry, to be checked offline."),
    "config": ("thane.interfaces.cli.config", "Explain the settings."),
    "operations": ("thane.interfaces.cli.registry", "List everything that can be asked of Thane."),
    "doctor": ("thane.interfaces.cli.doctor", "Look at this machine and say what is missing."),
    "completion": ("thane.interfaces.cli.completion", "Print what makes your shell complete commands."),
}


class Commands(click.Group):
    """A group that knows its commands by name and loads one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="thane", prog_name="thane")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Thane: the back end that AI agents act through, with a proof of everything they did."""
    # click writes no colours where there is no terminal; people and dumb ones may not want them either.
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False


def config_option(command: Any) -> Any:
    """The option of commands that read settings."""
    return click.option("--config", "config", type=click.Path(), help="Settings file, or a name in config/.")(
        command
    )


def data_option(command: Any) -> Any:
    """The options of commands that use a data folder."""
    command = config_option(command)
    return click.option(
        "--data",
        "data",
        metavar="DIR",
        type=click.Path(),
        help="Data folder; THANE_DATA, else .thane here.",
    )(command)


def launcher_of(ctx: click.Context) -> Launcher:
    """The launcher that the program gave to its command line."""
    found: Launcher = ctx.obj
    return found
