"""Writes the part of docs/isolation.md that says what each tier stops, from the table.

    just hostile                                                      # run all, write all
    python -m tests.hostile.report docs/isolation.md [--results FILE]  # write only

What stands between the markers `hostile` follows from the table and the known defects alone, and a
test holds it to them. With `--results`, the figures of a run (which the tests write where
`HOSTILE_RESULTS` says) are put between the markers `hostile-run`; no test looks at those.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.hostile.defects import DEFECTS, Defect
from tests.hostile.rows import TIERS, NotShown, Program, Shown
from tests.hostile.table import BY_NAME, FAMILIES, TABLE, of_family
from thane.kernel.ports.isolation import Tier

_BEGIN, _END = "<!-- hostile:begin -->", "<!-- hostile:end -->"
_RUN_BEGIN, _RUN_END = "<!-- hostile-run:begin -->", "<!-- hostile-run:end -->"


def _open_defects(program: Program, tier: Tier) -> list[Defect]:
    return [defect for defect in DEFECTS if defect.program == program.name and tier in defect.tiers]


def _stops(program: Program, tier: Tier) -> bool:
    return not program.expect[tier].escapes and not _open_defects(program, tier)


def _share(programs: list[Program], tier: Tier) -> str:
    stopped = sum(_stops(program, tier) for program in programs)
    return "all" if stopped == len(programs) else f"{stopped} of {len(programs)}"


def _families() -> list[str]:
    lines = [
        "| programs that attack | number | T2 | T2- | T1 | T3: asked, not shown |",
        "|---|---|" + "---|" * len(TIERS),
    ]
    for family in FAMILIES:
        programs = of_family(family)
        shares = " | ".join(_share(programs, tier) for tier in TIERS)
        lines.append(f"| {family} | {len(programs)} | {shares} |")
    shares = " | ".join(_share(list(TABLE), tier) for tier in TIERS)
    return [*lines, f"| **together** | **{len(TABLE)}** | {shares} |"]


def _by_design() -> list[str]:
    lines: list[str] = []
    for program in TABLE:
        tiers = [tier for tier in TIERS if program.expect[tier].escapes]
        if tiers:
            why = program.expect[tiers[0]].escapes
            lines.append(f"- {', '.join(tiers)}: a program can {program.aim}: {why} (`{program.name}`)")
    return lines


def _not_had() -> list[str]:
    """Programs that a tier does not run at all, as it has not what they attack."""
    lines: list[str] = []
    for family in FAMILIES:
        tiers = [
            tier for tier in TIERS if any(program.expect[tier].job_refused for program in of_family(family))
        ]
        if tiers:
            lines.append(
                f"- {', '.join(tiers)}: has no {family}; such a job is refused, and that counts as stopped"
            )
    return lines


def _who(defect: Defect) -> str:
    where = " where nothing can be mounted" if defect.without_mounts else ""
    if defect.as_root and defect.as_user:
        return where
    return (" as root" if defect.as_root else " as an ordinary user") + where


def _defects() -> list[str]:
    return [
        f"- {', '.join(tier for tier in TIERS if tier in defect.tiers)}{_who(defect)}: a program can"
        f" {BY_NAME[defect.program].aim}: {defect.what} (`{defect.program}`)"
        for defect in DEFECTS
    ]


def _refusals() -> list[str]:
    lines: list[str] = []
    for family in FAMILIES:
        names = [f"{program.aim} (`{program.name}`)" for program in of_family(family)]
        lines += [f"**{family}**: {'; '.join(names)}.", ""]
    return lines[:-1]


def section() -> str:
    """The generated part, without its markers."""
    shown = sum(isinstance(program.bare, Shown) for program in TABLE)
    told = sum(isinstance(program.bare, NotShown) for program in TABLE)
    parts = [
        "### What hostile programs may not do",
        "",
        f"`tests/hostile/` holds {len(TABLE)} programs, each with the verdict that it must have on each"
        f" tier, and canaries on the host that it must not touch. {shown} of them are run without a jail"
        f" too, in a stand-in host, where they do their evil; for {told} the table says why not. Generated"
        " from the table by `just hostile`, which first runs all of it as root, as an ordinary user and where"
        " the kernel refuses namespaces. The table of runs below says on which tiers that was. The column of"
        " T3 is what the table asks of it: some 40 of the programs do not yet end so (`What was run where`).",
        "",
        *_families(),
        "",
        "What a tier does not stop, by design:",
        "",
        *_by_design(),
        "",
        "What a tier does not have:",
        "",
        *_not_had(),
        "",
    ]
    if DEFECTS:
        parts += ["What a tier ought to stop and does not yet:", "", *_defects(), ""]
    parts += ["A program cannot, on the tiers that the table above says:", "", *_refusals()]
    return "\n".join(parts)


def run_section(results: dict[str, dict[str, int]]) -> str:
    """The figures of one run: who, on which tier, and how each ended."""
    lines = ["| run | as the table says | known defects | other | seconds |", "|---|---|---|---|---|"]
    for name, found in sorted(results.items()):
        figures = " | ".join(str(found[key]) for key in ("good", "defects", "bad", "seconds"))
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


def put(document: str, begin: str, end: str, content: str) -> str:
    """The document with the marked part replaced, or added at its end if it has none."""
    block = f"{begin}\n{content}\n{end}"
    if begin not in document:
        return f"{document.rstrip()}\n\n{block}\n"
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{block}{after}"


def marked(document: str) -> str | None:
    """What stands between the markers; None if there are none."""
    if _BEGIN not in document or _END not in document:
        return None
    return document.partition(_BEGIN)[2].partition(_END)[0].strip("\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("document", type=Path)
    parser.add_argument("--results", type=Path, help="figures of a run, as the tests write them")
    arguments = parser.parse_args()
    document: Path = arguments.document
    text = put(document.read_text(encoding="utf-8"), _BEGIN, _END, section())
    if arguments.results is not None:
        results = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()]
        text = put(text, _RUN_BEGIN, _RUN_END, run_section({found.pop("run"): found for found in results}))
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
