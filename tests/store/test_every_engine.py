"""In CI the conformance suite cannot pass without having run on every registered engine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.store.engines import REGISTERED
from tests.support.project import ROOT


def run(ci: str, selected: str) -> subprocess.CompletedProcess[str]:
    """pytest over one file of the suite, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTEST_ADDOPTS", "CI", "THANE_TEST_CI")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "tests/store/test_graph.py",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            selected,
        ],
        cwd=ROOT,
        env=environment | {"THANE_TEST_CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_run_that_leaves_an_engine_out_fails_in_ci() -> None:
    finished = run("1", "no_such_test")
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.stdout
    assert f"were not run: {', '.join(sorted(e.name for e in REGISTERED))}" in finished.stdout


def test_elsewhere_a_part_may_be_run() -> None:
    assert run("0", "no_such_test").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_run_on_all_of_them_passes_in_ci() -> None:
    finished = run("1", "test_from_nowhere_no_edge_leads_anywhere")
    assert finished.returncode == pytest.ExitCode.OK, finished.stdout
    assert f"{len(REGISTERED)} passed" in finished.stdout


def test_names_of_engines_are_their_own() -> None:
    assert len({engine.name for engine in REGISTERED}) == len(REGISTERED)
