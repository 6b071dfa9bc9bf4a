"""`thane operations`: the registry as a list."""

from __future__ import annotations

import click

from thane.interfaces.cli.main import launcher_of
from thane.interfaces.cli.output import print_json, table
from thane.interfaces.cli.tables import Column

COLUMNS = (
    Column("OPERATION"),
    Column("HTTP", "wrap"),
    Column("EFFECT", "drop"),
    Column("WHAT IT DOES", "wrap"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def operations(ctx: click.Context, as_json: bool) -> None:
    """List every operation: its name, its address, its effect and what it does."""
    rows = [
        {
            "name": o.name,
            "http": f"{o.method} /api/v1{o.path}" if o.path else None,
            "effect": o.effect.value,
            "needs": o.needs,
            "summary": o.summary,
        }
        for o in sorted(launcher_of(ctx).operations(), key=lambda o: o.name)
    ]
    if as_json:
        print_json(rows)
        return
    table(
        [(r["name"], r["http"] or "internal", r["effect"], r["summary"]) for r in rows],
        COLUMNS,
    )
