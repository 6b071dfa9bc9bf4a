"""Stage: is the request what the operation takes? From path, query and body to one typed struct.

The way for good input is one call into msgspec. Only when that fails is each field looked
at again, so that the answer names every fault with its pointer, not the first one only.
"""

from __future__ import annotations

import difflib
import re
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
MAX_FAULTS = 50


def validate(call: Call) -> None:
    """Set the call's `request` and `resource`. Malformed if the body is no JSON, else Invalid with faults."""
    bound = call.operation
    call.request = _with_body(call) if bound.has_body and not bound.takes else _without_body(call)
    if bound.resource_param is not None:
        call.resource = call.path[bound.resource_param]


def _with_body(call: Call) -> Any:
    bound = call.operation
    if call.query:
        raise _invalid(bound, tuple(_unknown(bound, name) for name, _ in call.query))
    body = call.body or b"{}"
    try:
        made = bound.decode_body(body)
    except msgspec.ValidationError as refused:
        raise _invalid(bound, _faults(bound, _decoded(body)) or (_fault(str(refused), ""),)) from refused
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _malformed(fault) from fault
    if not bound.path_params:
        return made
    values = {name: getattr(made, name) for name in bound.body_type.__struct_fields__}
    for name in bound.path_params:
        values[bound.fields[name].name] = _from_path(bound, name, call.path[name])
    try:
        return bound.request_type(**values)
    except (TypeError, ValueError) as refused:
        raise _invalid(bound, (Fault("", "value", str(refused)),)) from refused


def _without_body(call: Call) -> Any:
    bound = call.operation
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, text in call.query:
        if name not in bound.query_params:
            faults.append(_unknown(bound, name))
        elif name in bound.lists:
            values.setdefault(name, []).append(text)
        elif name in values:
            faults.append(Fault(_pointer(name), "repeated", "may be given once"))
        else:
            values[name] = text
    if faults:
        raise _invalid(bound, tuple(faults))
    values.update(call.path)
    if bound.takes:
        values[bound.takes] = call.body
    try:
        return msgspec.convert(values, bound.request_type, strict=False, builtin_types=(bytes,))
    except msgspec.ValidationError as refused:
        raise _invalid(bound, _faults(bound, values) or (_fault(str(refused), ""),)) from refused


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _malformed(fault) from fault


def _malformed(fault: Exception) -> Malformed:
    if isinstance(fault, UnicodeDecodeError):
        return Malformed(f"the body is not UTF-8 at byte {fault.start}")
    if isinstance(fault, RecursionError):
        return Malformed("the body is nested too deeply")
    return Malformed(f"the body is not JSON: {str(fault).removeprefix('JSON is malformed: ')}")


def _from_path(bound: Bound, name: str, text: str) -> Any:
    kind = bound.fields[name].type
    if kind is str:
        return text
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as refused:
        raise _invalid(bound, (_fault(str(refused), _pointer(name)),)) from refused


def _faults(bound: Bound, values: Any) -> tuple[Fault, ...]:
    if not isinstance(values, Mapping):
        return (Fault("", "type", f"must be an object, not {_json_type(values)}"),)
    mine = bound.body_params if bound.has_body and not bound.takes else tuple(bound.fields)
    found = [_unknown(bound, name) for name in values if name not in mine]
    found += [
        Fault(_pointer(n), "required", "must be given")
        for n in mine
        if n in bound.required and n not in values
    ]
    for name, value in values.items():
        if name not in mine:
            continue
        info = bound.fields[name]
        try:
            msgspec.convert(value, info.type, strict=bound.has_body, builtin_types=(bytes,))
        except msgspec.ValidationError as refused:
            found.append(_fault(str(refused), _pointer(name)))
    return tuple(found[:MAX_FAULTS])


def _unknown(bound: Bound, name: str) -> Fault:
    if name in bound.path_params:
        return Fault(_pointer(name), "unknown", "stands in the path already")
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
    code = (
        "type"
        if ", got" in what
        else "out_of_range"
        if ("length" in what or "=" in what or "<" in what)
        else "value"
    )
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
