"""A job as it came over the socket: checked here, once, before anything is made for it."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import Any

MAX_NAME = 255
MAX_PATH = 1024
MAX_FILES = 1000
# Control, format (U+202E turns the direction of what follows), line and paragraph ends.
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")
LEAST_SAMPLE_MS = 50
_MOST_IMPORTS = 64
_MINIMUMS = {
    "memory_bytes": 16 << 20,
    "cpu_millicores": 1,
    "disk_bytes": 1 << 16,
    "timeout_ms": 1,
    "processes": 1,
    "output_bytes": 1,
}


class Refused(Exception):
    """The job was not run. `code` tells the client which kind of error that is; `hint` what to do."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Limits:
    memory_bytes: int
    cpu_millicores: int
    disk_bytes: int
    timeout_ms: int
    processes: int
    output_bytes: int


@dataclass(frozen=True)
class Template:
    """Installed packages that a jail sees, and which of them a jail in stock imports ahead of its job."""

    packages: str  # a folder of the host, as `pip install --target` makes it
    imports: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    id: str
    language: str
    minimum_tier: str
    limits: Limits
    env: dict[str, str]
    collect: bool
    code: bytes
    stdin: bytes
    files: tuple[tuple[str, bytes], ...]
    sandbox_id: str = ""
    context: str | None = None  # the stateful context to run in; None: a fresh jail of its own
    share: str = ""  # whose share of the slots it takes
    jail: str = ""  # the stateful sandbox's jail that must still be there; empty: any, or a new one
    continues: bool = False  # the context's interpreter must still be there
    sample_seconds: float = 1.0
    template: Template | None = None


def check_name(name: str) -> str | None:
    """Why a workspace file's name cannot be used; None if it can. The same rules in as out."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    if len(encoded) > MAX_PATH:
        return f"the path is longer than {MAX_PATH} bytes"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return "the name is not a plain relative path"
        if len(part.encode()) > MAX_NAME:
            return f"a part of the name is longer than {MAX_NAME} bytes"
    if any(unicodedata.category(character) in _UNSEEN for character in name):
        return "the name has control characters, or characters that change how text reads"
    if "\\" in name:
        return "the name has a backslash"
    return None


def _invalid(message: str) -> Refused:
    return Refused("invalid", message)


def _limits(values: dict[str, Any]) -> Limits:
    for name, minimum in _MINIMUMS.items():
        value = values.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _invalid(f"the limit {name} is missing or not a whole number")
        if value < minimum:
            raise _invalid(f"the limit {name} is {value}; the least is {minimum}")
    return Limits(**{name: values[name] for name in _MINIMUMS})


def _environment(values: object) -> dict[str, str]:
    if not isinstance(values, dict):
        raise _invalid("the environment is not an object")
    for name, value in values.items():
        if not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise _invalid(f"the environment variable {name!r} cannot be set")
    return dict(values)


def _context(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME:
        raise _invalid(f"a context's name is a text of 1 to {MAX_NAME} characters")
    return value


def _template(value: object) -> Template | None:
    if value is None:
        return None
    packages, imports = (
        (value.get("packages"), value.get("imports")) if isinstance(value, dict) else (None, None)
    )
    if not isinstance(packages, str) or not os.path.isabs(packages) or not os.path.isdir(packages):
        raise _invalid(f"the template's packages are not in a folder: {packages!r}")
    if not isinstance(imports, list) or len(imports) > _MOST_IMPORTS:
        raise _invalid(f"a template's imports are a list of at most {_MOST_IMPORTS} names")
    for name in imports:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise _invalid(f"the template's import {name!r} is not a module's name")
    return Template(packages, tuple(imports))


def parse(header: dict[str, Any], body: bytes) -> Request:
    """The frame's job. Raises Refused with what is wrong."""
    job = header.get("job")
    if not isinstance(job, dict):
        raise _invalid("the frame has no job")
    if not isinstance(job.get("id"), str) or not isinstance(job.get("limits"), dict):
        raise _invalid("the job has no id or no limits")
    if job.get("language") not in ("python", "shell"):
        raise Refused("invalid", f"unknown language {job.get('language')!r}", "Use `python` or `shell`.")
    sizes = [
        job.get("code_size"),
        job.get("stdin_size"),
        *(entry.get("size") for entry in job.get("files", [])),
    ]
    if any(not isinstance(size, int) or size < 0 for size in sizes) or sum(sizes) != len(body):
        raise _invalid("the sizes of code, standard input and files do not add up to the body")
    parts: list[bytes] = []
    offset = 0
    for size in sizes:
        parts.append(body[offset : offset + size])
        offset += size
    names = [str(entry.get("name")) for entry in job.get("files", [])]
    if len(names) > MAX_FILES:
        raise _invalid(f"{len(names)} input files; the most is {MAX_FILES}")
    for name in names:
        problem = check_name(name)
        if problem:
            raise _invalid(f"input file {name!r}: {problem}")
    return Request(
        id=job["id"],
        language=job["language"],
        minimum_tier=str(job.get("minimum_tier", "T1")),
        limits=_limits(job["limits"]),
        env=_environment(job.get("env", {})),
        collect=bool(job.get("collect", True)),
        code=parts[0],
        stdin=parts[1],
        files=tuple(zip(names, parts[2:], strict=True)),
        sandbox_id=str(job.get("sandbox_id", "")),
        context=_context(job.get("context")),
        share=str(job.get("share", "")),
        jail=str(job.get("jail", "")),
        continues=bool(job.get("continues", False)),
        sample_seconds=_sample_seconds(job.get("sample_ms", 1000)),
        template=_template(job.get("template")),
    )


def _sample_seconds(value: object) -> float:
    if not isinstance(value, int) or isinstance(value, bool) or value < LEAST_SAMPLE_MS:
        raise _invalid(f"samples are taken every {LEAST_SAMPLE_MS} ms or less often")
    return value / 1000


def parse_home(header: dict[str, Any]) -> Request:
    """What a stateful sandbox is to be made with, if files are put into it before anything runs."""
    home = header.get("home")
    if not isinstance(home, dict) or not isinstance(home.get("limits"), dict):
        raise _invalid("the frame has no home with limits")
    return Request(
        id="",
        language="python",
        minimum_tier=str(home.get("minimum_tier", "T1")),
        limits=_limits(home["limits"]),
        env={},
        collect=False,
        code=b"",
        stdin=b"",
        files=(),
        sandbox_id=str(home.get("sandbox_id", "")),
        jail=str(home.get("jail", "")),
        template=_template(home.get("template")),
    )
