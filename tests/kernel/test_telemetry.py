"""Metrics: exact numbers, the promised names, bounded labels."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from thane.kernel.exposition import CONTENT_TYPE, registry_of, render
from thane.kernel.telemetry import MAX_CHILDREN, OTHER, Histogram, Telemetry


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = render(registry_of(telemetry)).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_names_are_exactly_those_promised() -> None:
    telemetry = Telemetry()
    telemetry.query("select", "executions").observe(0.003)
    telemetry.cache("identify").hit()
    telemetry.operation("runs.create").observe("ok", 0.1)
    telemetry.execution("completed", "T2")
    telemetry.ledger_entries(2)
    telemetry.http_request("GET", 200)
    lines = render(registry_of(telemetry)).decode().splitlines()
    types = {
        tuple(line.split()[2:4]) for line in lines if line.startswith("# TYPE") and "process_" not in line
    }
    assert types == {
        ("db_query_total", "counter"),
        ("db_query_duration_seconds", "histogram"),
        ("cache_hit_total", "counter"),
        ("cache_miss_total", "counter"),
        ("thane_operations_total", "counter"),
        ("thane_operation_duration_seconds", "histogram"),
        ("thane_executions_total", "counter"),
        ("thane_ledger_entries_total", "counter"),
        ("thane_http_requests_total", "counter"),
    }
    assert not any("_created" in line or "_total_total" in line for line in lines)
    assert "text/plain" in CONTENT_TYPE


def test_every_number_arrives_with_its_labels() -> None:
    telemetry = Telemetry()
    query = telemetry.query("select", "executions")
    query.observe(0.003)
    query.observe(70.0, ok=False)
    cache = telemetry.cache("identify")
    cache.hit()
    cache.hit()
    cache.miss()
    telemetry.operation("runs.create").observe("ok", 0.1)
    telemetry.operation("runs.create").observe("denied", 0.1)
    telemetry.execution("timeout", "T1")
    telemetry.ledger_entries(3)
    found = samples(telemetry)
    where = (("operation", "select"), ("table", "executions"))
    assert found["db_query_total", (where[0], ("status", "ok"), where[1])] == 1
    assert found["db_query_total", (where[0], ("status", "error"), where[1])] == 1
    assert found["db_query_duration_seconds_count", where] == 2
    assert found["db_query_duration_seconds_sum", where] == pytest.approx(70.003)
    assert found["db_query_duration_seconds_bucket", (("le", "0.0025"), *where)] == 0
    assert found["db_query_duration_seconds_bucket", (("le", "0.005"), *where)] == 1
    assert found["db_query_duration_seconds_bucket", (("le", "60.0"), *where)] == 1
    assert found["db_query_duration_seconds_bucket", (("le", "+Inf"), *where)] == 2
    assert found["cache_hit_total", (("cache", "identify"),)] == 2
    assert found["cache_miss_total", (("cache", "identify"),)] == 1
    assert found["thane_operations_total", (("operation", "runs.create"), ("outcome", "denied"))] == 1
    assert found["thane_operation_duration_seconds_count", (("operation", "runs.create"),)] == 2
    assert found["thane_executions_total", (("outcome", "timeout"), ("tier", "T1"))] == 1
    assert found["thane_ledger_entries_total", ()] == 3


def test_a_metric_without_labels_is_there_before_its_first_use() -> None:
    assert samples(Telemetry())["thane_ledger_entries_total", ()] == 0


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.read() == ([2, 2, 1], 14.0)


def test_label_values_of_callers_cannot_fill_the_memory() -> None:
    telemetry = Telemetry()
    for number in range(MAX_CHILDREN + 50):
        telemetry.http_request("BREW", number)
        telemetry.cache(f"cache-{number}").hit()
    found = samples(telemetry)
    assert len([key for key in found if key[0] == "cache_hit_total"]) == MAX_CHILDREN + 1
    assert found["cache_hit_total", (("cache", OTHER),)] == 50
    assert not any("BREW" in str(key) for key in found)


def test_label_values_are_escaped() -> None:
    telemetry = Telemetry()
    telemetry.cache('a"b\nc\\').hit()
    assert samples(telemetry)["cache_hit_total", (("cache", 'a"b\nc\\'),)] == 1


def test_counts_are_exact_with_threads() -> None:
    telemetry = Telemetry()
    meter = telemetry.operation("runs.create")

    def work() -> None:
        for _ in range(20_000):
            meter.observe("ok", 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(telemetry)
    assert found["thane_operations_total", (("operation", "runs.create"), ("outcome", "ok"))] == 80_000
    assert found["thane_operation_duration_seconds_sum", (("operation", "runs.create"),)] == 80_000


def test_modules_declare_their_own() -> None:
    telemetry = Telemetry()
    telemetry.counter("sandboxes_made_total", "Sandboxes", ("tier",)).child("T2").add(4)
    telemetry.gauge("sandboxes_open", "Open now").child().set(2.5)
    telemetry.histogram("queue_seconds", "Wait", bounds=(1.0,)).child().observe(0.5)
    found = samples(telemetry)
    assert found["sandboxes_made_total", (("tier", "T2"),)] == 4
    assert found["sandboxes_open", ()] == 2.5
    assert found["queue_seconds_bucket", (("le", "1.0"),)] == 1


def test_wrong_declarations_are_refused() -> None:
    telemetry = Telemetry()
    with pytest.raises(ValueError, match="ends with _total"):
        telemetry.counter("sandboxes_made", "Sandboxes")
    with pytest.raises(ValueError, match="two metrics are called db_query_total"):
        telemetry.counter("db_query_total", "again")
    with pytest.raises(ValueError, match="has the labels"):
        telemetry.counter("x_total", "x", ("a", "b")).child("1")


def test_the_process_itself_is_shown() -> None:
    assert samples(Telemetry())["process_resident_memory_bytes", ()] > 1_000_000


def test_counting_does_not_import_the_client() -> None:
    code = "import sys, thane.kernel.telemetry; assert 'prometheus_client' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
