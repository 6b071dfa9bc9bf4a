"""`thane config check`: every setting, its value and where that comes from."""

from __future__ import annotations

import click

from thane.interfaces.cli.main import launcher_of
from thane.interfaces.cli.output import note, print_json, table
from thane.interfaces.cli.tables import Column
from thane.kernel.settings_effect import idle


@click.group()
def config() -> None:
    """Explain the settings."""


@config.command()
@click.option("--config", "config_file", type=click.Path(), help="Settings file, or a name in config/.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def check(ctx: click.Context, config_file: str | None, as_json: bool) -> None:
    """Read the settings as the server would; an unknown key or a wrong value is an error."""
    loaded = launcher_of(ctx).settings(config_file, {})
    explained, useless = loaded.explain(), dict(idle(loaded.settings))
    if as_json:
        print_json(
            [
                {
                    "key": e.key,
                    "value": e.value_masked,
                    "default": e.default,
                    "origin": e.origin,
                    "no_effect": useless.get(e.key),
                }
                for e in explained
            ]
        )
        return
    table(
        [(e.key, e.value_masked, e.origin, e.description) for e in explained],
        (Column("KEY"), Column("VALUE", "wrap"), Column("FROM", "wrap"), Column("WHAT IT IS", "wrap")),
    )
    for setting in idle(loaded.settings):
        note(f"warning: {setting}")
