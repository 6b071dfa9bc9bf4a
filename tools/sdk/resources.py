"""Operations as constants and as methods of resources."""

from __future__ import annotations

import inspect
import keyword
import typing
from collections.abc import Iterable

from thane.kernel.operations.declare import Effect, Outside, description_of
from thane.kernel.operations.registry import Bound
from thane.kernel.operations.stages.match import takes_if_match
from tools.sdk.kinds import Kinds, docstring

# Answers that can be asked for more; `thane.client._async.objects` has them.
BOUND = ("Execution", "ExecutionResult", "Run", "Sandbox")
# Of a list: the client asks for pages by itself.
PAGING = ("cursor", "limit", "total")


def resource_of(bound: Bound) -> tuple[str, str]:
    """`sandboxes.create` as ("sandboxes", "create")."""
    resource, _, verb = bound.name.partition(".")
    return resource, verb


def constants(bounds: Iterable[Bound]) -> str:
    """The module of `thane.client.ops` of one resource."""
    lines = ["from thane.client.op import Op", ""]
    for bound in bounds:
        parts = [repr(bound.name), repr(bound.method), repr(bound.path)]
        parts += ["reads=True"] if bound.effect is Effect.NONE else []
        parts += ["outside=True"] if bound.effect is Effect.OUTSIDE else []
        secrets = bound.declaration.secret_fields
        parts += [f"secrets={secrets!r}"] if secrets else []
        parts += [f"takes={bound.takes!r}"] if bound.takes else []
        lines.append(f"{resource_of(bound)[1].upper()} = Op({', '.join(parts)})")
    return "\n".join(lines) + "\n"


def module(resource: str, bounds: list[Bound], kinds: Kinds) -> str:
    """The module of one resource, asynchronous."""
    methods = "\n\n".join(_method(bound, kinds) for bound in bounds)
    data = [name for name in kinds.names if name not in BOUND]
    wanted = "\n".join(f"from thane.client.types.{kinds.home(name)} import {name}" for name in data)
    return f"""
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from thane.client._async.core import AsyncCore
from thane.client._async.objects import {", ".join(f"Async{name}" for name in BOUND)}
from thane.client._async.pages import AsyncPages
from thane.client.convert import given
from thane.client.events import Progress
from thane.client.ops import {resource} as ops
{wanted}


class Async{class_name(resource)}:
    \"\"\"What can be asked of {resource.replace("_", " ")}.\"\"\"

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

{methods}
"""


def class_name(resource: str) -> str:
    """`api_keys` as `ApiKeys`."""
    return "".join(part.capitalize() for part in resource.split("_"))


def _method(bound: Bound, kinds: Kinds) -> str:
    if bound.declaration.lists:
        return _list(bound, kinds)
    if bound.gives:
        return _bytes(bound, kinds)
    outside = bound.effect is Effect.OUTSIDE
    answer = kinds.answer(bound.response_type, recorded=outside)
    shown = f"Async{answer}" if answer in BOUND else answer
    signature, values, fields = _arguments(bound, kinds, ())
    extra, more = "", ""
    if bound.effect is not Effect.NONE and takes_if_match(bound):
        signature, extra = _keyword(signature, "if_match: int | None = None"), ", if_match=if_match"
    if outside:
        signature, more = _keyword(signature, "outlive: bool = True"), ", outlive=outlive"
    op = f"ops.{resource_of(bound)[1].upper()}"
    verb = _name(resource_of(bound)[1])
    text = f"""
    async def {verb}({signature}) -> {shown}:
{_doc(bound, ())}
        return await self._core.call({op}, {shown}, {values}, {_sent(bound, fields)}{extra}{more})
"""
    if (
        bound.outside is not None and type(bound.outside).record is not Outside.record
    ):  # else nothing comes in between
        text += f'''
    async def stream_{verb}({signature}) -> AsyncIterator[Progress | {shown}]:
        """`{verb}`, yielding what comes while it is at work, and its result as the last."""
        async for event in self._core.stream({op}, {shown}, {values}, {fields}{more}):
            yield event
'''
    return text.strip("\n")


def _bytes(bound: Bound, kinds: Kinds) -> str:
    signature, values, fields = _arguments(bound, kinds, ())
    verb = resource_of(bound)[1]
    return f"""
    async def {_name(verb)}({signature}) -> bytes:
{_doc(bound, ())}
        return await self._core.fetch(ops.{verb.upper()}, {values}, {fields})
""".strip("\n")


def _list(bound: Bound, kinds: Kinds) -> str:
    item = kinds.answer(typing.get_args(bound.response_type)[0], recorded=False)
    shown = f"Async{item}" if item in BOUND else item
    signature, values, fields = _arguments(bound, kinds, PAGING)
    signature = _keyword(signature, "page_size: int | None = None")
    fields = fields.replace("given(", "given(limit=page_size, ")
    verb = resource_of(bound)[1]
    return f"""
    def {_name(verb)}({signature}) -> AsyncPages[{shown}]:
{_doc(bound, PAGING)}
        return AsyncPages(self._core, ops.{verb.upper()}, {shown}, {values}, {fields})
""".strip("\n")


def _arguments(bound: Bound, kinds: Kinds, left_out: tuple[str, ...]) -> tuple[str, str, str]:
    """The signature, and the expressions of path values and fields."""
    needed, optional, sent = ["self"], [], []
    for name, field in bound.fields.items():
        if name in left_out:
            continue
        kind = kinds.text(field.type, asked=True)
        if field.required or name in bound.path_params:
            needed.append(f"{_name(name)}: {kind}")
        else:
            left = "" if "None" in kind.split(" | ") else " | None"
            optional.append(f"{_name(name)}: {kind}{left} = None")
        if name not in bound.path_params:
            sent.append(f"{name}={_name(name)}")
    signature = ", ".join(needed + (["*", *optional] if optional else []))
    values = "{" + ", ".join(f"{name!r}: {_name(name)}" for name in bound.path_params) + "}"
    return signature, values, f"given({', '.join(sent)})"


def _sent(bound: Bound, fields: str) -> str:
    """The expression of the fields; a body of bytes goes as it is."""
    if not bound.takes:
        return fields
    rest = fields.replace(f"{bound.takes}={_name(bound.takes)}, ", "").replace(
        f", {bound.takes}={_name(bound.takes)}", ""
    )
    return f"{{**{rest}, {bound.takes!r}: {_name(bound.takes)} or b''}}"


def _keyword(signature: str, argument: str) -> str:
    return f"{signature}, {argument}" if ", *, " in signature else f"{signature}, *, {argument}"


def _name(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _doc(bound: Bound, left_out: tuple[str, ...]) -> str:
    text = inspect.cleandoc(bound.declaration.target.__doc__)
    told = [
        f"`{name}`: {words.replace(', base64', '')}"
        for name, field in bound.fields.items()
        if name not in left_out and (words := description_of(field.type))
    ]
    return docstring("\n\n".join([text, *(["\n".join(told)] if told else [])]), 8)
