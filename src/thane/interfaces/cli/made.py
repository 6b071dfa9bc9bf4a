"""Commands made from the registry: an operation's path and required fields are arguments, the rest options.

One command for each operation of a domain that has no command written for people. What the
operation does is not known here; what it answers is printed as lines, as a table, or as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import types
import typing
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import msgspec

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import USAGE, body_of, note, print_json, refuse, table
from thane.interfaces.cli.tables import Column, plain
from thane.interfaces.local import Answer
from thane.kernel.operations.declare import description_of
from thane.kernel.operations.registry import Bound, Operations

COLUMNS = 6  # of a table for people; `--json` has all
_UNSET: Any = None


def group(name: str, targets: Iterable[Any], help: str) -> click.Group:
    """A group with a command for each of these operations that can be asked for from outside."""
    operations = Operations()
    operations.bind(None, *targets)
    made = click.Group(name, help=help)
    for bound in operations:
        if bound.path and not bound.streams and bound.name.startswith(name.replace("-", "_") + "."):
            made.add_command(command(bound))
    return made


def command(bound: Bound) -> click.Command:
    """The command of one operation."""
    params: list[click.Parameter] = []
    for field in bound.fields:
        needed = field in bound.path_params or field in bound.required
        params.append(_argument(field) if needed and field != bound.takes else _option(bound, field))
    params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print the whole answer as JSON."))
    if bound.gives:
        params.append(click.Option(["--out", "out"], type=click.Path(path_type=Path), help="Write it here."))

    def run(
        data: str | None, config: str | None, as_json: bool, out: Path | None = None, **given: Any
    ) -> None:
        ctx = click.get_current_context()
        answer = _asked(ctx, bound, data, config, {k: v for k, v in given.items() if v is not _UNSET})
        body = body_of(answer)
        if bound.gives and not as_json:
            _write(body, out)
        elif as_json:
            print_json({bound.gives: base64.b64encode(body).decode()} if bound.gives else body)
        else:
            show(body)
        status = body.get("status") if isinstance(body, dict) and "output" in body else None
        if status not in (None, "completed"):
            sys.exit(1)

    verb = bound.name.partition(".")[2].replace("_", "-")
    text = f"{bound.summary}\n\n{bound.description}".strip()
    return data_option(click.Command(verb, params=params, callback=run, help=text))  # type: ignore[no-any-return]


# -- what is given --------------------------------------------------------------------------


def _argument(field: str) -> click.Argument:
    return click.Argument([field])


def _option(bound: Bound, field: str) -> click.Option:
    dashes = f"--{field.replace('_', '-')}"
    kind = bound.fields[field].type
    if field == bound.takes:
        path = click.Path(path_type=Path, allow_dash=True)
        return click.Option(
            [dashes, field], type=path, required=True, help="The file; - reads standard input."
        )
    return click.Option([dashes, field], type=_click_type(_bare(kind)), help=_help(kind))


def _bare(kind: Any) -> Any:
    """A type without its annotations and without None."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(kind) if part is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else kind
    return kind


def _click_type(kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        return click.Choice(list(typing.get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return click.Choice([word.value for word in kind])
    return {int: int, bool: bool}.get(kind, str)


def _help(kind: Any) -> str:
    text = description_of(kind)
    return f"{text} (JSON)".strip() if _is_json(_bare(kind)) else text


def _is_json(kind: Any) -> bool:
    """Whether it is given as JSON: objects and lists."""
    plain = (str, int, bool, bytes, Decimal)
    if typing.get_origin(kind) is typing.Literal:
        return False
    return not (kind in plain or (isinstance(kind, type) and issubclass(kind, Enum)))


def _value(bound: Bound, field: str, given: Any) -> Any:
    kind = _bare(bound.fields[field].type)
    if kind is bytes:
        return base64.b64encode(given.encode()).decode()
    if not _is_json(kind) or not isinstance(given, str):
        return given
    try:
        return msgspec.json.decode(given)
    except msgspec.DecodeError as fault:
        refuse(f"{field} is no JSON: {fault}", f"Such as: --{field.replace('_', '-')} '{{}}'", USAGE)


# -- the request ----------------------------------------------------------------------------


def _asked(
    ctx: click.Context, bound: Bound, data: str | None, config: str | None, given: dict[str, Any]
) -> Answer:
    path = bound.path
    for name in bound.path_params:
        path = path.replace(f"{{{name}}}", quote(given.pop(name), safe=""))
    body: Any = None
    if bound.takes:
        body = _content(given.pop(bound.takes))
    values = {name: _value(bound, name, value) for name, value in given.items()}
    if bound.has_body and not bound.takes:
        body = values
    elif values:
        path += "?" + urlencode(values)
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})

    async def work() -> Answer:
        async with launcher.calling(launcher.data(data), loaded) as caller:
            return await caller.call(bound.method, f"/api/v1{path}", body)

    return asyncio.run(work())


def _content(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as fault:
        refuse(f"{path} cannot be read: {fault.strerror}", "Give the path of a file, or - .", USAGE)


# -- the answer -----------------------------------------------------------------------------


def _write(content: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(content)
    except OSError as fault:
        refuse(f"{out} cannot be written: {fault.strerror}", "Give --out a path that you may write.", USAGE)
    note(f"{out}: {len(content)} bytes")


def show(body: Any) -> None:
    """An answer for people."""
    if isinstance(body, dict) and isinstance(body.get("output"), dict):
        _show_program(body)
    elif isinstance(body, dict) and isinstance(body.get("items"), list):
        _show_rows(body["items"])
    elif isinstance(body, dict):
        for name, value in body.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                click.echo(f"{name}:")
                _show_rows(value)
            else:
                click.echo(plain(f"{name}: {_cell(value)}"))


def _show_program(body: dict[str, Any]) -> None:
    click.echo(body["output"]["stdout"], nl=False)
    click.echo(body["output"]["stderr"], nl=False, err=True)
    error = body.get("error")
    why = "" if error is None else f": {error['error_type']}: {error['message']}"
    note(f"thane: {body['id']} {body['status']}{why}")


def _show_rows(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    names = [n for n, v in rows[0].items() if not isinstance(v, dict | list)]
    names = [n for n in names if n not in ("tenant_id", "project_id", "user_id", "version")][:COLUMNS]
    table([[_cell(row.get(n)) for n in names] for row in rows], [_column(n) for n in names])


def _column(name: str) -> Column:
    """A row's own id is to be copied, those of others may be shortened, and times go first."""
    head = name.upper()
    if name == "id":
        return Column(head)
    if name.endswith("_id"):
        return Column(head, "middle")
    return Column(head, "drop") if name.endswith("_at") else Column(head, "wrap")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
