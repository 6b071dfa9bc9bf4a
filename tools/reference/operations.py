"""The pages of operations, one for each resource."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from thane.kernel.operations.declare import Effect, description_of
from thane.kernel.operations.registry import REFERENCE, Bound
from tools.registry import operations
from tools.sdk.kinds import Kinds, is_struct
from tools.sdk.resources import PAGING, resource_of

_EFFECTS = {
    Effect.NONE: "reads",
    Effect.RECORDS: "changes records, with one entry in the ledger",
    Effect.OUTSIDE: "acts outside the store, with an intent and an outcome in the ledger",
}
# What a request's field is whose type says nothing, because its name says all.
_IDS = "Id of the {}."


def operation_pages() -> dict[str, str]:
    """`operations/RESOURCE` and the page's text."""
    by_resource: dict[str, list[Bound]] = {}
    for bound in sorted(operations(), key=lambda bound: bound.name):
        by_resource.setdefault(resource_of(bound)[0], []).append(bound)
    return {f"operations/{name}": _resource(name, bounds) for name, bounds in by_resource.items()}


def silent_operations() -> list[str]:
    """Fields of requests that say nothing of themselves."""
    return [
        f"operation {bound.name}: {name}"
        for bound in operations()
        if bound.path
        for name, field in bound.fields.items()
        if not told(name, field)
    ]


def told(name: str, field: Any) -> str:
    """What a field of a request is."""
    text = description_of(field.type)
    if text:
        return text if text.endswith((".", "`")) else text + "."
    if name.endswith("_id"):
        return _IDS.format(name.removesuffix("_id"))
    return next((inspect.cleandoc(inner.__doc__ or "") for inner in _structs(field.type)), "")


def _structs(kind: Any) -> Iterator[Any]:
    """The Structs that a type is made of."""
    if is_struct(kind):
        yield kind
    for part in typing.get_args(kind):
        yield from _structs(part)


def _resource(name: str, bounds: list[Bound]) -> str:
    lines = [f"# {name.replace('_', ' ').capitalize()}"]
    for bound in bounds:
        lines += ["", f"## {bound.name}", "", inspect.cleandoc(bound.declaration.target.__doc__)]
        lines += ["", *_facts(bound)]
        if bound.fields and bound.path:
            lines += ["", "| field | in | type | |", "|---|---|---|---|"]
            lines += [_field(bound, field_name, field) for field_name, field in bound.fields.items()]
        lines += _example(bound)
    return "\n".join(lines)


def _facts(bound: Bound) -> list[str]:
    if not bound.path:
        return [f"Only Thane itself asks for it. It {_EFFECTS[bound.effect]}."]
    needs = f"needs `{bound.needs}`" if bound.needs else "needs no key"
    facts = [f"`{bound.method} /api/v1{bound.path}`, {needs}, {_EFFECTS[bound.effect]}."]
    if bound.streams:
        return [*facts, "It answers with a stream of events: see docs/live.md."]
    resource, verb = resource_of(bound)
    facts.append(f"In Python `thane.{resource}.{verb}(…)`; answers with status {bound.status}.")
    for name in bound.declaration.secret_fields:
        facts.append(f"`{name}` of the answer is shown this once.")
    for name in bound.declaration.transient:
        facts.append(f"`{name}` is never stored.")
    return facts


def _field(bound: Bound, name: str, field: Any) -> str:
    where = "path" if name in bound.path_params else "body" if bound.has_body else "query"
    if bound.declaration.lists and name in PAGING:
        where += ", by itself in Python" if name == "cursor" else ""
    kind = Kinds().text(field.type).replace("|", "\\|")
    must = "" if field.required or name in bound.path_params else _otherwise(field)
    text = " ".join(told(name, field).replace("|", "&#124;").split())
    return f"| `{name}` | {where} | `{kind}` | {text}{must} |"


def _otherwise(field: Any) -> str:
    default = field.default
    if default is msgspec.NODEFAULT or default is None or default == "":
        return " Optional."
    return f" Default `{json.dumps(msgspec.to_builtins(default))}`."


def _example(bound: Bound) -> list[str]:
    example = bound.declaration.example
    if example is None or not bound.path:
        return []
    shown = {name: _shown(value) for name, value in example.request.items() if name not in bound.path_params}
    if not shown:
        return []
    return ["", "An example:", "", "```json", json.dumps(shown, indent=2), "```"]


def _shown(value: Any) -> Any:
    found = REFERENCE.match(value) if isinstance(value, str) else None
    return value if found is None else f"<{found[2] or 'id'} of {found[1]}>"
