"""Files that are made: format them, write them, or tell which of them are out of date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
Made = Mapping[str, str]


def formatted(files: Made) -> dict[str, str]:
    """Python files as ruff would have them; others as they are. One call per step for all of them."""
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        settings = ("--config", str(ROOT / "pyproject.toml"), "--no-cache", "--quiet")
        _ruff("check", "--fix-only", "--select", "I,F401", *settings, str(folder))
        _ruff("format", *settings, str(folder))
        return {name: (folder / name).read_text(encoding="utf-8") for name in files}


def _ruff(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ruff", *arguments], check=True)


def stale(files: Made, folders: tuple[str, ...], suffix: str, mark: str) -> list[str]:
    """Paths whose file is missing, differs, or is marked as made and is made no longer."""
    wrong = [
        name
        for name, text in files.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    return sorted(wrong + left_over(files, folders, suffix, mark))


def left_over(files: Made, folders: tuple[str, ...], suffix: str, mark: str) -> list[str]:
    """Files that hold `mark` and are not made any more."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob(f"*{suffix}")):
            name = path.relative_to(ROOT).as_posix()
            if name not in files and mark in path.read_text(encoding="utf-8"):
                found.append(name)
    return found


def write(files: Made, folders: tuple[str, ...], suffix: str, mark: str) -> list[str]:
    """Bring the files up to date; the paths that changed."""
    changed = stale(files, folders, suffix, mark)
    for name in changed:
        path = ROOT / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()
    return changed
