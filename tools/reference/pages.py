"""The pages of docs/reference, by path, and what is not documented."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thane.adapters.disk import DataFolder
from thane.bootstrap.system import System
from thane.kernel.errors import ThaneError
from thane.kernel.settings import load
from thane.kernel.settings_check import expected
from thane.kernel.settings_schema import SETTINGS, Settings, masked
from thane.kernel.telemetry import Counter, Family, Gauge, Histogram
from tools.reference.commands import command_page, silent_commands
from tools.reference.limits import limits_page
from tools.reference.operations import operation_pages, silent_operations
from tools.sdk.problems import classes

FOLDER = "docs/reference"
FOLDERS = (FOLDER,)
MARK = "Made by `just sdk`"
Metric = Family[Counter] | Family[Gauge] | Family[Histogram]


def pages() -> dict[str, str]:
    """Path and text of every page."""
    made = {
        "commands": command_page(),
        "settings": _settings(),
        "errors": _errors(),
        "metrics": _metrics(),
        "limits": limits_page(),
        **operation_pages(),
    }
    made["index"] = _index(sorted(made))
    return {f"{FOLDER}/{name}.md": _page(text) for name, text in made.items()}


def undocumented() -> list[str]:
    """What says nothing of itself, by name. Settings without a description do not even load."""
    found = [f"error {cls.code}" for cls in classes() if not (cls.title and cls.default_hint)]
    found += [f"metric {family.name}" for family in families() if not family.help]
    return [*silent_operations(), *silent_commands(), *found]


def families() -> list[Metric]:
    """Every metric of a server."""
    with tempfile.TemporaryDirectory() as scratch:
        system = System.unopened(load(None, {}).settings, DataFolder(Path(scratch)))
        return sorted(system.telemetry.families(), key=lambda family: family.name)


def _page(text: str) -> str:
    first, _, rest = text.partition("\n")
    return f"{first}\n\n<!-- {MARK}; do not edit. -->\n{rest.rstrip()}\n"


def _index(names: list[str]) -> str:
    lines = ["# Reference", "", "Made from the registry, so it is what this release does.", ""]
    titles = {
        "commands": "every command with its options",
        "settings": "every setting",
        "errors": "every error by its code",
        "metrics": "every metric",
        "limits": "how much of everything is allowed, and how long it is kept",
    }
    plain = [name for name in names if name in titles]
    lines += [f"- [{name}]({name}.md): {titles[name]}" for name in plain]
    lines += ["", "What can be asked, by resource:", ""]
    lines += [f"- [{name.partition('/')[2]}]({name}.md)" for name in names if name not in titles]
    return "\n".join(lines)


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "Later wins: the default, the file that `--config` or `THANE_CONFIG` names (TOML), the",
        "environment, the command line. `thane config check` shows each value and where it comes from.",
    ]
    for section in Settings.__struct_fields__:
        about = inspect.cleandoc(type(getattr(Settings(), section)).__doc__ or "")
        lines += ["", f"## {section}", "", about, "", "| setting | environment | takes | default | |"]
        lines.append("|---|---|---|---|---|")
        for key, setting in SETTINGS.items():
            if setting.section == section:
                cells = (f"`{key}`", f"`{setting.env}`", expected(setting.type), _default(setting.default))
                lines.append(_row(*cells, setting.description))
    return "\n".join(lines)


def _default(value: object) -> str:
    shown = masked(value)
    if shown in ("", (), {}):
        return ""
    if isinstance(shown, bool):
        return f"`{str(shown).lower()}`"
    return f"`{shown}`"


def _errors() -> str:
    lines = [
        "# Errors",
        "",
        "Every refusal is a problem (RFC 9457, `application/problem+json`) with `code`, `detail`,",
        "`hint`, `request_id`, `retryable` and, for wrong input, `errors` with JSON pointers. In",
        "Python each code is a class of `thane.client.errors`. Where *again* says yes, the same",
        "request may do better later, after `Retry-After` if there is one.",
        "",
        "| code | status | what happened | again | what to do |",
        "|---|---|---|---|---|",
    ]
    for cls in sorted(classes(), key=lambda cls: cls.code):
        cells = (f"`{cls.code}`", str(cls.status), _meaning(cls), "yes" if cls.retryable else "no")
        lines.append(_row(*cells, cls.default_hint))
    return "\n".join(lines)


def _meaning(cls: type[ThaneError]) -> str:
    own = vars(cls).get("__doc__")
    doc = "" if cls is ThaneError or not own else inspect.cleandoc(own).partition("\n\n")[0]
    return f"{cls.title}. {doc}" if doc else f"{cls.title}."


def _metrics() -> str:
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics` (`monitoring.prometheus_endpoint`) in Prometheus' text format, beside",
        "those of the process. Durations are in seconds.",
        "",
        "| metric | kind | labels | what it counts |",
        "|---|---|---|---|",
    ]
    for family in families():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(_row(f"`{family.name}`", _kind(family), labels, family.help))
    return "\n".join(lines)


def _kind(family: Metric) -> str:
    if family.name.endswith("_total"):
        return "counter"
    return "histogram" if family.name.endswith("_seconds") else "gauge"


def _row(*cells: str) -> str:
    return "| " + " | ".join(_cells(cells)) + " |"


def _cells(cells: tuple[str, ...]) -> Iterator[str]:
    for cell in cells:
        yield " ".join(cell.replace("|", "\\|").split())
