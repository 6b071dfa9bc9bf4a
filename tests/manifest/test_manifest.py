"""Every name of the five seed designs is built, or is counted as missing; the counts only fall."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifest.compare import (
    Built,
    Comparison,
    Finding,
    compare,
    listed,
    missing_of,
    report,
)


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return compare()


def test_what_is_built_says_what_the_seeds_say(findings: list[Finding]) -> None:
    wrong = [f"{f.name}: {f.wrong}" for f in findings if f.wrong]
    assert not wrong, "\n".join(["built, but otherwise than the seeds want it:", *wrong])


def test_what_is_missing_is_counted_and_only_falls(
    findings: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{report(findings)}")
    counted, known = missing_of(findings), listed()
    differences = [
        f"{domain}, {kind}: {have} missing, {want} listed"
        for domain in sorted({*counted, *known})
        for kind in sorted({*counted.get(domain, {}), *known.get(domain, {})})
        if (have := counted.get(domain, {}).get(kind, 0)) != (want := known.get(domain, {}).get(kind, 0))
    ]
    advice = "fewer: run `uv run python -m tests.manifest.compare --write`; more: something was lost"
    assert not differences, "\n".join([*differences, advice])


def test_a_table_that_is_built_lacks_no_field_index_or_word(findings: list[Finding]) -> None:
    whole = {f.name for f in findings if f.kind == "entities" and f.built}
    assert whole >= {"tenants", "users", "projects", "billing_events", "sandboxes", "executions", "runs"}
    lacking = [
        f.name
        for f in findings
        if not f.built
        and f.kind in ("fields", "added fields", "indexes", "states")
        and f.name.replace("(", ".").partition(".")[0] in whole
    ]
    assert not lacking, lacking


def test_every_item_has_a_domain_that_is_known(findings: list[Finding]) -> None:
    known = {f.domain for f in findings}
    assert known >= {"accounts", "sandboxes", "billing", "projects", "audit", "runs", "system", "wallets"}
    assert len({(f.domain, f.kind, f.name) for f in findings}) == len(findings) > 800


def test_the_comparison_finds_what_is_wrong() -> None:
    built = Built()
    empty: dict[str, list[dict[str, Any]]] = {
        "entities": [{"domain": "accounts", "name": "users", "shape": "table", "from_seeds": []}],
        "tables": [],
        "additions": [],
    }
    for kind in ("object_fields", "methods", "queries", "settings", "metrics", "errors"):
        empty[kind] = []

    def wrong(**given: list[dict[str, Any]]) -> dict[str, str]:
        rows: dict[str, list[dict[str, Any]]] = {
            "fields": [], "indexes": [], "states": [], "foreign_keys": [], **empty, **given
        }  # fmt: skip
        return {f.name: f.wrong if f.built else "missing" for f in Comparison(rows, built).findings()}

    row = {"entity": "users", "thane": "same", "required": True}
    assert "is time" in wrong(fields=[{**row, "name": "created_at", "type": "INT"}])["users.created_at"]
    assert "nullable" in wrong(fields=[{**row, "name": "username", "type": "TEXT"}])["users.username"]
    other = wrong(fields=[{**row, "name": "role", "type": "TEXT", "default": "'admin'"}])
    assert "default" in other["users.role"]
    assert wrong(fields=[{**row, "name": "shoe_size", "type": "INT"}])["users.shoe_size"] == "missing"
    index = {"entity": "users", "columns": ["username", "status"], "thane": "same"}
    assert wrong(indexes=[index])["users(username, status)"] == "missing"
    word = {"enum": "users.status", "name": "asleep", "thane": "same"}
    found = wrong(states=[word])
    assert "no 'asleep'" in found["users.status: asleep"]
    assert "adds" in found["users.status"]
    reference = {"name": "users.tenant_id", "references": "tenants", "on_delete": "CASCADE", "thane": "same"}
    assert "cascade" in wrong(foreign_keys=[reference])["users.tenant_id -> tenants"]
