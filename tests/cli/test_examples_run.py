"""Each example does under `thane run` what its docstring says."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

from tests.support.program import Ended, thane
from tests.support.project import ROOT

EXAMPLES = ROOT / "examples"


def example(name: str, data: Path, *options: str | Path) -> Ended:
    return thane("run", EXAMPLES / name, *options, data=data)


def test_the_report_prints_a_table_and_writes_its_files(data: Path, tmp_path: Path) -> None:
    done = example("report.py", data, "--out", tmp_path / "results")
    assert done.code == 0, done.notes
    with (tmp_path / "results" / "report.csv").open(newline="") as file:
        revenue = sum(Decimal(row["revenue"]) for row in csv.DictReader(file))
    assert f"{revenue:,}" in done.text
    ElementTree.parse(tmp_path / "results" / "report.svg")


def test_the_report_takes_sales_of_ones_own(data: Path, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("date,region,product,units,unit_price\n2026-01-01,Moon,Rock,3,0.10\n")
    done = example("report.py", data, "--file", tmp_path / "sales.csv")
    assert (done.code, "Rock" in done.text) == (0, True), done.notes


def test_the_simulation_prints_the_same_each_time(data: Path, tmp_path: Path) -> None:
    first = example("simulation.py", data, "--out", tmp_path)
    assert first.code == 0, first.notes
    assert (tmp_path / "waiting.csv").is_file()
    assert example("simulation.py", data).out == first.out


def test_the_json_work_sorts_out_broken_lines(data: Path, tmp_path: Path) -> None:
    done = example("json_work.py", data, "--out", tmp_path)
    assert done.code == 0, done.notes
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(done.text)
    assert (tmp_path / "rejected.jsonl").read_text()


def test_the_words_of_a_text_are_counted(data: Path, tmp_path: Path) -> None:
    done = example("words.py", data, "--file", ROOT / "README.md", "--out", tmp_path)
    assert (done.code, "README.md" in done.text) == (0, True), done.notes
    assert (tmp_path / "words.csv").read_text().startswith("word,")


def test_the_failing_program_shows_its_traceback_and_fails(data: Path) -> None:
    done = example("fails.py", data)
    assert (done.code, done.summary[2]) == (1, "failed")
    assert "Invoice 1041" in done.text
    assert re.search(r'File ".*", line \d+', done.notes)
    assert "TypeError: unsupported operand" in done.notes


def test_the_slow_program_is_stopped(data: Path) -> None:
    done = example("too_slow.py", data, "--timeout", "2")
    assert (done.code, done.summary[2]) == (124, "timeout")
    assert "trips tried" in done.text


def test_the_hungry_program_meets_its_memory_limit(data: Path) -> None:
    done = example("eats_memory.py", data, "--memory", "64")
    assert (done.code, done.summary[2]) == (137, "failed")
    assert "pages served" in done.text
    assert "OutOfMemory" in done.notes


def test_no_example_is_forgotten() -> None:
    here = Path(__file__).read_text()
    assert not [p.name for p in EXAMPLES.glob("*.py") if f'"{p.name}"' not in here]
