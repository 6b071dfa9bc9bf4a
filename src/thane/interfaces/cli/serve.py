"""`thane serve`: the HTTP API until it is stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import note, print_json


@click.command()
@click.option("--host", help="Address to listen on; default 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; default 8090, 0 for any.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object when it is ready.")
@data_option
@click.pass_context
def serve(
    ctx: click.Context,
    host: str | None,
    port: int | None,
    as_json: bool,
    data: str | None,
    config: str | None,
) -> None:
    """Serve the API of a data folder. Stop it with Ctrl-C: what was begun is finished first."""
    launcher = launcher_of(ctx)
    overrides: dict[str, Any] = {k: v for k, v in (("http.host", host), ("http.port", port)) if v is not None}
    loaded = launcher.settings(config, overrides)

    async def work() -> None:
        async for ready in launcher.serving(launcher.data(data), loaded):
            if as_json:
                print_json({**ready._asdict(), "data": str(ready.data)})
                continue
            note(f"thane is ready at {ready.url} after {ready.seconds:.2f} s")
            note(f"  data       {ready.data}")
            note(f"  isolation  {ready.tier}")
            if ready.setup_link is not None:
                note(f"  set up     curl -X POST {ready.url}{ready.setup_link}   (once, within a day)")
            key = f"$(cat {ready.data}/keys/local-key)"
            note(f'  try        curl -H "Authorization: Bearer {key}" {ready.url}/api/v1/me')

    # Here, because every other command does without it.
    from uvloop import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work())
