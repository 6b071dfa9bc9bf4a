"""Compares `manifest.toml` (every name of the five seed designs) with what is built.

Each item of the manifest is built, missing or wrong. Missing is what a later issue brings:
it is counted by domain and kind, and `missing.toml` holds the counts. Wrong is what is
there and says something else: there must be none.

`uv run python -m tests.manifest.compare` prints the counts, with `--write` also into the file.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import msgspec

import thane
from thane.__main__ import _Lazy
from thane.bootstrap.schemas import registry
from thane.interfaces.cli.main import cli
from thane.kernel import errors
from thane.kernel.operations.registry import NAME, Operations
from thane.kernel.records.schema import FieldSchema, Kind, OnDelete, Registry, Schema
from thane.kernel.settings import load
from thane.kernel.settings_schema import SETTINGS
from thane.kernel.telemetry import Telemetry

HERE = Path(__file__).parent
MISSING = HERE / "missing.toml"
Row = Mapping[str, Any]

# The families of types of the seeds. Counted numbers are integers and money is decimal, so a bare
# `number` is either; ids and references are text here whatever they are in a seed.
NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL})
FAMILIES: tuple[tuple[str, frozenset[Kind]], ...] = (
    (r"(optional )?(string|text|enum|varchar.*|string\(\d+\)|inet)", frozenset({Kind.TEXT})),
    (r"(optional )?(uuid|thing|record<.*>|integer autoincrement|string \(uuid\)|text \(uuid\))", frozenset()),
    (r"(optional )?(time|timestamptz|timestamp|datetime.*)", frozenset({Kind.TIME})),
    (r"(optional )?(int|integer|bigint|int64|i32|i64|u16|u64|count)", frozenset({Kind.INTEGER})),
    (r"number", NUMBERS),
    (r"decimal.*|float|f64", frozenset({Kind.DECIMAL})),
    (r"bool|boolean", frozenset({Kind.BOOLEAN})),
    (r"(optional )?(object|jsonb?|json .*|.*\(json.*\)|.*\[\]|list.*)", frozenset({Kind.JSON})),
)
# The rules name three open lists; their values must only be possible.
OPEN_ENUMS = ("audit_logs.action", "audit_logs.resource_type", "audit_events.action",
              "audit_events.resource_type", "functions.runtime")  # fmt: skip
# Files and arguments of other programs.
FOREIGN_PROFILES = ("compose", "redis.conf of the compose file", "postgresql.conf")
# Ports and parts of the kernel that methods of the seeds became.
PARTS = {
    "cache": "thane.kernel.ports.cache",
    "locks": "thane.kernel.ports.locks",
    "limits": "thane.kernel.ports.limits",
    "sealing": "thane.kernel.sealing.envelope",
}
PART_NAMES = {"sealing.open": "open_sealed"}
_COMPUTED = re.compile(r"time::now\(\)|now(\(\))?|gen_random_uuid\(\)|uuid.*|auto.*|current.*", re.IGNORECASE)


class Finding(NamedTuple):
    """What became of one item. `wrong` says in what it differs, if it is there and differs."""

    domain: str
    kind: str
    name: str
    built: bool
    wrong: str = ""


class Built:
    """All that is built, read from the program."""

    def __init__(self) -> None:
        _import_everything()
        self.schemas: Registry = registry()
        operations: Any = _Lazy()
        self.operations: Operations = operations.operations()
        self.errors = {cls.__name__ for cls in errors.tree().values()}
        self.metrics = {f.name: f.help for f in Telemetry().families()}
        self.edges = {f.edge for s in self.schemas.all() for f in s.fields if f.edge}

    def schema(self, entity: str) -> Schema | None:
        return self.schemas.find(entity)


def _import_everything() -> None:
    """Every module, so that every error class is in the tree."""
    for module in pkgutil.walk_packages(thane.__path__, "thane."):
        if not module.name.startswith("thane.isolation") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


class Comparison:
    """One manifest against what is built."""

    def __init__(self, manifest: Mapping[str, list[dict[str, Any]]], built: Built) -> None:
        self.manifest = manifest
        self.built = built
        self.domains = {e["name"]: e["domain"] for e in manifest["entities"]}
        self.domains["runs"] = "runs"  # the edge `runs` has the name of the entity
        self.tables = {t["name"]: t["entity"] for t in manifest["tables"]}

    def findings(self) -> Iterator[Finding]:
        yield from self.entities()
        yield from self.fields()
        yield from self.added_fields()
        yield from self.object_fields()
        yield from self.indexes()
        yield from self.enums()
        yield from self.foreign_keys()
        yield from self.operations()
        yield from self.settings()
        yield from self.metrics()
        yield from self.error_classes()

    # -- records ----------------------------------------------------------------------------

    def entities(self) -> Iterator[Finding]:
        for e in self.manifest["entities"]:
            there = e["name"] in self.built.edges if e["shape"] == "edge" else self.built.schema(e["name"])
            name = f"edge {e['name']}" if e["shape"] == "edge" else e["name"]
            yield Finding(e["domain"], "entities", name, bool(there))

    def fields(self) -> Iterator[Finding]:
        seen: dict[str, Finding] = {}
        views = {e["name"] for e in self.manifest["entities"] if e["shape"] == "view"}
        for row in self.manifest["fields"]:
            name = kept(row)
            if name is None:
                continue
            full = f"{row['entity']}.{name}"
            field = self._field(row["entity"], name)
            wrong = "" if field is None else _field_fault(field, row, view=row["entity"] in views)
            found = Finding(self.domains[row["entity"]], "fields", full, field is not None, wrong)
            if full not in seen or wrong:
                seen[full] = found
        yield from seen.values()

    def added_fields(self) -> Iterator[Finding]:
        """What Thane adds, as `additions` says; `derived` is an attribute of the record."""
        for row in self.manifest["additions"]:
            if row["kind"] == "field" and row["entity"] == "*":
                for entity in self._owned(row["name"]):
                    yield self._added(entity, row["name"])
            elif row["kind"] == "field":
                yield self._added(row["entity"], row["name"].partition(".")[0])

    def _owned(self, name: str) -> list[str]:
        """The tables that have a tenant or a project: all but those that the manifest names."""
        without = {"tenants", "identities", "servers"}
        if name == "project_id":
            without |= {"users", "agents", "sessions", "api_keys", "projects"}
        tables = [e["name"] for e in self.manifest["entities"] if e["shape"] == "table"]
        return [t for t in tables if t not in without]

    def _added(self, entity: str, name: str) -> Finding:
        there = self._field(entity, name) is not None
        return Finding(self.domains[entity], "added fields", f"{entity}.{name}", there)

    def object_fields(self) -> Iterator[Finding]:
        for row in self.manifest["object_fields"]:
            name = kept(row)
            owner = row["entity"]
            if name is None or owner.startswith("settings"):
                continue
            full = f"{owner} {row['object']}.{name}"
            kind = self._object_type(owner)
            found = None if kind is None else _member(kind, name)
            domain = self._object_domain(owner)
            yield Finding(domain, "object fields", full, found is not None)

    def _object_type(self, owner: str) -> Any:
        if owner.startswith("operation "):
            bound = next((o for o in self.built.operations if o.name == owner.split()[1]), None)
            if bound is None:
                return None
            return bound.request_type if bound.lists or owner.endswith(".list") else bound.response_type
        entity, _, name = owner.partition(".")
        field = self._field(entity, name) if name else None
        return None if field is None else field.python_type

    def _object_domain(self, owner: str) -> str:
        entity = owner.rsplit(maxsplit=1)[-1].partition(".")[0]
        return str(self.domains.get(entity, "kernel"))

    def indexes(self) -> Iterator[Finding]:
        seen: set[str] = set()
        for row in self.manifest["indexes"]:
            columns = tuple(row.get("thane_columns", row["columns"]))
            if row["thane"].startswith("replaced") and "thane_columns" not in row:
                continue
            unique = bool(row.get("unique")) and "thane_columns" not in row
            name = f"{row['entity']}({', '.join(columns)}){' unique' if unique else ''}"
            if name in seen:
                continue
            seen.add(name)
            schema = self.built.schema(row["entity"])
            built = schema is not None and (
                _searchable(schema, columns) if "method" in row else _indexed(schema, columns, unique=unique)
            )
            yield Finding(self.domains[row["entity"]], "indexes", name, built)

    def enums(self) -> Iterator[Finding]:
        words: dict[str, list[str]] = {}
        for row in self.manifest["states"]:
            words.setdefault(row["enum"], []).append(row["name"])
        for enum, names in words.items():
            bare = enum.removesuffix(" (examples)")
            entity, _, name = bare.partition(".")
            field = self._field(entity, name)
            wanted = dict.fromkeys(names)
            added = self._added_words(entity, name)
            loose = bare in OPEN_ENUMS or enum.endswith("(examples)")
            for word in (*wanted, *added):
                wrong = ""
                if field is not None:
                    if field.choices and word not in field.choices:
                        wrong = f"the enum has no {word!r}"
                    elif not field.choices and not loose:
                        wrong = "it is no enum"
                yield Finding(
                    self.domains.get(entity, "kernel"), "states", f"{bare}: {word}", field is not None, wrong
                )
            if field is not None and not loose:
                more = set(field.choices) - set(wanted) - set(added)
                if more:
                    yield Finding(self.domains[entity], "states", bare, True, f"adds {sorted(more)}")

    def _added_words(self, entity: str, name: str) -> list[str]:
        found: list[str] = []
        for row in self.manifest["additions"]:
            column, _, words = row["name"].partition(": ")
            if row["kind"] == "state" and row["entity"] == entity and column == name:
                found += words.split(", ")
        return found

    def foreign_keys(self) -> Iterator[Finding]:
        for row in self.manifest["foreign_keys"]:
            how, _, other = row["thane"].partition(": ")
            if how == "replaced":
                continue
            target = self.tables.get(row["references"], row["references"])
            if "(edge)" in row["name"]:
                # The seed's edge from a parent to its rows is the reference of the rows to the parent.
                child, parent, column = target, row["name"].partition(".")[0], None
            else:
                table, _, column = (other if how == "renamed" else row["name"]).partition(".")
                child, parent = self.tables.get(table, table), target
            yield self._reference(row, child, parent, column)

    def _reference(self, row: Row, child: str, parent: str, column: str | None) -> Finding:
        schema = self.built.schema(child)
        fields = () if schema is None else schema.fields
        found = [f for f in fields if f.references == parent and column in (None, f.name)]
        wrong = ""
        if found and row["on_delete"] == "CASCADE" and found[0].on_delete is not OnDelete.CASCADE:
            wrong = "must cascade"
        elif found and row["on_delete"] != "CASCADE" and found[0].on_delete is not OnDelete.RESTRICT:
            wrong = "must restrict"
        return Finding(self.domains[child], "foreign keys", f"{row['name']} -> {parent}", bool(found), wrong)

    def _field(self, entity: str, name: str) -> FieldSchema | None:
        schema = self.built.schema(entity)
        return None if schema is None else schema.by_name.get(name)

    # -- the rest ---------------------------------------------------------------------------

    def operations(self) -> Iterator[Finding]:
        names = [kept(row) for row in self.manifest["methods"]]
        names += [kept(row) for row in self.manifest["queries"]]
        for name in dict.fromkeys(n for n in names if n is not None):
            yield self._operation(name)

    def _operation(self, name: str) -> Finding:
        """An operation; or what stands in the place of one: a function of the kernel, a command, the feed."""
        bare, _, options = name.removesuffix(")").partition("(")
        part = bare.partition(".")[0]
        if bare.startswith(("thane ", "/")):
            commands = [b for b in bare.split(" and ") if b.startswith("thane ")]
            return Finding("commands", "operations", bare, all(map(_is_command, commands)))
        if part in PARTS:
            return Finding("kernel", "operations", bare, _has(PARTS[part], PART_NAMES.get(bare, bare)))
        if not NAME.match(bare):
            domain = self.domains.get(options.split(",")[0], "kernel")
            return Finding(domain, "operations", name, any(o.name == bare for o in self.built.operations))
        bound = next((o for o in self.built.operations if o.name == bare), None)
        wrong = ""
        if bound is not None:
            for column in _filtered(options):
                if bound.entity is None or column not in bound.entity.__schema__.by_name:
                    wrong = f"cannot be filtered by {column}"
        return Finding(self.domains.get(part, "audit"), "operations", name, bound is not None, wrong)

    def settings(self) -> Iterator[Finding]:
        rows: dict[str, list[Row]] = {}
        for row in self.manifest["settings"]:
            name = kept(row)
            if name is not None and row["profile"] not in FOREIGN_PROFILES:
                rows.setdefault(name, []).append(row)
        by_env = {s.env: s.key for s in SETTINGS.values()}
        for name, given in rows.items():
            key = by_env.get(name, name)
            there = key in SETTINGS
            yield Finding("settings", "settings", name, there, _default_fault(key, given) if there else "")
        for row in self.manifest["settings"]:
            if row["profile"] == "compose" and row["name"].startswith("DATABASE_"):
                alias = {"DATABASE_HOST": "db.example", row["name"]: "7001"}
                taken = "surrealdb://" in load(None, alias).settings.database.url
                yield Finding("settings", "settings", row["name"], taken)

    def metrics(self) -> Iterator[Finding]:
        for row in self.manifest["metrics"]:
            there = self.built.metrics.get(row["name"])
            wrong = "" if there in (None, row["help"]) else f"its help is {there!r}"
            yield Finding("metrics", "metrics", row["name"], there is not None, wrong)

    def error_classes(self) -> Iterator[Finding]:
        homes = {"RepositoryError": "tools", "DBAuditError": "environments"}
        for row in self.manifest["errors"]:
            name = kept(row)
            if name is not None:
                domain = homes.get(row.get("tree", ""), "kernel")
                yield Finding(domain, "errors", name, name in self.built.errors)


# -- words of the manifest ------------------------------------------------------------------


def kept(row: Row) -> str | None:
    """The name in Thane, or None for what something else does."""
    how, _, other = str(row["thane"]).partition(": ")
    return None if how == "replaced" else other if how == "renamed" else str(row["name"])


def _field_fault(field: FieldSchema, row: Row, *, view: bool) -> str:
    family = next((kinds for form, kinds in FAMILIES if re.fullmatch(form, row["type"].lower())), None)
    if family is None:
        return f"the seed's type {row['type']} belongs to no family"
    is_id = field.name == "id" or field.references is not None or field.name.endswith("_id")
    if not is_id and family and field.kind not in family:
        return f"is {field.kind.value}, not {row['type']}"
    if row.get("required") and field.nullable and not view:
        return "is nullable, and every seed that has it wants it"
    default = row.get("thane_default", row.get("default"))
    if default is None or _COMPUTED.fullmatch(default):
        return ""
    wanted = _value(default)
    given = getattr(field.default, "value", field.default)
    if not field.has_default or (wanted != given and str(wanted) != str(given)):
        return f"its default is {given!r}, not {wanted!r}"
    return ""


def _value(text: str) -> Any:
    """A default as the manifest has it: text in quotes, a number, a truth value, a time with its unit."""
    bare = text.strip().strip("\"'")
    if bare in ("true", "false"):
        return bare == "true"
    units = {"s": 1, "min": 60, "h": 3600}
    time = re.fullmatch(r"(\d+) (s|min|h)", bare)
    if time is not None:
        return int(time[1]) * units[time[2]]
    return int(bare) if re.fullmatch(r"-?\d+", bare) else bare


def _default_fault(key: str, rows: list[Row]) -> str:
    """`thane_default` where it is given; else any value of the seed's profiles that are defaults."""
    actual = SETTINGS[key].default
    own = {_value(r["thane_default"]) for r in rows if "thane_default" in r}
    theirs = {
        _value(r["default"])
        for r in rows
        if r["profile"] in ("development", "production", "pool", "config.toml")
        and "default" in r
        and not re.search(r"\$\{|://|\(argument\)", r["default"])
    }
    wanted = own or theirs
    return "" if not wanted or actual in wanted else f"its default is {actual!r}, not one of {wanted}"


