"""The tasks of the project can be run: scripts parse, recipes are known, groups that are named exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest

from tests.conftest import require
from tests.support.project import ROOT, project_files, text_of


@pytest.mark.parametrize("script", [".ci/run", ".githooks/pre-commit", "tests/fresh/enter.sh"])
def test_a_script_parses_stops_at_errors_and_may_be_run(script: str) -> None:
    path = ROOT / script
    done = subprocess.run(["bash", "-n", str(path)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o100, f"{script} is not executable"


def test_the_recipes_that_the_documents_name_exist() -> None:
    just = shutil.which("just")
    require(just, "just", get="uv sync --group lint")
    done = subprocess.run([str(just), "--summary"], cwd=ROOT, check=True, capture_output=True, text=True)
    recipes = set(done.stdout.split())
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {name for line in re.findall(r"\bjust ([a-z][a-z-]*)`", text) for name in [line]}
    named |= {
        name for path in (".ci/run",) for name in re.findall(r"`just ([a-z-]+)", (ROOT / path).read_text())
    }
    assert {"ci", "test", "coverage", "crash"} <= named
    assert named <= recipes


def test_dependency_groups_that_are_named_exist() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"].keys()
    example = "tests/meta/test_needs.py", "tests/support/needs.py"
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in project_files()
        if path.relative_to(ROOT).as_posix() not in example
        for name in re.findall(r"uv sync --group ([a-z-]+)", text_of(path) or "")
        if name not in groups
    ]
    assert wrong == []
