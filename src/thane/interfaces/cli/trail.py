"""`thane timeline`, `verify` and `prove`: the ledger, read beside whoever owns the folder."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import note, print_json, table


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Newest entries to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_option
@click.pass_context
def timeline(
    ctx: click.Context, run_id: str | None, limit: int, as_json: bool, data: str | None, config: str | None
) -> None:
    """Show what happened, oldest first: all of it, or what belongs to RUN."""
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})

    async def work() -> list[dict[str, Any]]:
        async with launcher.reading(launcher.data(data), loaded) as ledger:
            return await ledger.timeline(run_id, limit)

    rows = asyncio.run(work())
    if as_json:
        print_json(rows)
        return
    if not rows:
        note("nothing has happened here yet; try: thane run -c 'print(1)'")
        return
    shown = [
        (
            r["index"],
            r["time"][:23],
            r["kind"],
            r["operation"],
            r["outcome"] or "…",
            r["resource"],
            r["actor"],
        )
        for r in rows
    ]
    table(shown, ("INDEX", "TIME (UTC)", "KIND", "OPERATION", "OUTCOME", "RESOURCE", "BY"))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool, data: str | None, config: str | None) -> None:
    """Check the whole store: leaves, trees, checkpoints, rows and their chains.

    Exit code 1 if anything disagrees.
    """
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})

    async def work() -> Any:
        async with launcher.reading(launcher.data(data), loaded) as ledger:
            return await ledger.verify(_bar() if sys.stderr.isatty() else lambda done, total: None)

    report = asyncio.run(work())
    if as_json:
        print_json(report)
    else:
        click.echo(report.text())
    sys.exit(0 if report.ok else 1)


def _bar() -> Any:
    """A progress bar on standard error."""

    def show(done: int, total: int) -> None:
        part = 1.0 if total == 0 else done / total
        filled = int(part * 40)
        end = "\n" if done >= total else ""
        click.echo(f"\r[{'#' * filled}{'.' * (40 - filled)}] {part:4.0%}{end}", nl=False, err=True)

    return show


@click.command()
@click.argument("index", type=click.IntRange(0))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write; default: standard output."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the key that checks it.")
@data_option
@click.pass_context
def prove(
    ctx: click.Context, index: int, output: Path | None, as_json: bool, data: str | None, config: str | None
) -> None:
    """Write the proof (.tlog-proof) of the entry INDEX. `thane-verify` checks it without a server."""
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})

    async def work() -> tuple[str, str]:
        async with launcher.reading(launcher.data(data), loaded) as ledger:
            return await ledger.prove(index), ledger.vkey

    text, vkey = asyncio.run(work())
    if output is not None:
        output.write_text(text)
    if as_json:
        print_json({"index": index, "proof": text, "vkey": vkey})
        return
    if output is None:
        click.echo(text, nl=False)
    note(f"check it with: thane-verify {output or 'FILE'} --key '{vkey}'")
