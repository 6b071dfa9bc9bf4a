"""The examples do what they say: run with plain Python, without Thane, in a folder of their own."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SVG = "{http://www.w3.org/2000/svg}"


def run_example(name: str, folder: Path, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs an example as the sandbox would: isolated mode, nothing but the standard library."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(EXAMPLES / name)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_report_prints_a_total_that_equals_its_csv(tmp_path: Path) -> None:
    done = run_example("report.py", tmp_path)
    total_line = next(line for line in done.stdout.splitlines() if line.startswith("Total"))
    printed = Decimal(total_line.split()[-1].replace(",", ""))
    rows = read_csv(tmp_path / "report.csv")
    assert len(rows) == 16  # four products in four regions
    assert sum(Decimal(row["revenue"]) for row in rows) == printed > 0


def test_the_report_draws_a_line_for_each_region(tmp_path: Path) -> None:
    run_example("report.py", tmp_path)
    drawing = ElementTree.parse(tmp_path / "report.svg").getroot()
    assert drawing.tag == f"{SVG}svg"
    lines = drawing.findall(f"{SVG}polyline")
    assert [len(line.get("points", "").split()) for line in lines] == [30] * 4
    width, height = (float(side) for side in drawing.get("viewBox", "").split()[2:])
    for x, y in (point.split(",") for line in lines for point in line.get("points", "").split()):
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height


def test_the_report_reads_sales_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(
        "date,region,product,units,unit_price\n2026-01-01,Moon,<Rock>,3,0.10\n2026-01-02,Moon,<Rock>,4,0.10\n"
    )
    done = run_example("report.py", tmp_path)
    assert read_csv(tmp_path / "report.csv") == [{"product": "<Rock>", "region": "Moon", "revenue": "0.70"}]
    assert "Best day: 2026-01-02 with 0.40; 7 units sold." in done.stdout
    ElementTree.parse(tmp_path / "report.svg")


def test_the_report_says_which_line_of_the_sales_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("date,region,product,units,unit_price\n2026-01-01,Moon,Rock,many,1\n")
    assert "sales.csv line 2" in run_example("report.py", tmp_path, code=1).stderr


def test_the_simulation_is_the_same_each_time_and_more_agents_lose_fewer_callers(tmp_path: Path) -> None:
    first = run_example("simulation.py", tmp_path).stdout
    lost = [float(row["share_lost"]) for row in read_csv(tmp_path / "waiting.csv")]
    assert len(lost) == 7
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > 0.2 > 0.02 > lost[-1]
    assert run_example("simulation.py", tmp_path).stdout == first


def test_the_json_work_counts_every_line_once(tmp_path: Path) -> None:
    done = run_example("json_work.py", tmp_path)
    summary = json.loads(done.stdout)
    rejected = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["requests"] + summary["rejected"] == 2000
    assert sum(path["requests"] for path in summary["paths"].values()) == summary["requests"]
    reasons = " ".join(line["reason"] for line in rejected)
    assert len(rejected) == summary["rejected"] > 0
    for reason in ("missing: status", "ms must be a number", "Unterminated string"):
        assert reason in reasons


def test_the_json_work_reads_a_log_that_it_is_given(tmp_path: Path) -> None:
    good = {"time": "2026-01-01T00:00:00+00:00", "path": "/a", "status": 200, "ms": 5}
    bad = [
        json.dumps(good | {"status": 42}),
        json.dumps(good | {"ms": True}),
        "[]",
        json.dumps(good | {"time": "noon"}),
    ]
    (tmp_path / "access.jsonl").write_text("\n".join([json.dumps(good), *bad]))
    summary = json.loads(run_example("json_work.py", tmp_path).stdout)
    assert (summary["requests"], summary["rejected"]) == (1, 4)
    assert summary["paths"]["/a"]["median_ms"] == 5


def test_the_words_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Harbour light. The HARBOUR, the light-house!\n")
    (tmp_path / "b.md").write_text("harbour\n")
    done = run_example("words.py", tmp_path)
    assert "a.txt: 1 lines, 7 words" in done.stdout
    counts = {row["word"]: int(row["count"]) for row in read_csv(tmp_path / "words.csv")}
    assert counts == {"harbour": 3, "light": 2, "the": 2, "house": 1}


def test_the_words_say_which_files_they_want(tmp_path: Path) -> None:
    assert "--file" in run_example("words.py", tmp_path, code=1).stderr


def test_the_failing_program_fails_after_real_work(tmp_path: Path) -> None:
    done = run_example("fails.py", tmp_path, code=1)
    assert "Invoice 1041 for Halden & Sons: 119.70" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("TypeError: unsupported operand type(s)")


def test_the_slow_program_is_still_at_work_after_three_seconds(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as stopped:
        subprocess.run(
            [sys.executable, "-I", "-S", str(EXAMPLES / "too_slow.py")],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            timeout=3,
        )
    assert b"trips tried" in (stopped.value.stdout or b"")


def test_the_hungry_program_meets_its_memory_limit(tmp_path: Path) -> None:
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); "
    program = f"{limit} runpy.run_path({str(EXAMPLES / 'eats_memory.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "500 pages served" in done.stdout
    assert "MemoryError" in done.stderr


def test_every_example_is_tested_and_says_what_it_is() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in sorted(EXAMPLES.glob("*.py")):
        assert f'"{path.name}"' in tested or f"'{path.name}'" in tested, f"{path.name} has no test"
        assert path.read_text(encoding="utf-8").startswith('"""'), f"{path.name} has no docstring"
