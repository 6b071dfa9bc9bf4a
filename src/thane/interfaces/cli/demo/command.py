"""The command itself: where the demo plays, how it is told, how it ends."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from thane.interfaces.cli.demo.narrator import Narrator
from thane.interfaces.cli.demo.story import Story
from thane.interfaces.cli.main import config_option, launcher_of
from thane.interfaces.cli.output import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: every step with what it found.")
@click.option("--data", metavar="DIR", type=click.Path(), help="Play in this folder, and keep it.")
@config_option
@click.pass_context
def demo(ctx: click.Context, as_json: bool, data: str | None, config: str | None) -> None:
    """Play an agent's run on real parts: code, a failure, too much memory, an attempt at the server's keys.

    Then its bill, its timeline, the check of the ledger, and a copy of the store that somebody
    has touched, which the check catches. It plays in a folder of its own that is removed at the
    end; with --data it plays there and all is kept. Exit code 1 if anything is not as it must be.
    """
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})
    started = time.monotonic()
    tell = Narrator(silent=as_json)
    with TemporaryDirectory(prefix="thane-demo-", ignore_cleanup_errors=True) as scratch:
        # THANE_DATA is not asked: a demo is not to write into the folder of somebody's work.
        folder = Path(data).absolute() if data else Path(scratch, "data")
        kept = "kept" if data else "removed at the end"
        tell.end(f"An agent's run on this machine, nothing of it simulated.\nData folder: {folder} ({kept})")
        story = Story(launcher, loaded, folder, tell)
        asyncio.run(story.play(Path(scratch)))
    seconds = round(time.monotonic() - started, 2)
    if as_json:
        report = {"ok": story.ok, "seconds": seconds, "run_id": story.run_id, "steps": story.steps}
        print_json({**report, "data": str(folder) if data else None})
    good = sum(step.ok for step in story.steps)
    tell.end(f"{good} of {len(story.steps)} as they must be, in {seconds:.1f} s.")
    tell.end(_next(data, story.ok))
    sys.exit(0 if story.ok else 1)


def _next(data: str | None, ok: bool) -> str:
    if not ok:
        return "Next: thane doctor"
    if data is None:
        return "To keep what you have seen: thane demo --data DIR\nNext: thane run -c 'print(6 * 7)'"
    return f"Next: thane timeline --data {data}\n      thane verify --data {data}"
