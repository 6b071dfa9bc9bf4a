"""Stage: is the request what the operation takes? From path, query and body to one typed struct.

The way for good input is one call into msgspec. Only when that fails is each field looked
at again, so that the answer names every fault with its pointer, not the first one only.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from thane.kernel.errors import Fault, Invalid, Malformed
from thane.kernel.operations.call import Call
from thane.kernel.operations.registry import Bound

_AT = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?(?P<where>[^`]*)`)?\Z", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_LISTS = (list, tuple, set, frozenset)
MAX_FAULTS = 50


def validate(call: Call) -> None:
    """Set the call's `request` and `resource`. Malformed for bytes that are no JSON, Invalid with faults for the rest."""
    bound = call.operation
    if bound.has_body and not bound.path_params and not call.query:
        values: Any = _decoded(call.body)
    else:
        values = _merged(call)
    try:
        call.request = msgspec.convert(values, bound.request_type, strict=bound.has_body)
    except msgspec.ValidationError as refused:
        faults = _faults(bound, values) or (_fault(str(refused), ""),)
        raise _invalid(bound, faults) from refused
    if bound.resource_param is not None:
        call.resource = str(call.path.get(bound.resource_param, "")) or None


def _decoded(body: bytes) -> Any:
    if not body:
        return {}
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as fault:
        raise Malformed(f"the body is not JSON: {str(fault).removeprefix('JSON is malformed: ')}") from fault
    except UnicodeDecodeError as fault:
        raise Malformed(f"the body is not UTF-8 at byte {fault.start}") from fault
    except RecursionError as fault:
        raise Malformed("the body is nested too deeply") from fault


def _merged(call: Call) -> Any:
    """Body, query and path as one object. What the path says may not be said again elsewhere."""
    bound = call.operation
    values: Any = _decoded(call.body) if bound.has_body else {}
    if not isinstance(values, dict):
        return values
    faults = [Fault(f"/{n}", "unknown", "stands in the path already") for n in bound.path_params if n in values]
    for name, text in call.query:
        if bound.has_body or name not in bound.fields or name in bound.path_params:
            faults.append(_unknown(bound, name))
        elif _takes_list(bound.fields[name].type):
            values.setdefault(name, []).append(text)
        elif name in values:
            faults.append(Fault(f"/{name}", "repeated", "may be given once"))
        else:
            values[name] = text
    if faults:
        raise _invalid(bound, tuple(faults))
    for name in bound.path_params:
        text = call.path[name]
        kind = bound.fields[name].type
        values[name] = text if kind is str else _from_path(kind, name, text, bound)
    return values


def _from_path(kind: Any, name: str, text: str, bound: Bound) -> Any:
    try:
        return msgspec.to_builtins(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError as refused:
        raise _invalid(bound, (_fault(str(refused), f"/{name}"),)) from refused


def _takes_list(kind: Any) -> bool:
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    parts = typing.get_args(kind) if typing.get_origin(kind) not in _LISTS else (kind,)
    return any(typing.get_origin(p) in _LISTS or p in _LISTS for p in (kind, *parts))


def _faults(bound: Bound, values: Any) -> tuple[Fault, ...]:
    if not isinstance(values, Mapping):
        return (Fault("", "type", f"must be an object, not {_json_type(values)}"),)
    found = [_unknown(bound, name) for name in values if name not in bound.fields]
    found += [Fault(_pointer(n), "required", "must be given") for n in bound.required if n not in values]
    for name, value in values.items():
        info = bound.fields.get(name)
        if info is None:
            continue
        try:
            msgspec.convert(value, info.type, strict=bound.has_body)
        except msgspec.ValidationError as refused:
            found.append(_fault(str(refused), _pointer(name)))
    return tuple(found[:MAX_FAULTS])


def _unknown(bound: Bound, name: str) -> Fault:
    close = difflib.get_close_matches(name, bound.fields, n=1, cutoff=0.6)
    known = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(bound.fields) or 'none'}"
    return Fault(_pointer(name), "unknown", f"is no field of {bound.name}; {known}")


def _fault(message: str, above: str) -> Fault:
    """msgspec's message (`Expected …, got … - at `$.a[0]``) as a fault."""
    match = _AT.match(message)
    assert match is not None
    what, where = match["what"], match["where"] or "$"
    pointer = above + "".join(_pointer(a or b) for a, b in _STEP.findall(where))
    missing = _MISSING.match(what)
    if missing is not None:
        return Fault(pointer + _pointer(missing["name"]), "required", "must be given")
    unknown = _UNKNOWN.match(what)
    if unknown is not None:
        return Fault(pointer + _pointer(unknown["name"]), "unknown", "is no field here")
    detail = what[:1].lower() + what[1:].replace("`", "")
    code = "type" if ", got" in what else "out_of_range" if ("length" in what or "=" in what or "<" in what) else "value"
    return Fault(pointer, code, detail)


def _pointer(step: str) -> str:
    return "/" + step.replace("~", "~0").replace("/", "~1")


def _invalid(bound: Bound, faults: tuple[Fault, ...]) -> Invalid:
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Invalid(f"{bound.name}: {first.pointer or 'the body'} {first.detail}{more}", faults=faults)


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return names.get(type(value), "a number")
