"""A file past 400 lines or a function past 60 wants splitting along a seam that has a name."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.project import SOURCE

FILE_LINES = 400
FUNCTION_LINES = 60


def too_long(source: Path) -> list[str]:
    offenders = []
    for path in sorted(source.rglob("*.py")):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(source).as_posix()
        lines = len(text.splitlines())
        if lines > FILE_LINES:
            offenders.append(f"{name}: {lines} lines")
        offenders += [
            f"{name}:{node.lineno} {node.name}: {length(node)} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > FUNCTION_LINES
        ]
    return offenders


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from `def` to its end, its docstring left out."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def test_no_file_or_function_is_too_long() -> None:
    offenders = too_long(SOURCE)
    assert not offenders, "\n".join(["split along a seam you can name:", *offenders])


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    body = "    x = 1\n"
    (tmp_path / "fits.py").write_text(f'def f():\n    """A\n    docstring."""\n{body * 59}')
    (tmp_path / "function.py").write_text(f"async def f():\n{body * 60}")
    (tmp_path / "file.py").write_text("x = 1\n" * 401)
    assert too_long(tmp_path) == ["file.py: 401 lines", "function.py:1 f: 61 lines"]
