"""OpenAPI 3.1 out of the registry: paths, types, examples, problems. Nothing is written by hand."""

from __future__ import annotations

import re
import typing
from typing import Any, Final

import msgspec

from thane import __version__
from thane.interfaces.http.problem import Problem
from thane.interfaces.http.projection import MOST
from thane.kernel.operations.declare import Effect
from thane.kernel.operations.registry import REFERENCE, Bound, Operations
from thane.kernel.operations.stages.match import takes_if_match

_TEMPLATE: Final = "#/components/schemas/{name}"
_RUN: Final = "^(run_[0-9a-f]{32})?$"
_PROJECT: Final = "^(prj_[0-9a-f]{32})?$"
_PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_BINARY: Final = {"type": "string", "format": "binary"}
_DESCRIPTIONS: Final = {
    "400": "The body cannot be read",
    "401": "Not signed in",
    "403": "Denied",
    "404": "Not found, or another tenant's",
    "408": "The request did not arrive in time",
    "409": "Conflict, or the Idempotency-Key is in use",
    "410": "It was here, and is gone for good",
    "412": "If-Match does not hold",
    "413": "Body too large",
    "415": "Not JSON",
    "422": "Invalid input; `errors` says where",
    "429": "Too many requests",
    "431": "The head of the request is too long",
    "500": "A defect of Thane; its log says more under the request's id",
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
        made.append(_projection(bound))
    made += _headers(bound)
    return made


def _headers(bound: Bound) -> list[dict[str, Any]]:
    made = [_text("Thane-Run", "header", "The run that this request belongs to.", _RUN)]
    made.append(_text("Thane-Project", "header", "The project that this request is about.", _PROJECT))
    if bound.method == "POST" and bound.effect is not Effect.NONE:
        made.append(_text("Idempotency-Key", "header", "Repeat safely: one key, one effect, for 24 hours."))
    if takes_if_match(bound):
        name = "If-None-Match" if bound.effect is Effect.NONE else "If-Match"
        made.append(_text(name, "header", "The ETag that was read."))
    return made


def _text(name: str, where: str, description: str, pattern: str | None = None) -> dict[str, Any]:
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"name": name, "in": where, "required": False, "description": description, "schema": schema}


def _projection(bound: Bound) -> dict[str, Any]:
    """`fields`, with the names there are. What JSON Schema cannot say, that `a.b` reaches inside, is told."""
    kind = bound.response_type
    items = [t for t in typing.get_args(kind) if isinstance(t, type) and issubclass(t, msgspec.Struct)]
    shown = [field.encode_name for field in msgspec.structs.fields(items[0] if items else kind)]
    shown += _RECORDED["required"] if bound.effect is Effect.OUTSIDE else ()
    return {
        "name": "fields", "in": "query", "required": False, "style": "form", "explode": False,
        "description": "Show only these fields, separated by commas; `a.b` shows only `b` of `a`.",
        "schema": {"type": "array", "minItems": 1, "maxItems": MOST, "items": {"enum": shown}},
    }  # fmt: skip


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
    made: dict[str, Any] = {str(bound.status): _good(bound, refs)}
    if bound.streams:
        made["101"] = {"description": "The same events over a WebSocket, if the request asks for one"}
    if takes_if_match(bound) and bound.effect is Effect.NONE:
        made["304"] = {"description": "It has the ETag of If-None-Match still"}
    for code in sorted(_refusals(bound)):
        made[code] = {"description": _DESCRIPTIONS[code], "content": _PROBLEM}
        if code in ("429", "503"):
            made[code]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return made


def _refusals(bound: Bound) -> set[str]:
    """The statuses of problems that an operation may answer with."""
    # 401 also without a key, because a credential may stand in the path; 404 for a run of the headers.
    codes = {"401", "404", "422", "429", "431", "500", "503"}
    if not bound.declaration.anonymous:
        codes.add("403")
    if bound.has_body:
        codes |= {"400", "408", "413", "415"}
    if bound.path_params or bound.streams:
        codes.add("410")
    if bound.effect is not Effect.NONE:
        codes |= {"409", "412"} if takes_if_match(bound) else {"409"}
    if bound.effect is Effect.OUTSIDE:
        codes.add("507")
    return codes


_RECORDED: Final[dict[str, Any]] = {
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
