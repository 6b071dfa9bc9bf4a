"""The registry: every operation of the program, bound to its service, checked and taken apart once.

Whatever a stage or a host needs of an operation on each request is worked out here, at
wiring. A declaration that would fail later, or that nobody could use, is refused now. It
must not know HTTP beyond method and path, nor run anything.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec

from thane.kernel.operations.declare import FOUR, Declaration, Effect, Outside, StillRunning, declaration_of
from thane.kernel.records.unit import Unit

NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")
HTTP = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/[a-zA-Z0-9_{}/.:-]*)\Z")
PARAMETER = re.compile(r"{(\w+)}")
REFERENCE = re.compile(r"\$([a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)(?:/(.+))?\Z")
LISTS = (list, tuple, set, frozenset)
# Written into the answer of an OUTSIDE operation by the pipeline.
RESERVED_ANSWERS = ("ledger", "outcome")

Run = Callable[[Unit, Any], Awaitable[Any]]


class RefusedDeclaration(TypeError):
    """An operation that the registry does not take; the message says which and why."""


class Bound:
    """One operation, ready to run. Attributes only; made by `Operations.bind`."""

    __slots__ = (
        "body_params",
        "body_type",
        "decode_body",
        "decode_intent",
        "decode_outcome",
        "declaration",
        "description",
        "effect",
        "entity",
        "fields",
        "gives",
        "has_body",
        "intent_type",
        "lists",
        "method",
        "name",
        "needs",
        "outside",
        "path",
        "path_params",
        "request_type",
        "required",
        "resource_param",
        "response_type",
        "run",
        "service",
        "status",
        "streams",
        "summary",
        "takes",
    )

    def __init__(self, declaration: Declaration, service: Any) -> None:
        self.declaration = declaration
        self.service = service
        self.name = declaration.name
        self.needs = declaration.needs
        self.effect = declaration.effect
        self.entity = declaration.entity
        self.status = declaration.status
        self.streams = declaration.streams
        self.takes, self.gives = declaration.takes, declaration.gives
        # A class without one of its own would inherit that of `Outside`, which says nothing of it.
        doc = inspect.cleandoc(declaration.target.__doc__ or "")
        if not doc:
            raise _refused(declaration, "has no docstring; write what it does, for people and for models")
        self.summary, _, rest = doc.partition("\n")
        self.description = rest.strip()
        self.method, self.path = _http(declaration)
        self.path_params: tuple[str, ...] = tuple(PARAMETER.findall(self.path or ""))
        self.outside: Outside[Any, Any, Any, Any] | None = None
        self.run: Run | None = None
        self.intent_type: Any = None
        self.decode_intent: Callable[[bytes], Any] | None = None
        self.decode_outcome: Callable[[bytes], Any] | None = None
        if declaration.effect is Effect.OUTSIDE:
            self._bind_outside()
        else:
            self._bind_function()
        self._take_apart()

    def _bind_function(self) -> None:
        declaration, service = self.declaration, self.service
        target = declaration.target
        if not inspect.iscoroutinefunction(target):
            raise _refused(declaration, "must be an async function of (service, unit, request)")
        names = list(inspect.signature(target).parameters)
        if len(names) != 3:
            raise _refused(declaration, f"takes {names}; an operation takes (service, unit, request)")
        hints = _hints(declaration, target)
        self.request_type: Any = hints.get(names[2])
        self.response_type: Any = hints.get("return")
        handler: Callable[[Any, Unit, Any], Awaitable[Any]] = target

        def run(unit: Unit, request: Any) -> Awaitable[Any]:
            return handler(service, unit, request)

        self.run = run

    def _bind_outside(self) -> None:
        declaration = self.declaration
        cls = declaration.target
        if not (isinstance(cls, type) and issubclass(cls, Outside)):
            raise _refused(declaration, "acts outside: it must be a class over Outside")
        lacking = [name for name in FOUR if getattr(cls, name) is getattr(Outside, name)]
        if lacking:
            raise _refused(
                declaration,
                f"acts outside and lacks {', '.join(lacking)}; all of {', '.join(FOUR)} are needed",
            )
        prepare, settle, act = (_hints(declaration, getattr(cls, n)) for n in ("prepare", "settle", "act"))
        self.request_type = prepare.get("request")
        self.response_type = settle.get("return")
        self.intent_type = prepare.get("return")
        outcome = act.get("return")
        for label, found in (("intent", self.intent_type), ("outcome", outcome)):
            if not _is_struct(found):
                raise _refused(declaration, f"its {label} must be a msgspec Struct, because it is stored")
        if typing.get_args(_hints(declaration, cls.recover).get("return", None)) == (StillRunning,):
            raise _refused(declaration, "its recover must return an outcome or StillRunning")
        self.decode_intent = msgspec.json.Decoder(self.intent_type).decode
        self.decode_outcome = msgspec.json.Decoder(outcome).decode
        self.outside = cls(self.service)

    def _take_apart(self) -> None:
        declaration, request = self.declaration, self.request_type
        if not _is_struct(request):
            raise _refused(declaration, "its request must be a msgspec Struct")
        if not request.__struct_config__.forbid_unknown_fields:
            raise _refused(
                declaration, f"{request.__name__} must forbid unknown fields (forbid_unknown_fields=True)"
            )
        if self.response_type is None and declaration.status != 204:
            raise _refused(declaration, "must say what it returns, or answer with status 204")
        infos = msgspec.structs.fields(request)
        self.fields: dict[str, Any] = {f.encode_name: f for f in infos}
        self.required = tuple(f.encode_name for f in infos if f.required)
        for name in self.path_params:
            if name not in self.fields:
                raise _refused(declaration, f"the path's {{{name}}} is no field of {request.__name__}")
        self.has_body = self.method in ("POST", "PUT", "PATCH")
        named = () if self.takes or not self.has_body else tuple(self.fields)
        self.body_params = tuple(n for n in named if n not in self.path_params)
        self.body_type = _body_type(request, self.path_params)
        self.decode_body: Callable[[bytes], Any] = msgspec.json.Decoder(self.body_type).decode
        self.lists = frozenset(n for n, f in self.fields.items() if _takes_list(f.type))
        self.resource_param = self.path_params[-1] if self.path_params else None
        self._check_words()

    @property
    def query_params(self) -> tuple[str, ...]:
        """The fields of the request that stand in the query."""
        if self.has_body and not self.takes:
            return ()
        return tuple(n for n in self.fields if n != self.takes and n not in self.path_params)

    def _check_words(self) -> None:
        declaration = self.declaration
        if self.takes and (self.takes not in self.fields or self.takes not in declaration.transient):
            raise _refused(declaration, f"takes {self.takes}, which must be a transient field of its request")
        if self.takes and not self.has_body:
            raise _refused(declaration, f"is a {self.method} and has no body to take")
        if self.gives and (self.effect is not Effect.NONE or not hasattr(self.response_type, self.gives)):
            raise _refused(declaration, f"gives {self.gives}, which must be a field of what a read answers")
        for name in declaration.transient:
            if name not in self.fields:
                raise _refused(declaration, f"the transient {name} is no field of its request")
        answer = (
            {f.name for f in msgspec.structs.fields(self.response_type)}
            if _is_struct(self.response_type)
            else set()
        )
        for name in declaration.secret_fields:
            if name not in answer:
                raise _refused(declaration, f"the secret {name} is no field of its answer")
        if self.outside is not None and answer & set(RESERVED_ANSWERS):
            raise _refused(declaration, f"its answer may not use the names {', '.join(RESERVED_ANSWERS)}")
        schema = getattr(self.response_type, "__schema__", None)
        hidden = [f.name for f in schema.fields if f.secret] if schema is not None else []
        if hidden:
            raise _refused(
                declaration,
                f"it answers with a record whose {', '.join(hidden)} nobody may see; answer with a view",
            )

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


class Operations:
    """All operations by name and by path."""

    def __init__(self) -> None:
        self._by_name: dict[str, Bound] = {}
        self._by_http: dict[tuple[str, str], Bound] = {}
        self._readers: dict[Any, str] = {}

    def bind(self, service: Any, *targets: Any) -> None:
        """Take in what `@operation` marked; RefusedDeclaration if something is missing or taken."""
        for target in targets:
            declaration = declaration_of(target)
            _check(declaration)
            if declaration.name in self._by_name:
                raise _refused(declaration, "is declared twice")
            bound = Bound(declaration, service)
            if bound.path:
                place = (bound.method, PARAMETER.sub("{}", bound.path))
                if place in self._by_http:
                    raise _refused(
                        declaration, f"{bound.method} {bound.path} belongs to {self._by_http[place].name}"
                    )
                self._by_http[place] = bound
            self._by_name[declaration.name] = bound
            self._readers.clear()

    def check(self) -> None:
        """After all are bound: RefusedDeclaration if an example refers to nothing or to itself."""
        for bound in self:
            self.before(bound.name)

    def before(self, name: str) -> tuple[str, ...]:
        """The operations whose examples must have run before this one's, in order."""
        ordered: list[str] = []

        def visit(here: str, above: tuple[str, ...]) -> None:
            declaration = self.get(here).declaration
            for needed in _needed(declaration):
                if needed in (*above, here):
                    raise _refused(declaration, f"its example needs {needed}, which needs it in turn")
                if needed not in self._by_name:
                    raise _refused(declaration, f"its example needs {needed}, which is no operation")
                visit(needed, (*above, here))
                if needed not in ordered:
                    ordered.append(needed)

        visit(name, ())
        return tuple(ordered)

    def location(self, bound: Bound, resource: str) -> str | None:
        """The path (below /api/v1) that reads a resource of this operation's entity; None if none does."""
        if bound.entity is None:
            return None
        if not self._readers:
            for other in self:
                if other.method == "GET" and not other.declaration.lists and len(other.path_params) == 1:
                    self._readers.setdefault(other.entity, PARAMETER.sub("{}", other.path))
        found = self._readers.get(bound.entity)
        return None if found is None else found.replace("{}", resource)

    def get(self, name: str) -> Bound:
        return self._by_name[name]

    def find(self, name: str) -> Bound | None:
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Bound]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)


