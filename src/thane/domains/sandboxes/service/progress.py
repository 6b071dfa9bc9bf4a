"""What a running program's caller sees while it runs, and the rows that are kept of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from thane.domains.sandboxes.entities import ExecutionChunk, MetricSource, NetworkUsage, ResourceMetric
from thane.kernel.clock import Clock, from_us
from thane.kernel.ports.isolation import Limits, Sample, Usage
from thane.kernel.records import Unit


class Output(msgspec.Struct, frozen=True, tag="output"):
    """Progress: bytes as the program wrote them (base64 in JSON). `seq` has no gaps."""

    seq: int
    stream: str
    data: bytes

    def row(self, unit: Unit, tenant_id: str, execution_id: str) -> ExecutionChunk:
        return ExecutionChunk(
            id=f"chk_{execution_id[4:]}{self.seq:08x}",
            tenant_id=tenant_id,
            execution_id=execution_id,
            seq=self.seq,
            stream=self.stream,
            data=self.data,
            created_at=unit.now,
        )


class Metric(msgspec.Struct, frozen=True, tag="sample"):
    """Progress: use at one moment, in per cent of the limits."""

    seq: int
    timestamp: datetime
    cpu_usage: Decimal
    memory_usage: Decimal
    disk_usage: Decimal
    network_usage: NetworkUsage
    custom_metrics: dict[str, Any] = {}
    source: MetricSource = MetricSource.SAMPLER

    @classmethod
    def custom(cls, last: Metric, values: dict[str, Any], clock: Clock) -> Metric:
        """Figures of the caller's, beside what was in use at the last sample."""
        return msgspec.structs.replace(
            last,
            seq=last.seq + 1,
            timestamp=from_us(clock.now_us()),
            custom_metrics=values,
            source=MetricSource.API,
        )

    @classmethod
    def of(cls, seq: int, sample: Sample, last: Usage, limits: Limits, clock: Clock) -> Metric:
        """A sample in per cent: CPU since the last one, memory and disk, each of what is allowed."""
        usage = sample.usage
        wall = usage.wall_us - last.wall_us or sample.at_us - last.wall_us
        cpu = Decimal(0)
        if wall > 0:
            cpu = Decimal(usage.cpu_us - last.cpu_us) / wall * 100_000 / limits.cpu_millicores
        memory = sample.memory_bytes or usage.peak_memory_bytes
        return cls(
            seq=seq,
            timestamp=from_us(clock.now_us()),
            cpu_usage=_percent(cpu),
            memory_usage=_percent(Decimal(memory) * 100 / limits.memory_bytes),
            disk_usage=_percent(Decimal(usage.workspace_bytes) * 100 / limits.disk_bytes),
            network_usage=NetworkUsage(
                bytes_in=usage.network_in_bytes,
                bytes_out=usage.network_out_bytes,
                packets_in=usage.network_in_packets,
                packets_out=usage.network_out_packets,
            ),
        )

    def row(
        self, unit: Unit, tenant_id: str, project_id: str, sandbox_id: str, execution_id: str
    ) -> ResourceMetric:
        return ResourceMetric(
            id=f"met_{execution_id[4:]}{self.seq:08x}",
            tenant_id=tenant_id,
            project_id=project_id,
            sandbox_id=sandbox_id,
            execution_id=execution_id,
            seq=self.seq,
            timestamp=self.timestamp,
            cpu_usage=self.cpu_usage,
            memory_usage=self.memory_usage,
            disk_usage=self.disk_usage,
            network_usage=self.network_usage,
            custom_metrics=self.custom_metrics,
            source=self.source,
        )


def _percent(value: Decimal) -> Decimal:
    return max(Decimal(0), value).quantize(Decimal("0.001"))
