"""The documentation says what the table says, and what is written by the report can be read again."""

from __future__ import annotations

from tests.hostile import report
from tests.hostile.defects import DEFECTS
from tests.support.project import ROOT

_COMMAND = "uv run python -m tests.hostile.report docs/isolation.md"


def test_the_documentation_is_up_to_date_with_the_table() -> None:
    found = report.marked((ROOT / "docs/isolation.md").read_text(encoding="utf-8"))
    assert found is not None, f"it has no generated part: run `{_COMMAND}`"
    assert found == report.section(), f"the table or the known defects have changed: run `{_COMMAND}`"


def test_a_marked_part_is_replaced_and_the_rest_is_kept() -> None:
    document = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert report.put(document, "<!-- x -->", "<!-- /x -->", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"
    assert report.put("a\n", "<!-- x -->", "<!-- /x -->", "new") == "a\n\n<!-- x -->\nnew\n<!-- /x -->\n"


def test_the_figures_of_a_run_are_a_table() -> None:
    text = report.run_section({"T2 as root": {"good": 3, "defects": 1, "bad": 0, "seconds": 7}})
    assert text.splitlines()[-1] == "| T2 as root | 3 | 1 | 0 | 7 |"


def test_what_is_wrong_today_is_said() -> None:
    for defect in DEFECTS:
        assert f"`{defect.program}`" in report.section()
        assert defect.what in report.section()
