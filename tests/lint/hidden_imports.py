"""Finds imports that are written inside functions, where a reader does not look for them.

They are allowed where a heavy optional part is loaded only by the command that uses it.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TypeGuard

# Where an import may stand inside a function, and why.
MAY_HIDE = {
    "thane/adapters": "a driver is loaded by whoever configured it",
    "thane/bootstrap": "a command loads what it uses",
    "thane/client/__init__.py": "asyncio is loaded by whoever asks for AsyncThane",
    "thane/client/_sync/streams.py": "ssl is loaded by whoever names an https address",
    "thane/interfaces/cli": "a command loads what it uses",
    "thane/__main__.py": "a command loads what it uses",
    "thane/isolation/jailed.py": "what it imports at its top, every execution waits for",
    "thane/kernel/records/text.py": "loads one stemmer of a package that would import all of them",
}

_LOADERS = {"import_module", "__import__"}


def hidden_imports(source: Path) -> list[str]:
    """Every `file:line: statement` under `source` that imports inside a function and may not."""
    found: list[str] = []
    for path in sorted(source.rglob("*.py")):
        name = path.relative_to(source).as_posix()
        if not any(name == where or name.startswith(where + "/") for where in MAY_HIDE):
            found += [f"{name}:{line}: {text}" for line, text in _inside_functions(path)]
    return found


def _inside_functions(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_bytes(), filename=str(path))
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    lines = {
        (node.lineno, ast.unparse(node))
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) or _loads(node)
    }
    return sorted(lines)


def _loads(node: ast.AST) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
    return name in _LOADERS
