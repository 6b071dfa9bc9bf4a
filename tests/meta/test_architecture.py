"""docs/architecture.md names only what exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.project import ROOT

PAGE = ROOT / "docs" / "architecture.md"

_CODE = re.compile(r"`([^`\n]+)`")
_MODULE = re.compile(r"(?:thane|thane_verify)(?:\.\w+)+")
_PATH = re.compile(r"(?:[\w.-]+/)+(?:[\w.-]+\.(?:py|sh|toml|md))?")


def module_exists(name: str, source: Path) -> bool:
    """Whether `a.b.c` is a module, a package, or a name that module `a.b` defines at its top."""
    path = source.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
        return True
    parent = path.parent
    for home in (parent.with_suffix(".py"), parent / "__init__.py"):
        if home.is_file() and path.name in top_names(home):
            return True
    return False


def top_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name for alias in aliases}
            case _:
                pass
    return names


def missing(text: str, root: Path) -> tuple[list[str], int]:
    """What the text names in code spans and does not exist, and how many names were looked up."""
    gone, looked = [], 0
    for span in dict.fromkeys(_CODE.findall(text)):
        if _MODULE.fullmatch(span):
            looked += 1
            if not module_exists(span, root / "src"):
                gone.append(span)
        elif _PATH.fullmatch(span):
            looked += 1
            if not any((base / span).exists() for base in (root, root / "src", root / "src/thane")):
                gone.append(span)
    return gone, looked


def test_the_architecture_page_names_only_what_exists() -> None:
    gone, looked = missing(PAGE.read_text(encoding="utf-8"), ROOT)
    assert gone == []
    assert looked >= 20, "the way of a request from socket to disk names more modules than that"


def test_a_name_that_does_not_exist_is_found() -> None:
    text = (
        "`thane.kernel.errors` `thane.kernel.errors.ThaneError` `thane.kernel.magic` "
        "`kernel/errors.py` `src/gone/` `a b`"
    )
    assert missing(text, ROOT) == (["thane.kernel.magic", "src/gone/"], 5)
