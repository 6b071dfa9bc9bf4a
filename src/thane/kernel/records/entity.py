"""Declare a record once, as a typed class; its schema and everything else is derived.

    @entity("sandboxes", "sbx", Index("tenant_id", "status"))
    class Sandbox(Record):
        id: Field[str] = key()
        tenant_id: Field[str] = ref("tenants")
        status: Field[SandboxStatus] = field(default=SandboxStatus.CREATED)

On the class a field is a `Column[T]` that makes predicates, on an instance the plain
value. The decorated class becomes a frozen msgspec Struct (built and encoded in C);
records are changed by `unit.update` only.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, dataclass_transform, overload

import msgspec

from thane.kernel.records.predicate import Column, Predicate
from thane.kernel.records.schema import FieldSchema, IndexSchema, Kind, OnDelete, Schema

T = TypeVar("T")
E = TypeVar("E")
_KINDS: dict[type, Kind] = {
    str: Kind.TEXT,
    int: Kind.INTEGER,
    bool: Kind.BOOLEAN,
    Decimal: Kind.DECIMAL,
    datetime: Kind.TIME,
    bytes: Kind.BYTES,
}


class Field(Generic[T]):
    """Annotation: `status: Field[Status]`."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: Any) -> Column[T]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> T: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...
        def __set__(self, instance: Any, value: T) -> None: ...


class Record:
    """What every declared entity is. `version` counts the row's changes: it is the ETag and the guard."""

    if TYPE_CHECKING:
        version: int
        __schema__: Schema


