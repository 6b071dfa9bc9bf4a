"""What sandboxes do by themselves: end the jails of those that were terminated, or that nobody uses."""

from __future__ import annotations

from thane.domains.sandboxes.service import Runner
from thane.kernel.feed import Entry
from thane.kernel.jobs.declare import Periodic, Subscription, Tools

IDLE_SECONDS = 30.0  # between two looks


def ending(runner: Runner) -> Subscription:
    """A terminated sandbox's jail ends, also if the server died between the two."""

    async def end(entry: Entry, tools: Tools) -> None:
        if entry.leaf.resource is not None:
            await runner.end_sandbox(entry.leaf.resource)

    return Subscription(
        consumer="sandboxes.end", handler=end, operations=("sandboxes.terminate",), passes_dead=True
    )


def sweeping(runner: Runner) -> Periodic:
    async def sweep(tools: Tools) -> None:
        await runner.end_idle()

    return Periodic(name="idle-sandboxes", seconds=IDLE_SECONDS, run=sweep, everywhere=True)
