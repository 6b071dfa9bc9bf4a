"""What one watch wants of an entity: the rows a filter lets through, and the fields to show of them."""

from __future__ import annotations

from typing import Any

import msgspec

from thane.kernel.answers import encode, pick
from thane.kernel.errors import Fault, Invalid
from thane.kernel.records.filter import parse_filter
from thane.kernel.records.predicate import matches
from thane.kernel.records.schema import Kind, Schema

MOST_FIELDS = 64


class Choice:
    """Made once per request; equal choices have equal keys and share the work. Invalid for a wrong one.

    `visible` are the fields that the entity's list shows; sealed and secret ones never are.
    """

    def __init__(self, schema: Schema, visible: frozenset[str], filter: str, fields: str) -> None:
        self.schema = schema
        self.predicate = parse_filter(schema, filter)
        shown = [f.name for f in schema.fields if f.name in visible and not f.secret and not f.sealed]
        self._names = self._wanted(fields, [*shown, "version"])
        self._top = tuple(dict.fromkeys(name.partition(".")[0] for name in self._names))
        self._nested = any("." in name for name in self._names)
        self.question = (schema.table, filter.strip())
        self.key = (*self.question, self._names)

    def _wanted(self, fields: str, shown: list[str]) -> tuple[str, ...]:
        if not fields.strip():
            return tuple(shown)
        names = tuple(dict.fromkeys(n for n in (part.strip() for part in fields.split(",")) if n))
        if not names or len(names) > MOST_FIELDS:
            raise _refused(f"name 1 to {MOST_FIELDS} fields, separated by commas")
        for name in names:
            head, _, rest = name.partition(".")
            if head not in shown:
                raise _refused(f"`{head[:64]}` is no field that a watch shows; there are {', '.join(shown)}")
            if rest and (head == "version" or self.schema.by_name[head].kind is not Kind.JSON):
                raise _refused(f"`{head}` has no {rest[:64]}")
        return names

    def admits(self, record: Any) -> bool:
        """Whether the filter lets the row through."""
        return self.predicate is None or matches(self.predicate, lambda name: getattr(record, name))

    def show(self, record: Any) -> dict[str, Any]:
        """The fields that were asked for, in that order."""
        found = {name: getattr(record, name) for name in self._top}
        return pick(msgspec.json.decode(encode(found)), self._names) if self._nested else found


def _refused(detail: str) -> Invalid:
    return Invalid(detail, faults=(Fault("/fields", "unknown", detail),))
