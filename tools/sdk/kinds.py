"""The server's types as annotations and dataclasses of the client."""

from __future__ import annotations

import inspect
import keyword
import types
import typing
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from thane.kernel.paging import Page

PLACE = "LedgerPlace"
_NAMES = {str: "str", int: "int", bool: "bool", float: "float", bytes: "bytes", type(None): "None"}
_PLACE = '''
@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlace:
    """Where an outcome stands in the tenant's tree."""

    index: int
    leaf_hash: str
    intent_index: int
'''


class Kinds:
    """Collects what the operations mention."""

    def __init__(self) -> None:
        self._structs: dict[str, Any] = {}
        self._words: dict[str, type[Enum]] = {}
        self._recorded: set[str] = set()

    # -- what is mentioned ------------------------------------------------------------------

    def answer(self, kind: Any, *, recorded: bool) -> str:
        """The name of an answer's class; `recorded` answers also say where the ledger has them."""
        if not is_struct(kind):
            raise TypeError(f"{kind} is no answer that the client can name")
        name = self.text(kind)
        if recorded:
            self._recorded.add(name)
        return name

    def text(self, kind: Any, *, asked: bool = False) -> str:
        """An annotation. `asked`: of an argument, which may be a little more than what is sent."""
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self.text(arguments[0], asked=asked)
        if origin in (typing.Union, types.UnionType):
            return " | ".join(self.text(part, asked=asked) for part in arguments)
        if origin is typing.Literal:
            return f"Literal[{', '.join(map(repr, arguments))}]"
        if origin in (list, tuple, set, frozenset):
            return f"{'Sequence' if asked else 'list'}[{self.text(arguments[0], asked=asked)}]"
        if origin is dict:
            inner = self.text(arguments[1], asked=asked)
            return f"{'Mapping' if asked else 'dict'}[str, {inner}]"
        return self._plain(kind, asked)

    def _plain(self, kind: Any, asked: bool) -> str:
        if kind in _NAMES:
            return _NAMES[kind]
        if kind is Decimal:
            return "Decimal | int | str" if asked else "Decimal"
        if kind is Any or kind is msgspec.Raw:
            return "Any"
        if is_struct(kind):
            self._take(kind.__name__, kind, self._structs)
            for field in msgspec.structs.fields(kind):
                self.text(field.type)
            return str(kind.__name__)
        if isinstance(kind, type) and issubclass(kind, Enum):
            self._take(kind.__name__, kind, self._words)
            return kind.__name__
        return "datetime" if kind.__name__ == "datetime" else _unknown(kind)

    @staticmethod
    def _take(name: str, kind: Any, where: dict[str, Any]) -> None:
        if where.setdefault(name, kind) is not kind:
            raise TypeError(f"two types of the API are called {name}: {kind} and {where[name]}")

    # -- what is made of it -----------------------------------------------------------------

    def home(self, name: str) -> str:
        """The module of a type."""
        return "common" if name == PLACE else home_of((self._structs | self._words)[name])

    @property
    def names(self) -> list[str]:
        """Every type that is made."""
        return sorted({*self._structs, *self._words, PLACE})

    def modules(self) -> dict[str, str]:
        """The text of each module of `thane.client.types`, without its first lines."""
        made: dict[str, list[str]] = {"common": [_PLACE]}
        for name, words in sorted(self._words.items()):
            values = ", ".join(repr(word.value) for word in words)
            made.setdefault(self.home(name), []).append(f"{name}: TypeAlias = Literal[{values}]\n")
        # In the order of their mention, what is inside comes after what holds it; annotations wait.
        for name, kind in sorted(self._structs.items()):
            made.setdefault(self.home(name), []).append(self._dataclass(name, kind))
        return {home: "\n\n".join(parts) for home, parts in sorted(made.items())}

    def _dataclass(self, name: str, kind: Any) -> str:
        lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}:"]
        doc = vars(kind).get("__doc__") or f"`{name}` of the API."
        lines.append(docstring(inspect.cleandoc(doc), 4))
        for field in msgspec.structs.fields(kind):
            if keyword.iskeyword(field.encode_name):
                raise TypeError(f"{name}.{field.encode_name} cannot be a field in Python")
            lines.append(f"    {field.encode_name}: {self.text(field.type)}{_default(field)}")
        if name in self._recorded:
            lines += [f"    ledger: {PLACE} | None", "    outcome: str"]
        return "\n".join(lines) + "\n"


def is_struct(kind: Any) -> bool:
    """Whether it is a Struct, and no page of others."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not issubclass(kind, Page)


def home_of(kind: type) -> str:
    """A domain's name, `common` for what belongs to none."""
    parts = kind.__module__.split(".")
    return parts[2] if parts[:2] == ["thane", "domains"] else "common"


def docstring(text: str, indent: int) -> str:
    """A docstring's lines at this depth."""
    space = " " * indent
    text = text.replace("\\", "\\\\").replace('"""', "'''")
    if "\n" not in text and len(text) + indent + 6 <= 110:
        return f'{space}"""{text}"""'
    body = "\n".join(f"{space}{line}".rstrip() for line in text.splitlines())
    return f'{space}"""{body.lstrip()}\n{space}"""'


def _default(field: Any) -> str:
    """What a field is where the answer leaves it out."""
    factory = field.default_factory
    if factory in (list, tuple, set, frozenset):
        return " = field(default_factory=list)"
    if factory is dict:
        return " = field(default_factory=dict)"
    default = field.default
    if isinstance(default, Enum):
        default = default.value
    if default is None or isinstance(default, str | bool | int):
        return f" = {default!r}"
    if not isinstance(default, Decimal):
        return ""
    return f" = Decimal({default})" if default == int(default) else f' = Decimal("{default}")'


def _unknown(kind: Any) -> str:
    raise TypeError(f"the client has no type for {kind}")