def example_request(example: Mapping[str, Any], answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An example's request with each `$entity.verb/field` taken from that operation's answer."""

    def resolve(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: resolve(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [resolve(v) for v in value]
        found = REFERENCE.match(value) if isinstance(value, str) else None
        if found is None:
            return value
        here: Any = answers[found[1]]
        for step in (found[2] or "id").split("/"):
            here = here[int(step)] if isinstance(here, list) else here[step]
        return here

    return {k: resolve(v) for k, v in example.items()}


def _needed(declaration: Declaration) -> tuple[str, ...]:
    example = declaration.example
    assert example is not None
    found = list(example.before)

    def look(value: Any) -> None:
        if isinstance(value, Mapping):
            for inner in value.values():
                look(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                look(inner)
        elif isinstance(value, str) and (match := REFERENCE.match(value)):
            found.append(match[1])

    look(example.request)
    return tuple(dict.fromkeys(found))


def _check(declaration: Declaration) -> None:
    if not NAME.match(declaration.name):
        raise _refused(declaration, "must be named <entity>.<verb> in lower case")
    if declaration.example is None:
        raise _refused(
            declaration, "has no example; every test and every page of documentation starts from it"
        )
    if not declaration.needs and not declaration.anonymous:
        raise _refused(declaration, "names no permission (needs=…)")
    if declaration.lists and declaration.entity is None:
        raise _refused(declaration, "is a list and names no entity")
    if declaration.streams and (declaration.effect is not Effect.NONE or declaration.anonymous):
        raise _refused(declaration, "is a stream, which only reads, for somebody who is known")
    if declaration.identified_by is not None and not declaration.anonymous:
        raise _refused(declaration, "has identified_by, which is for anonymous operations")


def _http(declaration: Declaration) -> tuple[str, str]:
    if declaration.http is None:
        return "", ""
    found = HTTP.match(declaration.http)
    if found is None:
        raise _refused(declaration, f"{declaration.http!r} is not `METHOD /path`")
    method, path = found[1], found[2]
    if method == "GET" and declaration.effect is not Effect.NONE:
        raise _refused(declaration, "changes something and must not be a GET")
    if declaration.effect is Effect.OUTSIDE and method != "POST":
        raise _refused(declaration, "acts outside and must be a POST, which has an Idempotency-Key")
    return method, path


def _hints(declaration: Declaration, target: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError as missing:
        raise _refused(
            declaration, f"a type of {target.__qualname__} is not there at run time: {missing}"
        ) from missing


@functools.cache
def _body_type(request: Any, path_params: tuple[str, ...]) -> Any:
    """The part of a request that stands in the body; one type for all operations that share a request."""
    if not path_params:
        return request
    kept: list[Any] = []
    for info in msgspec.structs.fields(request):
        if info.encode_name in path_params:
            continue
        if info.default_factory is not msgspec.NODEFAULT:
            spec = msgspec.field(name=info.encode_name, default_factory=info.default_factory)
        else:
            spec = msgspec.field(name=info.encode_name, default=info.default)
        kept.append((info.name, info.type, spec))
    return msgspec.defstruct(
        request.__name__,
        kept,
        forbid_unknown_fields=True,
        kw_only=True,
        frozen=True,
        module=request.__module__,
    )


def _takes_list(kind: Any) -> bool:
    parts = (kind, *typing.get_args(kind))
    return any(typing.get_origin(p) in LISTS or p in LISTS for p in parts)


def _is_struct(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, msgspec.Struct)


def _refused(declaration: Declaration, why: str) -> RefusedDeclaration:
    return RefusedDeclaration(f"operation {declaration.name}: {why}")
