"""mypy knows what a query returns, and rejects what cannot be compared.

One file is checked with the project's own settings. A line's comment says what mypy must
answer there: `# is: TYPE` for `reveal_type`, `# wrong: CODE` for an error; it must answer
nothing anywhere else.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.conftest import require
from tests.support.project import ROOT

SNIPPET = """
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from thane.kernel.records import Field, Index, Record, Unit, entity, field, key, ref


class Status(StrEnum):
    CREATED = "created"
    RUNNING = "running"


@entity("sandboxes", "sbx", Index("tenant_id", "status"))
class Sandbox(Record):
    id: Field[str] = key()
    tenant_id: Field[str] = ref("tenants")
    created_at: Field[datetime] = field()
    status: Field[Status] = field(default=Status.CREATED)
    cost: Field[Decimal] = field(default=Decimal(0))
    phone: Field[str | None] = field(default=None, sealed=True)


async def queries(unit: Unit, now: datetime) -> None:
    reveal_type(Sandbox.status)  # is: Column[Status]
    reveal_type(Sandbox.phone)  # is: Column[str | None]
    reveal_type(Sandbox.status == Status.CREATED)  # is: Predicate
    reveal_type(Sandbox.created_at < now)  # is: Predicate
    reveal_type((Sandbox.cost >= Decimal(1)) & ~(Sandbox.phone == None))  # is: Predicate
    reveal_type(Sandbox.created_at.desc())  # is: Order
    reveal_type(await unit.list(Sandbox, where=Sandbox.status == Status.CREATED))  # is: list[Sandbox]
    reveal_type(await unit.find(Sandbox, "sbx_1"))  # is: Sandbox | None
    found = await unit.get(Sandbox, "sbx_1")
    reveal_type(found)  # is: Sandbox
    reveal_type(found.status)  # is: Status
    reveal_type(found.phone)  # is: str | None
    created = Sandbox.status == Status.CREATED
    reveal_type(await unit.update(found, status=Status.RUNNING, when=created))  # is: Sandbox


async def mistakes(unit: Unit, found: Sandbox) -> None:
    Sandbox.created_at < 3  # wrong: operator
    Sandbox.cost > "much"  # wrong: operator
    await unit.list(Sandbox, where=Sandbox.status == 3)  # wrong: arg-type
    await unit.list(Sandbox, where=Sandbox.created_at == "today")  # wrong: arg-type
    await unit.list(Sandbox, where=found.status == Status.CREATED)  # wrong: arg-type
    Sandbox.status.in_([1, 2])  # wrong: list-item list-item
    Sandbox.stauts == Status.CREATED  # wrong: attr-defined
    found.cost + "1"  # wrong: operator
    Sandbox(id="sbx_1", tenant_id="ten_1", created_at="now")  # wrong: arg-type
    Sandbox(id="sbx_1", tenant_id="ten_1")  # wrong: call-arg
    await unit.get(Status, 3)  # wrong: arg-type
"""

_SAID = re.compile(
    r"^[^:]+:(?P<line>\d+): (?:note: Revealed type is \"(?P<type>.*)\"|error: .*\[(?P<code>[\w-]+)\])$"
)
_MODULES = re.compile(r"\b(?:\w+\.)+(?=\w)")


def expected(snippet: str) -> dict[int, list[str]]:
    return {
        number: (marked[2].split() if marked[1] == "wrong" else [marked[2]])
        for number, line in enumerate(snippet.splitlines(), start=1)
        if (marked := re.search(r"# (is|wrong): (.+)$", line))
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """What mypy says about the snippet, by line: revealed types without module names, and error codes."""
    require(importlib.util.find_spec("mypy"), "mypy", get="uv sync --group lint")
    folder = tmp_path_factory.mktemp("typing")
    (folder / "snippet.py").write_text(SNIPPET, encoding="utf-8")
    settings = ["--config-file", str(ROOT / "pyproject.toml")]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "typing")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, *cache, "--hide-error-context", "snippet.py"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    said: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("snippet.py:") and (match := _SAID.match(line)):
            text = _MODULES.sub("", match["type"]) if match["type"] else match["code"]
            said.setdefault(int(match["line"]), []).append(text)
    return said


_LINES = expected(SNIPPET)


@pytest.mark.parametrize("line", _LINES, ids=[SNIPPET.splitlines()[n - 1].strip()[:60] for n in _LINES])
def test_mypy_answers_as_the_comment_says(answers: dict[int, list[str]], line: int) -> None:
    assert answers.get(line) == _LINES[line], SNIPPET.splitlines()[line - 1]


def test_mypy_answers_nothing_else(answers: dict[int, list[str]]) -> None:
    assert {line: said for line, said in answers.items() if line not in _LINES} == {}


def test_the_snippet_is_read_with_its_comments() -> None:
    assert len(_LINES) >= 20
