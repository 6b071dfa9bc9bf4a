"""The import rules hold, and each of them catches the breach that it is for.

The breaches are planted in a toy tree that has the project's package names, so that the
rules are tested as they stand in `.importlinter`, before the packages they speak of exist.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.lint.hidden_imports import MAY_HIDE, hidden_imports
from tests.support.needs import require

ROOT = Path(__file__).resolve().parents[2]

# A tree that keeps every rule: file → content.
KEPT: dict[str, str] = {
    "thane/__init__.py": "",
    "thane/__main__.py": "import click\nfrom thane import bootstrap\n",
    "thane/bootstrap.py": (
        "import thane.domains.runs.module\n"
        "from thane.adapters import sqlite\n"
        "from thane.interfaces import http\n"
    ),
    "thane/kernel/__init__.py": "",
    "thane/kernel/errors.py": "import msgspec\n",
    "thane/kernel/ids.py": "from thane.kernel import errors\n",
    "thane/adapters/__init__.py": "",
    "thane/adapters/sqlite.py": "import apsw\nfrom thane.kernel import errors\n",
    "thane/interfaces/__init__.py": "",
    "thane/interfaces/http.py": "import uvicorn\nfrom thane.domains import runs\n",
    "thane/interfaces/cli/__init__.py": "import click\n",
    "thane/maintenance/__init__.py": "import thane.domains.accounts.module\n",
    "thane/domains/__init__.py": "",
    "thane/domains/accounts/__init__.py": "from thane.domains.accounts.service import sign_in\n",
    "thane/domains/accounts/errors.py": "from thane.kernel import errors\n",
    "thane/domains/accounts/entities.py": "from thane.domains.accounts import errors\n",
    "thane/domains/accounts/events.py": "from thane.domains.accounts import entities\n",
    "thane/domains/accounts/service.py": "from thane.domains.accounts import entities\nsign_in = 1\n",
    "thane/domains/accounts/operations.py": "from thane.domains.accounts import service\n",
    "thane/domains/accounts/module.py": "from thane.domains.accounts import operations\n",
    "thane/domains/runs/__init__.py": "",
    "thane/domains/runs/entities.py": "",
    "thane/domains/runs/repository.py": "from thane.domains.runs import entities\n",
    "thane/domains/runs/service.py": (
        "from thane.domains.accounts import sign_in\nfrom thane.domains.runs import repository\n"
    ),
    "thane/domains/runs/jobs.py": "from thane.domains.runs import service\n",
    "thane/domains/runs/operations.py": "from thane.domains.runs import service\n",
    "thane/domains/runs/module.py": "from thane.domains.runs import jobs, operations\n",
    "thane/isolation/__init__.py": "",
    "thane/isolation/jail.py": "import os, socket\nfrom thane.isolation import seccomp\n",
    "thane/isolation/seccomp.py": "import struct\n",
    "thane/client/__init__.py": "import json\n",
    "thane_verify/__init__.py": "",
    "thane_verify/tree.py": "import hashlib\nimport cryptography\n",
}

LAYERS = "Layers of the house"
DOMAINS = "Domains in their declared order"
SHAPE = "Shape inside a domain"
DOORS = "A domain is entered by its package"
ISOLATION = "The isolation program stands alone"
VERIFIER = "The verifier stands alone"
CLIENT = "The client stands alone"
DRIVERS = "Drivers stay in their homes"
CYCLES = "No cycles"

# What breaks, in which file, by which line. One rule may be broken in several ways.
BREACHES: list[tuple[str, str, str]] = [
    (LAYERS, "thane/kernel/ids.py", "import thane.domains.runs"),
    (LAYERS, "thane/domains/runs/service.py", "import thane.adapters.sqlite"),
    (LAYERS, "thane/interfaces/http.py", "import thane.adapters.sqlite"),
    (LAYERS, "thane/adapters/sqlite.py", "import thane.bootstrap"),
    (LAYERS, "thane/maintenance/__init__.py", "import thane.interfaces.http"),
    (LAYERS, "thane/bootstrap.py", "import thane.__main__"),
    (LAYERS, "thane/utils.py", ""),
    (DOMAINS, "thane/domains/accounts/service.py", "import thane.domains.runs"),
    (DOMAINS, "thane/domains/teleport/__init__.py", ""),
    (SHAPE, "thane/domains/runs/repository.py", "import thane.domains.runs.service"),
    (SHAPE, "thane/domains/runs/jobs.py", "import thane.domains.runs.operations"),
    (SHAPE, "thane/domains/accounts/errors.py", "import thane.domains.accounts.entities"),
    (SHAPE, "thane/domains/runs/helpers.py", ""),
    (DOORS, "thane/domains/runs/service.py", "import thane.domains.accounts.service"),
    (DOORS, "thane/domains/runs/module.py", "import thane.domains.accounts.module"),
    (DOORS, "thane/interfaces/http.py", "import thane.domains.runs.service"),
    (DOORS, "thane/domains/accounts/entities.py", "from thane.domains.accounts import sign_in"),
    (ISOLATION, "thane/isolation/jail.py", "from thane.kernel import errors"),
    (ISOLATION, "thane/isolation/jail.py", "import msgspec"),
    (ISOLATION, "thane/adapters/sqlite.py", "import thane.isolation.jail"),
    (VERIFIER, "thane_verify/tree.py", "from thane.kernel import errors"),
    (VERIFIER, "thane_verify/tree.py", "import msgspec"),
    (VERIFIER, "thane/kernel/ids.py", "import thane_verify"),
    (CLIENT, "thane/client/__init__.py", "from thane.kernel import errors"),
    (CLIENT, "thane/client/__init__.py", "import msgspec"),
    (CLIENT, "thane/kernel/ids.py", "import thane.client"),
    (DRIVERS, "thane/kernel/ids.py", "import apsw"),
    (DRIVERS, "thane/kernel/ids.py", "import sqlite3"),
    (DRIVERS, "thane/domains/runs/service.py", "import subprocess"),
    (DRIVERS, "thane/adapters/sqlite.py", "import uvicorn"),
    (DRIVERS, "thane/interfaces/http.py", "import click"),
    (CYCLES, "thane/kernel/errors.py", "import thane.kernel.ids"),
    (CYCLES, "thane/domains/accounts/entities.py", "import thane.domains.accounts.events"),
]

Lint = Callable[[Mapping[str, str]], str]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """Writes the toy tree with changes and gives what import-linter prints about it."""

    def run(changes: Mapping[str, str]) -> str:
        for name, content in (KEPT | dict(changes)).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return _lint(tmp_path, tmp_path)

    return run


def _lint(working_folder: Path, source: Path) -> str:
    require(importlib.util.find_spec("importlinter"), "import-linter", get="uv sync --group lint")
    # Coverage would take the toy tree for the project.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = inherited | {"PYTHONPATH": f"{source}{os.pathsep}{ROOT}", "COLUMNS": "300"}
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache", str(ROOT / ".importlinter")],
        cwd=working_folder,
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    output = done.stdout + done.stderr
    assert "broken." in output, output
    assert (done.returncode == 0) == (" 0 broken." in output), output
    return output


def _broken(output: str) -> set[str]:
    return {line.removesuffix(" BROKEN") for line in output.splitlines() if line.endswith(" BROKEN")}


def test_the_project_keeps_its_import_rules() -> None:
    output = _lint(ROOT, ROOT / "src")
    assert _broken(output) == set(), output


def test_a_tree_that_keeps_the_rules_passes(lint: Lint) -> None:
    output = lint({})
    assert _broken(output) == set(), output


@pytest.mark.parametrize(("rule", "file", "line"), BREACHES, ids=[f"{n:02}" for n in range(len(BREACHES))])
def test_a_planted_breach_is_caught(lint: Lint, rule: str, file: str, line: str) -> None:
    output = lint({file: f"{KEPT.get(file, '')}{line}\n"})
    assert rule in _broken(output), f"`{line}` in {file} was not caught by “{rule}”:\n{output}"


def test_every_rule_has_a_breach_that_proves_it() -> None:
    names = {
        line.partition("=")[2].strip()
        for line in (ROOT / ".importlinter").read_text().splitlines()
        if line.startswith("name =")
    }
    assert names == {rule for rule, _, _ in BREACHES}


def test_no_imports_are_hidden_in_functions() -> None:
    assert hidden_imports(ROOT / "src") == []


def test_what_may_hide_imports_exists_and_says_why() -> None:
    files = [name for name in MAY_HIDE if name.endswith(".py")]
    assert [name for name in files if not (ROOT / "src" / name).is_file()] == []
    assert all(MAY_HIDE.values())


def test_hidden_imports_are_found_and_allowed_only_where_they_may_be(tmp_path: Path) -> None:
    hidden = "def load():\n    if True:\n        import json\n    return json\n"
    by_name = "async def load():\n    return importlib.import_module('json')\n"
    open_ones = "import json\nif TYPE_CHECKING:\n    import csv\n"
    for name, content in {
        "thane/kernel/ids.py": hidden,
        "thane/kernel/clock.py": by_name,
        "thane/kernel/money.py": open_ones,
        "thane/adapters/sqlite.py": hidden,
        "thane/interfaces/cli/run.py": by_name,
        "thane/__main__.py": hidden,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert hidden_imports(tmp_path) == [
        "thane/kernel/clock.py:2: importlib.import_module('json')",
        "thane/kernel/ids.py:3: import json",
    ]
