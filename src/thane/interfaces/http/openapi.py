"""OpenAPI 3.1 out of the registry: paths, types, examples, problems. Nothing is written by hand."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from thane import __version__
from thane.interfaces.http.problem import Problem
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.registry import REFERENCE, Bound, Operations
from thane.kernel.operations.stages.match import takes_if_match

_TEMPLATE: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_BINARY: Final = {"type": "string", "format": "binary"}
_DESCRIPTIONS: Final = {
    "400": "The body cannot be read",
    "401": "Not signed in",
    "403": "Denied",
    "404": "Not found, or another tenant's",
    "409": "Conflict, or the Idempotency-Key is in use",
    "410": "The position is before what is kept",
    "412": "If-Match does not hold",
    "413": "Body too large",
    "415": "Not JSON",
    "422": "Invalid input; `errors` says where",
    "429": "Too many requests",
    "503": "Too busy; Retry-After says when to come back",
    "507": "Done, but not recorded",
}


def document(operations: Operations, base: str) -> dict[str, Any]:
    """The whole document, ready to encode."""
    bounds = [bound for bound in operations if bound.path]
    types = _types(bounds)
    references, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    refs = {id(kind): ref for kind, ref in zip(types, references, strict=True)}
    paths: dict[str, Any] = {}
    for bound in bounds:
        paths.setdefault(base + bound.path, {})[bound.method.lower()] = _operation(bound, refs)
    tags = sorted({tag for bound in bounds for tag in _tags(bound)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thane",
            "version": __version__,
            "description": "The back end that AI agents act through. Errors are RFC 9457 problems.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key: `thane keys create`."}
            },
            "schemas": components,
        },
    }


def _types(bounds: list[Bound]) -> list[Any]:
    found: list[Any] = [Problem]
    for bound in bounds:
        found += [bound.body_type] if bound.has_body and not bound.takes else []
        found += [bound.fields[n].type for n in bound.query_params]
        found += [bound.fields[name].type for name in bound.path_params]
        found += bound.streams
        if bound.status != 204 and not bound.streams and not bound.gives:
            found.append(bound.response_type)
    return found


def _tags(bound: Bound) -> tuple[str, ...]:
    return bound.declaration.tags or (bound.name.partition(".")[0],)


def _operation(bound: Bound, refs: dict[int, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": bound.name,
        "summary": bound.summary,
        "tags": list(_tags(bound)),
        "parameters": _parameters(bound, refs),
        "responses": _responses(bound, refs),
        "x-thane-effect": bound.effect.value,
        "x-thane-needs": bound.needs,
    }
    if bound.description:
        made["description"] = bound.description
    if bound.declaration.anonymous:
        made["security"] = []
    if bound.takes:
        content = {"application/octet-stream": {"schema": _BINARY}}
        made["requestBody"] = {"required": True, "content": content}
    elif bound.has_body:
        example = {n: v for n, v in _example(bound).items() if n not in bound.path_params}
        content = {"schema": refs[id(bound.body_type)], "example": example}
        required = any(n in bound.required for n in bound.body_params)
        made["requestBody"] = {"required": required, "content": {"application/json": content}}
    return made


def _example(bound: Bound) -> dict[str, Any]:
    """The example with names of ids where it refers to other operations' answers."""
    example = bound.declaration.example
    assert example is not None

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: shown(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [shown(v) for v in value]
        match = REFERENCE.match(value) if isinstance(value, str) else None
        return value if match is None else f"<{match[2] or 'id'} of {match[1]}>"

    return {name: shown(value) for name, value in example.request.items()}


def _parameters(bound: Bound, refs: dict[int, Any]) -> list[dict[str, Any]]:
    example = _example(bound)
    made: list[dict[str, Any]] = []
    for name in (*bound.path_params, *bound.query_params):
        where = "path" if name in bound.path_params else "query"
        parameter: dict[str, Any] = {
            "name": name,
            "in": where,
            "required": where == "path" or name in bound.required,
            "schema": refs[id(bound.fields[name].type)],
        }
        if name in example:
            parameter["example"] = example[name]
        made.append(parameter)
    if bound.streams:
        made.append(_text("Last-Event-ID", "header", "Go on after this id; the same as `after`."))
    if bound.status != 204 and not bound.gives and "fields" not in bound.fields:
        made.append(_text("fields", "query", "Show only these fields, separated by commas."))
    made += _headers(bound)
    return made


def _headers(bound: Bound) -> list[dict[str, Any]]:
    made = [_text("Thane-Run", "header", "The run that this request belongs to.")]
    if bound.method == "POST" and bound.effect is not Effect.NONE:
        made.append(_text("Idempotency-Key", "header", "Repeat safely: one key, one effect, for 24 hours."))
    if takes_if_match(bound):
        name = "If-None-Match" if bound.effect is Effect.NONE else "If-Match"
        made.append(_text(name, "header", "The ETag that was read."))
    return made


def _text(name: str, where: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": False, "description": description,
            "schema": {"type": "string"}}  # fmt: skip


def _good(bound: Bound, refs: dict[int, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done" if bound.effect is not Effect.NONE else "Found"}
    if bound.streams:
        events = {kind.__name__: refs[id(kind)] for kind in bound.streams}
        good["content"] = {"text/event-stream": {"schema": {"type": "string"}, "x-thane-events": events}}
    elif bound.gives:
        good["content"] = {"application/octet-stream": {"schema": _BINARY}}
    elif bound.status != 204:
        schema = refs[id(bound.response_type)]
        if bound.effect is Effect.OUTSIDE:
            schema = {"allOf": [schema, _RECORDED]}
        good["content"] = {"application/json": {"schema": schema}}
        if bound.effect is Effect.OUTSIDE:
            good["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    return good


def _responses(bound: Bound, refs: dict[int, Any]) -> dict[str, Any]:
    good = _good(bound, refs)
    codes = {"422", "429"}
    if not bound.declaration.anonymous:
        codes |= {"401", "403"}
    if bound.has_body:
        codes |= {"400", "413", "415"}
    if bound.path_params:
        codes.add("404")
    if bound.effect is not Effect.NONE:
        codes |= {"409", "412"} if takes_if_match(bound) else {"409"}
    if bound.effect is Effect.OUTSIDE:
        codes.add("507")
    made: dict[str, Any] = {str(bound.status): good}
    if bound.streams:
        made["101"] = {"description": "The same events over a WebSocket, if the request asks for one"}
        codes |= {"404", "410", "503"}
    for code in sorted(codes):
        made[code] = {"description": _DESCRIPTIONS[code], "content": _PROBLEM}
    made["default"] = {"description": "Any other problem", "content": _PROBLEM}
    return made


_RECORDED: Final = {
    "type": "object",
    "required": ["ledger", "outcome"],
    "properties": {
        "ledger": {
            "description": "Where the outcome stands in the tenant's tree; null while it is spooled.",
            "oneOf": [
                {"type": "null"},
                {
                    "type": "object",
                    "properties": {
                        "index": {"type": "integer"},
                        "leaf_hash": {"type": "string"},
                        "intent_index": {"type": "integer"},
                    },
                },
            ],
        },
        "outcome": {"type": "string", "description": "The outcome in one word; `spooled` if it waits."},
    },
}


def dangling(made: dict[str, Any]) -> list[str]:
    """References of a document that lead nowhere; used by the test and by `thane doctor`."""
    text = msgspec.json.encode(made).decode()
    known = made["components"]["schemas"]
    return [n for n in re.findall(r'"#/components/schemas/([^"]+)"', text) if n not in known]
