"""Every error of the tree is reached by a test, or is only the root of others."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import thane
from thane.kernel.errors import tree

ROOT = Path(__file__).parents[2]
# Imported by name elsewhere: programs, not modules with errors.
PROGRAMS = ("thane.__main__", "thane.isolation")


def _import_everything() -> None:
    for module in pkgutil.walk_packages(thane.__path__, "thane."):
        if not module.name.startswith(PROGRAMS):
            importlib.import_module(module.name)


def test_every_error_is_named_by_a_test() -> None:
    _import_everything()
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("*.py"))
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "src/thane").rglob("*.py"))
    unreached = []
    for code, error in tree().items():
        raised = re.search(rf"\b{error.__name__}\(", source.replace(f"class {error.__name__}(", ""))
        if raised is None and error.__subclasses__():
            continue  # the root of others, never raised itself
        if not re.search(rf"\b{error.__name__}\b|[\"']{code}[\"']", tests):
            unreached.append(f"{error.__name__} ({code})")
    assert unreached == []


def test_every_error_tells_a_next_step() -> None:
    _import_everything()
    assert [e.__name__ for e in tree().values() if not e.default_hint] == []
