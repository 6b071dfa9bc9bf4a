"""`thane timeline`, `verify` and `prove`: the ledger, read beside whoever owns the folder."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import note, print_json, room, show_lines, table
from thane.interfaces.cli.tables import Column, Table

if TYPE_CHECKING:
    from thane.interfaces.cli.launcher import Launcher
    from thane.kernel.settings import Loaded


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Newest entries to show."
)
@click.option("--follow", "-f", is_flag=True, help="Then show what happens, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --follow, an object a line.")
@data_option
@click.pass_context
def timeline(
    ctx: click.Context,
    run_id: str | None,
    limit: int,
    follow: bool,
    as_json: bool,
    data: str | None,
    config: str | None,
) -> None:
    """Show what happened, oldest first: all of it, or what belongs to RUN."""
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_follow(launcher, launcher.data(data), loaded, run_id, limit, as_json))
        return

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
    table([cells(row) for row in rows], COLUMNS)


async def _follow(
    launcher: Launcher, data: Path, loaded: Loaded, run_id: str | None, limit: int, as_json: bool
) -> None:
    """Print entries as they come: lines of JSON, or columns of a width that need not be known before."""
    shape = Table(COLUMNS, [_USUAL], room())
    if not as_json:
        show_lines(shape, (), head=True)
    async with launcher.reading(data, loaded) as ledger:
        async for row in ledger.follow(run_id, limit):
            if as_json:
                click.echo(msgspec.json.encode(row).decode())
            else:
                show_lines(shape, [cells(row)], head=False)


COLUMNS = (
    Column("INDEX"),
    Column("TIME (UTC)", "start", least=13),
    Column("KIND", "drop"),
    Column("OPERATION"),
    Column("OUTCOME"),
    Column("RESOURCE", "middle"),
    Column("BY", "middle"),
)
# As long as most are: what comes later is not known when a line is printed.
_USUAL = (100_000, "2026-01-01 00:00:00.000", "outcome", "sandboxes.terminate", "completed", *2 * ("x" * 36,))


def cells(row: dict[str, Any]) -> tuple[object, ...]:
    """An entry as a row of `COLUMNS`."""
    return (
        row["index"],
        row["time"][:23],
        row["kind"],
        row["operation"],
        row["outcome"] or "…",
        row["resource"],
        row["actor"],
    )


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
