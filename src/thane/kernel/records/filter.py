"""The filter that people write in a URL, as a predicate: `status = "queued" && (cost > 1.5 || name ~ "x")`.

PocketBase's grammar on our closed algebra. Names, operators and values are checked
against the schema here, so an engine never sees what it cannot answer, and no text of
a caller becomes part of a statement: values are bound. Whatever is written, the answer
is a Predicate or `Invalid` with the position.

    filter  = and { "||" and }
    and     = term { "&&" term }
    term    = "(" filter ")" | path operator value
    operator  = != > >= < <= ~ !~            ~ holds the text, ignoring ASCII case
    value   = "text" | 'text' | number | true | false | null

`path` is a field, or a place in a JSON field (`resource_limits.max_memory_mb = 256`).
There `=` and `!=` compare, and `~` asks whether the list there holds the value.
Comparisons with null are false, as in SQL, also with `!=`; `field = null` asks for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, NoReturn

from thane.kernel.errors import Fault, Invalid
from thane.kernel.records.filter_values import Literal, WrongValue, json_value, value_for
from thane.kernel.records.predicate import Order, Predicate
from thane.kernel.records.schema import FieldSchema, Kind, Schema

MAX_CHARS = 4096
# Filters that were read lately, by schema; what is asked once is often asked again.
REMEMBERED = 200
MAX_DEPTH = 16
MAX_TERMS = 64
MAX_SORT_KEYS = 8

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<path>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]+)*)
    | (?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<operator>!=|!~|>=|<=|=|>|<|~)
    | (?P<joint>&&|\|\|)
    | (?P<open>\() | (?P<close>\))
    | (?P<end>\Z)
    | (?P<bad>.)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "/": "/"}
_WORDS: dict[str, Literal] = {"true": True, "false": False, "null": None}


class _Token(NamedTuple):
    kind: str
    text: str
    at: int  # position of its first character, counted from 1


def parse_filter(schema: Schema, text: str, pointer: str = "/filter") -> Predicate | None:
    """The predicate of `text`; None if it is blank. `pointer` is where it stood in the request."""
    if len(text) > MAX_CHARS:
        _refuse(pointer, "too_long", f"the filter has {len(text)} characters; at most {MAX_CHARS} are read")
    if not text or text.isspace():
        return None
    known: dict[str, Predicate] = schema.__dict__.setdefault("_filters", {})
    found = known.get(text)
    if found is None:
        found = _Parser(schema, text, pointer).parse()
        if len(known) >= REMEMBERED:
            known.clear()
        known[text] = found
    return found


def parse_sort(schema: Schema, text: str, pointer: str = "/sort") -> tuple[Order, ...]:
    """`-created_at,name`: by created_at descending, then by name."""
    orders: list[Order] = []
    for name in _names(text, MAX_SORT_KEYS, pointer):
        field = _find(schema, name.removeprefix("-").removeprefix("+"), pointer, "sorted by")
        if field.kind in (Kind.JSON, Kind.BYTES):
            _refuse(pointer, "not_sortable", f"{field.name} holds {field.kind} and cannot be sorted by")
        if any(order.field == field.name for order in orders):
            _refuse(pointer, "repeated", f"{field.name} is named twice")
        orders.append(Order(field.name, name.startswith("-")))
    return tuple(orders)


def parse_fields(schema: Schema, text: str, pointer: str = "/fields") -> tuple[str, ...]:
    """`id,name,version`: the fields that the answer is to have. Empty means all."""
    found: dict[str, None] = {}
    for name in _names(text, len(schema.fields) + 1, pointer):
        if name != "version" and schema.by_name.get(name, _VISIBLE).secret:
            _refuse(pointer, "secret", f"{name} is secret and is in no answer")
        if name != "version" and name not in schema.by_name:
            _unknown(schema, name, pointer, "")
        found[name] = None
    return tuple(found)


_VISIBLE = FieldSchema(name="", kind=Kind.TEXT)


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, schema: Schema, text: str, pointer: str) -> None:
        self.schema = schema
        self.pointer = pointer
        self.text = text
        self.tokens = self._tokens()
        self.here = 0
        self.terms = 0

    def _tokens(self) -> list[_Token]:
        found: list[_Token] = []
        for match in _TOKEN.finditer(self.text):
            kind = match.lastgroup or "end"
            found.append(_Token(kind, match[kind], match.start(kind) + 1))
            if kind == "end":
                break
        return found

    def parse(self) -> Predicate:
        predicate = self._or(0)
        token = self._next()
        if token.kind == "close":
            self._fail(token, "this ) closes nothing")
        if token.kind != "end":
            self._fail(token, f"expected && or || before {_shown(token)}")
        return predicate

    def _or(self, depth: int) -> Predicate:
        if depth > MAX_DEPTH:
            self._fail(self._peek(), f"more than {MAX_DEPTH} parentheses inside one another", "too_deep")
        predicate = self._and(depth)
        while self._peek()[:2] == ("joint", "||"):
            self._next()
            predicate = predicate | self._and(depth)
        return predicate

    def _and(self, depth: int) -> Predicate:
        predicate = self._term(depth)
        while self._peek()[:2] == ("joint", "&&"):
            self._next()
            predicate = predicate & self._term(depth)
        return predicate

    def _term(self, depth: int) -> Predicate:
        token = self._next()
        if token.kind == "open":
            inner = self._or(depth + 1)
            closing = self._next()
            if closing.kind != "close":
                self._fail(closing, f"expected ) for the ( at position {token.at}, got {_shown(closing)}")
            return inner
        if token.kind != "path" or token.text in _WORDS:
            self._fail(token, f"expected a field's name or (, got {_shown(token)}")
        self.terms += 1
        if self.terms > MAX_TERMS:
            self._fail(token, f"more than {MAX_TERMS} comparisons", "too_many_terms")
        operator = self._next()
        if operator.kind != "operator":
            self._fail(
                operator, f"expected = != > >= < <= ~ or !~ after {token.text}, got {_shown(operator)}"
            )
        return self._comparison(token, operator, self._literal(operator))

    def _literal(self, operator: _Token) -> Literal:
        token = self._next()
        if token.kind == "text":
            return self._unescape(token)
        if token.kind == "number":
            return Decimal(token.text) if "." in token.text else int(token.text)
        if token.kind == "path" and token.text not in _WORDS:
            self._fail(token, f'expected a value after {operator.text}; write text in quotes: "{token.text}"')
        if token.kind != "path":
            self._fail(token, f"expected a value after {operator.text}, got {_shown(token)}")
        return _WORDS[token.text]

    def _unescape(self, token: _Token) -> str:
        def one(match: re.Match[str]) -> str:
            code = match[1]
            if code[0] == "u" and len(code) == 5:
                return chr(int(code[1:], 16))
            if code not in _ESCAPED:
                self._fail(token, f"unknown escape \\{code}; there are \\n \\t \\r \\\\ \\\" \\' and \\u0000")
            return _ESCAPED[code]

        text = token.text[1:-1]
        if "\\" in text:
            text = _ESCAPE.sub(one, text)
        # Two escapes may make one character beyond the BMP; half of one cannot be stored anywhere.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\0" in text:
            self._fail(token, "text with a NUL character, which no store keeps")
        return text

    def _comparison(self, path: _Token, operator: _Token, value: Literal) -> Predicate:
        name, _, rest = path.text.partition(".")
        field = _find(self.schema, name, self.pointer, "filtered by", path.at)
        try:
            if rest and value is not None:
                return _in_json(field, rest.split("."), operator.text, value)
            if rest and field.kind is Kind.JSON:
                raise WrongValue(f"{path.text} is a place in JSON and cannot be compared with null")
            if rest:
                raise WrongValue(f"{name} is {field.kind} and has no {rest}")
            return _on_field(field, operator.text, value)
        except WrongValue as error:
            self._fail(path, str(error), "wrong_value")

    def _peek(self) -> _Token:
        return self.tokens[min(self.here, len(self.tokens) - 1)]

    def _next(self) -> _Token:
        token = self._peek()
        self.here += 1
        return token

    def _fail(self, token: _Token, detail: str, code: str = "syntax") -> NoReturn:
        _refuse(self.pointer, code, detail, token.at)


def _on_field(field: FieldSchema, operator: str, value: Literal) -> Predicate:
    if value is None:
        if operator not in ("=", "!="):
            raise WrongValue(f"{field.name} {operator} null has no meaning; write = null or != null")
        return Predicate(("null" if operator == "=" else "notnull", field.name))
    if field.kind is Kind.JSON:
        return _in_json(field, [], operator, value)
    bound = value_for(field, operator, value)
    if operator in ("~", "!~"):
        holds = Predicate(("substring", field.name), (bound,))
        return holds if operator == "~" else ~holds
    return Predicate((operator, field.name), (bound,))


def _in_json(field: FieldSchema, path: list[str], operator: str, value: Literal) -> Predicate:
    where = ".".join([field.name, *path])
    if field.kind is not Kind.JSON:
        raise WrongValue(f"{field.name} is {field.kind} and has no {'.'.join(path)}")
    if operator not in ("=", "!=", "~", "!~"):
        raise WrongValue(f"{where} is in JSON, which is compared with =, !=, ~ and !~ only")
    if not path and operator in ("=", "!="):
        raise WrongValue(f"{field.name} is JSON; name a place in it, such as {field.name}.name = …")
    inner = json_value(field, path, value, listed=operator in ("~", "!~"))
    document: object = [inner] if operator in ("~", "!~") else inner
    for name in reversed(path):
        document = {name: document}
    holds = Predicate(("contains", field.name), (document,))
    return ~holds if operator.startswith("!") else holds


def _find(schema: Schema, name: str, pointer: str, use: str, at: int | None = None) -> FieldSchema:
    field = schema.by_name.get(name)
    if field is None:
        _unknown(schema, name, pointer, use, at)
    if field.sealed or field.secret:
        why = "secret" if field.secret else "sealed"
        _refuse(pointer, why, f"{name} is {why} and cannot be {use}", at)
    return field


def _unknown(schema: Schema, name: str, pointer: str, use: str, at: int | None = None) -> NoReturn:
    usable = [f.name for f in schema.fields if not f.secret and not (use and f.sealed)]
    near = difflib.get_close_matches(name, usable, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(usable)}"
    _refuse(pointer, "unknown_field", f"{schema.table} has no field {name[:64]!r}; {hint}", at)


def _names(text: str, most: int, pointer: str) -> Iterable[str]:
    if not text or text.isspace():
        return ()
    if len(text) > MAX_CHARS:
        _refuse(pointer, "too_long", f"this has {len(text)} characters; at most {MAX_CHARS} are read")
    names = [name.strip() for name in text.split(",")]
    if len(names) > most:
        _refuse(pointer, "too_many", f"this names {len(names)} fields; at most {most} are read")
    if not all(names):
        _refuse(pointer, "syntax", "a field's name is missing beside a comma")
    return names


def _shown(token: _Token) -> str:
    if token.kind == "end":
        return "the end"
    if token.kind == "bad" and token.text in "\"'":
        return f"a {token.text} that is never closed"
    return token.text if len(token.text) <= 40 else token.text[:37] + "…"


def _refuse(pointer: str, code: str, detail: str, at: int | None = None) -> NoReturn:
    where = f"{detail} (position {at})" if at is not None else detail
    raise Invalid(where, faults=(Fault(pointer, code, where),), extra={} if at is None else {"position": at})