class _Spec:
    """What `field`, `key` and `ref` say; the decorator reads it."""

    def __init__(
        self,
        default: Any = msgspec.NODEFAULT,
        default_factory: Callable[[], Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.options = options or {}


def field(
    *,
    default: Any = msgspec.NODEFAULT,
    default_factory: Callable[[], Any] | None = None,
    precision: int = 36,
    scale: int = 18,
    sealed: bool = False,
    blind_index: bool = False,
    text: bool = False,
    secret: bool = False,
) -> Any:
    """A column. `Field[X | None]` makes it nullable, with None as its default."""
    options = {
        "precision": precision,
        "scale": scale,
        "sealed": sealed,
        "blind_index": blind_index,
        "text": text,
        "secret": secret,
    }
    return _Spec(default, default_factory, options)


def key() -> Any:
    """The primary key `id`."""
    return _Spec()


def ref(
    table: str,
    *,
    edge: str | None = None,
    on_delete: OnDelete = OnDelete.RESTRICT,
    default: Any = msgspec.NODEFAULT,
) -> Any:
    """A reference to a row of `table`; with `edge` it is an edge of the graph, from that row to this one."""
    return _Spec(default, None, {"references": table, "edge": edge, "on_delete": on_delete})


class Index:
    """An index over columns (`"created_at DESC"` for descending); named by its columns or by `name`."""

    def __init__(
        self, *columns: str, unique: bool = False, where: Predicate | None = None, name: str | None = None
    ) -> None:
        self.columns = columns
        self.unique = unique
        self.where = where
        self.name = name

    def schema(self, table: str) -> IndexSchema:
        words = [c.replace(" DESC", "_desc") for c in self.columns]
        name = self.name or f"{'ux' if self.unique else 'ix'}_{table}_{'_'.join(words)}"
        return IndexSchema(name=name, columns=self.columns, unique=self.unique, where=self.where)


def col(name: str) -> Column[Any]:
    """A column by name, for the `where` of an index inside a declaration."""
    return Column("", name, None)


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 0


@dataclass_transform(kw_only_default=True, frozen_default=False, field_specifiers=(field, key, ref))
def entity(
    table: str,
    prefix: str,
    *indexes: Index,
    version: int = 1,
    scoped: bool = True,
    history: bool = True,
    counter: bool = False,
    stream: str | None = None,
    subject: str | None = None,
) -> Callable[[type[E]], type[E]]:
    """Turn a declaration into a record class with `__schema__`; see `Schema` for the options."""

    def decorate(declaration: type[E]) -> type[E]:
        made, schema_fields = _struct_of(declaration)
        names = [f.name for f in schema_fields]
        schema = Schema(
            table=table,
            prefix=prefix,
            fields=tuple(schema_fields),
            indexes=tuple(i.schema(table) for i in indexes),
            version=version,
            scoped=scoped,
            history=history,
            counter=counter,
            stream=stream,
            subject=subject,
            make=_maker(made, names),
            read=_reader(made, names),
        )
        schema.check()
        for name in names:
            setattr(made, name, Column(table, name, vars(made)[name]))
        made.__schema__ = schema
        return typing.cast("type[E]", made)

    return decorate


def _struct_of(declaration: type[Any]) -> tuple[Any, list[FieldSchema]]:
    """The msgspec Struct of a declaration, and its fields as a schema knows them."""
    hints = typing.get_type_hints(declaration, vars(sys.modules[declaration.__module__]), {"Field": Field})
    hints.pop("__schema__", None)
    hints.pop("version", None)
    schema_fields: list[FieldSchema] = []
    struct_fields: list[Any] = []
    for name, hint in hints.items():
        (declared,) = typing.get_args(hint)
        spec = getattr(declaration, name, _Spec())
        described, default = _describe(name, declared, spec)
        schema_fields.append(described)
        struct_fields.append((name, declared) if default is msgspec.NODEFAULT else (name, declared, default))
    own = ("__dict__", "__weakref__", "__annotations__", "__module__", "__qualname__")
    made = msgspec.defstruct(
        declaration.__name__,
        struct_fields,
        bases=(_Row,),
        namespace={n: v for n, v in vars(declaration).items() if n not in hints and n not in own},
        frozen=True,
        kw_only=True,
        module=declaration.__module__,
    )
    return made, schema_fields


def schema_of(record: Any) -> Schema:
    """The schema of a record or of its class."""
    found: Schema = record.__schema__
    return found


def _describe(name: str, declared: Any, spec: _Spec) -> tuple[FieldSchema, Any]:
    nullable = False
    inner = declared
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(declared) if a is not type(None)]
        nullable = len(rest) < len(typing.get_args(declared))
        if len(rest) == 1:
            inner = rest[0]
    kind, choices = _kind(inner)
    default = spec.default
    if spec.default_factory is not None:
        default = msgspec.field(default_factory=spec.default_factory)
    elif default is msgspec.NODEFAULT and nullable:
        default = None
    described = FieldSchema(
        name=name,
        kind=kind,
        nullable=nullable,
        choices=choices,
        has_default=default is not msgspec.NODEFAULT,
        default=_value_of(spec, default),
        python_type=inner,
        **spec.options,
    )
    return described, default


def _value_of(spec: _Spec, default: Any) -> Any:
    if spec.default_factory is not None:
        return spec.default_factory()
    return None if default is msgspec.NODEFAULT else default


def _kind(inner: Any) -> tuple[Kind, tuple[str, ...]]:
    if isinstance(inner, type):
        if inner in _KINDS:
            return _KINDS[inner], ()
        if issubclass(inner, Enum):
            return Kind.TEXT, tuple(str(member.value) for member in inner)
    return Kind.JSON, ()


def _maker(made: Any, names: list[str]) -> Callable[..., Any]:
    """`make(values, version)`: one generated call, because it runs for every row of every list."""
    arguments = ", ".join(f"{name}=v[{i}]" for i, name in enumerate(names))
    return typing.cast(
        "Callable[..., Any]",
        eval(f"lambda v, version: C({arguments}, version=version)", {"C": made}),  # noqa: S307
    )


def _reader(made: Any, names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    slots = {f"g{i}": vars(made)[name].__get__ for i, name in enumerate(names)}
    calls = ", ".join(f"g{i}(o)" for i in range(len(names)))
    return typing.cast("Callable[[Any], tuple[Any, ...]]", eval(f"lambda o: ({calls},)", slots))  # noqa: S307
