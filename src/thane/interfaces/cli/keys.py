"""`thane keys`: make, list and revoke API keys of the local owner."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import body_of, note, print_json, table
from thane.interfaces.cli.tables import Column

COLUMNS = (Column("ID"), Column("NAME", "wrap"), Column("KEY"), Column("STATE"), Column("CREATED", "drop"))


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


def _call(
    ctx: click.Context, data: str | None, config: str | None, method: str, path: str, body: Any = None
) -> Any:
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})

    async def work() -> Any:
        async with launcher.calling(launcher.data(data), loaded) as caller:
            return body_of(await caller.call(method, path, body))

    return asyncio.run(work())


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="A permission it may use; none: all of yours.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@data_option
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    scopes: tuple[str, ...],
    as_json: bool,
    data: str | None,
    config: str | None,
) -> None:
    """Make a key called NAME. It is shown once."""
    made = _call(ctx, data, config, "POST", "/api/v1/keys", {"name": name, "scopes": list(scopes)})
    if as_json:
        print_json({k: v for k, v in made.items() if k != "ledger"})
        return
    click.echo(made["key"])
    note(f"{made['id']} {name}: shown once; Thane keeps only its hash")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@data_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool, data: str | None, config: str | None) -> None:
    """List keys, revoked ones too."""
    page = _call(ctx, data, config, "GET", "/api/v1/keys?limit=500")
    if as_json:
        print_json(page["items"])
        return
    rows = [
        (
            k["id"],
            k["name"],
            k["prefix"] + "…",
            "revoked" if k["revoked_at"] else "active",
            k["created_at"][:19],
        )
        for k in page["items"]
    ]
    table(rows, COLUMNS)


@keys.command()
@click.argument("key_id")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")
@data_option
@click.pass_context
def revoke(ctx: click.Context, key_id: str, as_json: bool, data: str | None, config: str | None) -> None:
    """Revoke the key with this id: from now on it opens nothing."""
    made = _call(ctx, data, config, "POST", f"/api/v1/keys/{key_id}/revoke", {})
    if as_json:
        print_json(made)
    else:
        note(f"{made['id']} {made['name']} is revoked")
