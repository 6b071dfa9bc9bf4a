"""What can be watched of a process from outside: the parts that /health asks, and the page of metrics."""

from __future__ import annotations

from thane.adapters.isolation import IsolationClient
from thane.interfaces.http.health import Check
from thane.kernel.records import Engine
from thane.kernel.telemetry import Telemetry


def health(engine: Engine, isolation: IsolationClient) -> dict[str, Check]:
    """The parts that can be down, each a check that raises."""

    async def store() -> None:
        await engine.check()

    async def isolated() -> None:
        await isolation.start()

    return {"store": store, "isolation": isolated}


def metrics(telemetry: Telemetry) -> bytes:
    """Everything that was counted, in Prometheus' text format."""
    # Imported at the first scrape: the client library costs a tenth of a second at start.
    from thane.kernel.exposition import registry_of, render

    return render(registry_of(telemetry))
