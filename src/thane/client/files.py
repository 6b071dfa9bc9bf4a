"""Files for programs and from programs: read before the call, written after it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from thane.client.convert import write
from thane.client.problem import ThaneError

Content: TypeAlias = bytes | str | os.PathLike[str]
# `{"data.csv": b"…", "words.txt": Path("local.txt")}`, or paths, each by its own name.
Files: TypeAlias = Mapping[str, Content] | Iterable[str | os.PathLike[str]]


def taken(files: Files | None) -> list[dict[str, Any]] | None:
    """Files as a request carries them. Text is a file's content in a mapping and a path in a list."""
    if files is None:
        return None
    if isinstance(files, str | bytes):
        raise TypeError("files is a mapping of names to contents, or a list of paths")
    if isinstance(files, Mapping):
        named = {name: _content(content) for name, content in files.items()}
    else:
        named = {}
        for path in map(Path, files):
            if path.name in named:
                raise ValueError(f"two files are called {path.name}; give a mapping of names to paths")
            named[path.name] = path.read_bytes()
    return [{"name": name, "content": write(content)} for name, content in named.items()]


def _content(content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    return content.encode() if isinstance(content, str) else Path(content).read_bytes()


def place(folder: Path, name: str) -> Path:
    """Where a produced file goes; ThaneError if its name, or a link there, leads out of `folder`."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ThaneError(
            f"the program produced a file called {name!r}", "It was not written: it would leave the folder"
        )
    return path


def put(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