def _indexed(schema: Schema, columns: tuple[str, ...], *, unique: bool) -> bool:
    """By the rule `indexes`: a leading tenant_id, or (tenant_id, project_id), does not count."""
    for index in schema.indexes:
        if index.where is not None:
            continue
        for start in _starts(index.columns):
            if unique and index.unique and start == columns:
                return True
            if not unique and start[: len(columns)] == columns:
                return True
    return False


def _starts(columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield columns
    if columns[0] == "tenant_id":
        yield columns[1:]
        if columns[1:2] == ("project_id",):
            yield columns[2:]


def _searchable(schema: Schema, columns: tuple[str, ...]) -> bool:
    return all(column in schema.text_fields for column in columns)


def _member(kind: Any, name: str) -> Any:
    """The type of a (nested) member of a struct, or None."""
    here = kind
    for step in name.split("."):
        parts = [p for p in (here, *get_args(here)) if isinstance(p, type) and issubclass(p, msgspec.Struct)]
        if not parts:
            return None
        found = {f.encode_name: f.type for f in msgspec.structs.fields(parts[0])}.get(step)
        if found is None:
            return None
        here = found
    return here


def _is_command(text: str) -> bool:
    words = [w for w in text.split()[1:] if not w.startswith("-") and not w.isdigit()]
    options = [w for w in text.split()[1:] if w.startswith("-")]
    here: click.Command | None = cli
    context = click.Context(cli)
    for word in words:
        here = here.get_command(context, word) if isinstance(here, click.Group) else None
    known = [] if here is None else [o for p in here.params for o in p.opts]
    return here is not None and all(option in known for option in options)


def _has(module: str, name: str) -> bool:
    """Whether a module has a function, or a class with a method, of this name."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        return False
    last = name.rpartition(".")[2]
    return hasattr(found, last) or any(hasattr(c, last) for c in vars(found).values() if isinstance(c, type))


def _filtered(options: str) -> list[str]:
    given = re.match(r"filter: (.*?)(?:, (?:sort|limit|expand|as_of)\b.*)?$", options)
    if given is None:
        return []
    return [re.split(r" ?=| contains", word)[0].strip() for word in given[1].split(",")]


# -- the counts -----------------------------------------------------------------------------


def compare() -> list[Finding]:
    manifest = tomllib.loads((HERE / "manifest.toml").read_text(encoding="utf-8"))
    return list(Comparison(manifest, Built()).findings())


def missing_of(findings: list[Finding]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for finding in findings:
        if not finding.built:
            counts.setdefault(finding.domain, Counter())[finding.kind] += 1
    return {domain: dict(counts[domain]) for domain in sorted(counts)}


def listed() -> dict[str, dict[str, int]]:
    return tomllib.loads(MISSING.read_text(encoding="utf-8"))


def table(missing: Mapping[str, Mapping[str, int]]) -> str:
    """The text of `missing.toml`."""
    lines = ["# How much of the manifest is not built yet, by domain. The numbers may only fall:",
             "# `uv run python -m tests.manifest.compare --write`."]  # fmt: skip
    for domain, kinds in missing.items():
        lines += ["", f"[{domain}]", *(f'"{kind}" = {count}' for kind, count in kinds.items())]
    return "\n".join(lines) + "\n"


def report(findings: list[Finding]) -> str:
    lines = [f"{'domain':16} {'built':>6} {'missing':>8}"]
    for domain in sorted({f.domain for f in findings}):
        mine = [f for f in findings if f.domain == domain]
        built = sum(f.built for f in mine)
        lines.append(f"{domain:16} {built:6} {len(mine) - built:8}")
    built = sum(f.built for f in findings)
    return "\n".join([*lines, f"{'all':16} {built:6} {len(findings) - built:8}"])


if __name__ == "__main__":
    found = compare()
    print(report(found))
    for finding in found:
        if finding.wrong:
            print(f"wrong: {finding.name}: {finding.wrong}")
    if "--missing" in sys.argv:
        for finding in found:
            if not finding.built:
                print(f"missing: {finding.domain}: {finding.kind}: {finding.name}")
    if "--write" in sys.argv:
        MISSING.write_text(table(missing_of(found)), encoding="utf-8")
