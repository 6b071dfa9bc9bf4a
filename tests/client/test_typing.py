"""mypy knows what the client answers, in both twins, and rejects what cannot be asked."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import require
from tests.support.project import ROOT
from tools.sdk.twin import twin

SNIPPET = """
from thane.client import AsyncThane, errors


async def answers(thane: AsyncThane) -> None:
    sandbox = await thane.sandboxes.create(name="a")
    reveal_type(sandbox)  # is: AsyncSandbox
    reveal_type(sandbox.resource_limits.max_cpu_cores)  # is: Decimal
    out = await sandbox.run_code("1", timeout=5, files={"a": b"b"})
    reveal_type(out)  # is: AsyncExecutionResult
    reveal_type(out.stdout)  # is: str
    reveal_type(out.billing_info)  # is: BillingInfo | None
    reveal_type(await out.read_file("a"))  # is: bytes
    reveal_type(thane.executions.list())  # is: AsyncPages[AsyncExecution]
    async for row in thane.executions.list(filter="x"):
        reveal_type(row)  # is: AsyncExecution
    async for event in sandbox.stream_code("1"):
        reveal_type(event)  # is: Output | Sample | Gap | AsyncExecutionResult
    async with thane.run("a") as run:
        reveal_type(run)  # is: AsyncRun
    reveal_type((await thane.api_keys.create("a")).key)  # is: str
    reveal_type((await thane.ledger.prove(3)).proof)  # is: str


async def mistakes(thane: AsyncThane) -> None:
    await thane.sandboxes.create(nam="a")  # wrong: call-arg
    await thane.sandboxes.create(language="cobol")  # wrong: arg-type
    await thane.sandboxes.get()  # wrong: call-arg
    await (await thane.sandboxes.get("a")).run_code(3)  # wrong: arg-type
    (await thane.sandboxes.get("a")).nmae  # wrong: attr-defined
    await thane.ledger.prove("a")  # wrong: arg-type


def refusal(error: errors.NotFound) -> None:
    reveal_type(error.hint)  # is: str
    reveal_type(error.errors)  # is: tuple[Fault, ...]
"""
_SAID = re.compile(
    r"^(\w+\.py):(\d+): (?:note: Revealed type is \"(.*)\"|error: .*\[([\w-]+)\])$", re.MULTILINE
)
_MODULES = re.compile(r"\b(?:\w+\.)+(?=\w)")


def test_mypy_answers_as_the_comments_say(tmp_path: Path) -> None:
    require(importlib.util.find_spec("mypy"), "mypy", get="uv sync --group lint")
    texts = {"awaited.py": SNIPPET, "plain.py": twin(SNIPPET)}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    settings = [
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "sdk"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, "--hide-error-context", *texts],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = {
        (file, int(line)): _MODULES.sub("", kind).replace("builtins.", "") if kind else code
        for file, line, kind, code in _SAID.findall(done.stdout)
    }
    wanted = {
        (file, number): found[1]
        for file, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := re.search(r"# (?:is|wrong): (.+)$", line))
    }
    assert len(wanted) == 2 * SNIPPET.count("  # ")
    differing = {place: (wanted.get(place), said.get(place)) for place in {*wanted, *said}}
    assert {place: pair for place, pair in differing.items() if pair[0] != pair[1]} == {}, done.stdout
