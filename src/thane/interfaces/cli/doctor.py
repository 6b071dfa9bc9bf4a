"""`thane doctor`: what this machine can do, and the command that mends what it cannot."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import print_json, room, table
from thane.interfaces.cli.tables import Column, plain, wrapped
from thane.kernel.ports.isolation import TierReport
from thane.kernel.ports.machine import Examination, Grade

LADDER = (Column("TIER"), Column("HERE"), Column("WHY", "wrap"))
FINDINGS = (Column("AREA"), Column("CHECK"), Column("STATE"), Column("FOUND", "wrap"))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, data: str | None, config: str | None) -> None:
    """Look at this machine: isolation, engine, data folder, disk, clock, limits, ports, versions, settings.

    Each finding that is not ok says the command that mends it. Exit code 1 if something keeps
    Thane from working as the settings want it; warnings alone are 0. Nothing is changed.
    """
    launcher = launcher_of(ctx)
    found = asyncio.run(launcher.examine(launcher.data(data), config))
    if as_json:
        print_json(
            {"ok": found.ok, "data": found.data, "isolation": found.isolation, "findings": found.findings}
        )
    else:
        _ladder(found.isolation)
        table([(f.area, f.check, f.grade.value, f.detail) for f in found.findings], FINDINGS)
        _to_mend(found)
    sys.exit(0 if found.ok else 1)


def _ladder(tiers: Sequence[TierReport]) -> None:
    rows = [
        (
            r.tier.value,
            "yes" if r.available else "no",
            r.detail if r.available else ". ".join(part for part in (r.missing, r.remedy) if part),
        )
        for r in tiers
    ]
    if rows:
        table(rows, LADDER)
        click.echo("")


def _to_mend(found: Examination) -> None:
    """What is not ok, each with its command, the worst last: that is what a terminal still shows."""
    wrong = [f for grade in (Grade.WARNING, Grade.FAILURE) for f in found.findings if f.grade is grade]
    click.echo("")
    for finding in wrong:
        told = plain(f"{finding.grade.value}: {finding.area}, {finding.check}: {finding.detail}")
        for line in wrapped(told, room() or len(told)):
            click.echo(click.style(line, fg=_COLOURS[finding.grade]))
        click.echo(f"  {plain(finding.remedy)}")  # whole, to be copied
    failures = sum(f.grade is Grade.FAILURE for f in wrong)
    if found.ok:
        warnings = f", with {len(wrong)} warning{'s'[: len(wrong) > 1]}" if wrong else ""
        click.echo(f"Thane can work here{warnings}.")
    else:
        click.echo(f"{failures} to mend before Thane can work here as the settings want it.")


_COLOURS = {Grade.WARNING: "yellow", Grade.FAILURE: "red"}
