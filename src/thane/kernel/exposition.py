"""Metrics in Prometheus' text format. Imported by what serves `/metrics`, and by nothing else.

prometheus-client formats and escapes; the numbers are `Telemetry`'s, read when they are
asked for. A registry of our own: what other libraries count in the global one is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from thane.kernel.telemetry import Counter, Gauge, Histogram, Telemetry

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Bridge(Collector):
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        for family in self._telemetry.families():
            metric: Metric | None = None
            for labels, child in family.children():
                if isinstance(child, Counter):
                    # The client takes the name without _total and writes it with.
                    metric = metric or CounterMetricFamily(family.name, family.help, labels=family.labels)
                    metric.add_metric(labels, child.value)  # type: ignore[attr-defined]
                elif isinstance(child, Gauge):
                    metric = metric or GaugeMetricFamily(family.name, family.help, labels=family.labels)
                    metric.add_metric(labels, child.value)  # type: ignore[attr-defined]
                else:
                    metric = metric or HistogramMetricFamily(family.name, family.help, labels=family.labels)
                    buckets, total = _buckets(child)
                    metric.add_metric(labels, buckets, total)  # type: ignore[attr-defined]
            if metric is not None:
                yield metric


def _buckets(child: Histogram) -> tuple[list[tuple[str, float]], float]:
    counts, total = child.read()
    found: list[tuple[str, float]] = []
    sum_so_far = 0
    for bound, count in zip([*map(str, child.bounds), "+Inf"], counts, strict=True):
        sum_so_far += count
        found.append((bound, float(sum_so_far)))
    return found, total


def registry_of(telemetry: Telemetry) -> CollectorRegistry:
    """A registry with these metrics and those of the process (memory, CPU, open files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Bridge(telemetry))
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """The text that a scraper reads; its type is `CONTENT_TYPE`."""
    return generate_latest(registry)
