"""What is committed speaks of the project alone: no paths of a machine, no registry, no person's address.

The patterns are put together from pieces, since this file is looked at as well.
"""

from __future__ import annotations

import re

import pytest

from tests.support.project import ROOT, project_files, text_of

# uv writes the registry's address into its lock file.
EXEMPT = {"uv.lock"}

_HOSTS = (
    r"pypi\.(?:org|io)",
    r"pythonhosted\.org",
    r"npmjs\.(?:org|com)",
    r"crates\.io",
    r"proxy\.golang\.org",
    r"(?:deb|ftp|security|snapshot)\.debian\.org",
    r"(?:docker|quay|ghcr)\.io",
    r"maven\.(?:org|apache\.org)",
)
_ROOTS = ("root/[\\w.]", "work/", "home/[a-z]+/", "Users/", "mnt/[a-z]/")
PATTERNS = {
    "a path of one machine": re.compile(rf"(?<![\w.$}}])/(?:{'|'.join(_ROOTS)})"),
    "a registry host": re.compile(rf"\b(?:{'|'.join(_HOSTS)})\b", re.IGNORECASE),
    "a person's address": re.compile(
        r"\b[\w.+-]+@(?!(?:[\w-]+\.)*(?:example|test|invalid|localhost)\b)[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b"
    ),
}


def traces(text: str) -> list[str]:
    return [
        f"{number}: {what}: {found[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in PATTERNS.items()
        if (found := pattern.search(line))
    ]


def test_no_committed_text_holds_a_trace_of_a_machine_or_a_person() -> None:
    looked, found = 0, []
    for path in project_files():
        text = text_of(path)
        if text is not None and path.relative_to(ROOT).as_posix() not in EXEMPT:
            looked += 1
            found += [f"{path.relative_to(ROOT)}:{trace}" for trace in traces(text)]
    assert looked > 20
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("see /" + "home/ada/thane", "a path of one machine"),
        ("PATH=/" + "root/.local/bin", "a path of one machine"),
        ("/" + "work/main", "a path of one machine"),
        ("https://" + "pypi" + ".org/simple", "a registry host"),
        ("deb.debian" + ".org", "a registry host"),
        ("Ada <ada@" + "lovelace.name>", "a person's address"),
    ],
)
def test_a_trace_is_found(line: str, what: str) -> None:
    assert [found for found in traces(line) if what in found]


@pytest.mark.parametrize(
    "line", ["/workspace/a", "/root", "ada@example.com", "@pytest.mark.slow", "framework/x"]
)
def test_what_is_no_trace_is_left_alone(line: str) -> None:
    assert traces(line) == []
