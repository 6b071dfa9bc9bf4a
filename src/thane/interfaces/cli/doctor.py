"""`thane doctor`: what this machine can do, and the command that mends what it cannot."""

from __future__ import annotations

import asyncio
import shutil
import sys

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import note, print_json, table
from thane.interfaces.cli.tables import Column

LOW_DISK_BYTES = 1 << 30


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, data: str | None, config: str | None) -> None:
    """Look at this machine: the isolation ladder, the data folder, the disk.

    Exit code 1 if code cannot be isolated as the settings want it.
    """
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})
    folder = launcher.data(data)
    ladder = asyncio.run(launcher.ladder(folder, loaded))
    place = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    wanted = loaded.settings.isolation.minimum_tier
    ranks = {r.tier.value: r.tier.rank for r in ladder}
    good = any(r.available and r.tier.rank >= ranks.get(wanted, 0) for r in ladder)
    if as_json:
        print_json({"isolation": ladder, "data": str(folder), "free_bytes": free, "ok": good})
    else:
        rows = [
            (
                r.tier.value,
                "yes" if r.available else "no",
                r.detail if r.available else ". ".join(part for part in (r.missing, r.remedy) if part),
            )
            for r in ladder
        ]
        table(rows, (Column("TIER"), Column("HERE"), Column("WHY", "wrap")))
        if not good:
            note(
                f"code cannot be run here: `isolation.minimum_tier` is {wanted} and nothing that strong works"
            )
            note("  do what WHY says, or allow a weaker tier in the settings")
        note(f"data folder {folder}: {free >> 30} GiB free")
        if free < LOW_DISK_BYTES:
            note("  less than 1 GiB is free: make room before you serve from here")
    sys.exit(0 if good else 1)
