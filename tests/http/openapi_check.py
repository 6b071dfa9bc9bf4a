"""Checks JSON against the schemas of our OpenAPI document: the few keywords that they use, and no other."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN = {
    "$ref", "type", "properties", "required", "additionalProperties", "items", "prefixItems", "anyOf",
    "oneOf", "allOf", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "pattern", "format", "contentEncoding",
    "title", "description", "default", "examples", "discriminator",
}  # fmt: skip


def faults(schema: Any, value: Any, document: dict[str, Any], at: str = "$") -> list[str]:
    """What of `value` does not fit, with the place."""
    if schema is True or not schema:
        return []
    unknown = set(schema) - KNOWN
    assert not unknown, f"{at}: the check knows no {unknown}"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return faults(document["components"]["schemas"][name], value, document, at)
    found: list[str] = []
    for part in schema.get("allOf", ()):
        found += faults(part, value, document, at)
    for word in ("anyOf", "oneOf"):
        if word in schema and all(faults(part, value, document, at) for part in schema[word]):
            found.append(f"{at}: {value!r} is none of {word}")
    found += _own(schema, value, at)
    if isinstance(value, dict):
        found += _members(schema, value, document, at)
    if isinstance(value, list) and "items" in schema and schema["items"] is not False:
        for n, item in enumerate(value):
            found += faults(schema["items"], item, document, f"{at}[{n}]")
    return found


def _own(schema: dict[str, Any], value: Any, at: str) -> list[str]:
    kinds = schema.get("type")
    names = [kinds] if isinstance(kinds, str) else kinds or []
    if names and not any(_is(name, value) for name in names):
        return [f"{at}: {value!r} is no {kinds}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is not one of {schema['enum']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        return [f"{at}: {value!r} does not match {schema['pattern']}"]
    return []


def _is(name: str, value: Any) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _members(schema: dict[str, Any], value: dict[str, Any], document: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: lacks {name}" for name in schema.get("required", ()) if name not in value]
    known = schema.get("properties", {})
    for name, member in value.items():
        if name in known:
            found += faults(known[name], member, document, f"{at}.{name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            found += faults(schema["additionalProperties"], member, document, f"{at}.{name}")
    return found
