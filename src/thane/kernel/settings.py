"""Where settings come from: built-in defaults, one TOML file, the environment, the command line.

The later wins. Every value remembers its origin, so that `thane config check` can explain
it. All faults are reported at once, each with its key, where it was written and what is
expected there; a key that is not known is a fault. What may be set is in
`settings_schema.py`. Nothing here connects to anything or prints a secret.

In the environment `database.max_connections` is `THANE_DATABASE_MAX_CONNECTIONS`; a
variable that is set to nothing counts as not set. Lists are separated by commas, tables
are JSON. The seeds' `DATABASE_URL` is accepted, and `DATABASE_HOST` with `DATABASE_PORT`,
`_USER`, `_PASS`, `_NS` and `_DB`, which make up a `surrealdb://` URL.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from thane.kernel.errors import Fault, SettingsError
from thane.kernel.settings_check import convert, cross_faults, expected
from thane.kernel.settings_schema import MASK, MOVED, SECTIONS, SETTINGS, Secret, Settings, masked

# Variables of the THANE_ family that are no settings: each is read where it is used.
RESERVED = ("THANE_CONFIG", "THANE_DATA", "THANE_URL", "THANE_API_KEY")
RESERVED_PREFIXES = ("THANE_TEST_",)
# A Kubernetes service called "thane" puts these into every pod; they are not meant for us.
_KUBERNETES = re.compile(r"THANE_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_\w+)\Z")
_VARIABLE = re.compile(
    r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{"
)
_FORMER = {key.split(".", 1)[0] for key in MOVED}  # sections of old files; their keys get a hint each
DEFAULT_ORIGIN = "default"
COMMAND_LINE = "command line"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """One value as somebody wrote it. `text`: it is text that stands for its type, as in the environment."""

    key: str
    raw: Any
    origin: str
    text: bool = False


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `thane config check`."""

    key: str
    value_masked: Any
    default: Any
    origin: str
    description: str


class Loaded:
    """The settings and where each came from."""

    def __init__(self, settings: Settings, origins: Mapping[str, str]) -> None:
        self.settings = settings
        self._origins = dict(origins)

    def __repr__(self) -> str:
        return f"Loaded({self.settings!r})"

    def origin(self, key: str) -> str:
        """Where the value of `section.name` came from."""
        return self._origins.get(key, DEFAULT_ORIGIN)

    def explain(self) -> list[Explained]:
        """Every key in the order of its declaration, with its value (secrets masked), origin and meaning."""
        return [
            Explained(
                key=key,
                value_masked=masked(_value(self.settings, key)),
                default=masked(setting.default),
                origin=self.origin(key),
                description=setting.description,
            )
            for key, setting in SETTINGS.items()
        ]

    def secrets(self) -> tuple[str, ...]:
        """Every text that must not appear in a log or a message: secrets, and URLs that hold a password."""
        found: list[str] = []
        for key in SETTINGS:
            value = _value(self.settings, key)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Secret) and item:
                    found.append(item.reveal())
                elif isinstance(item, str) and masked(item) != item:
                    found.append(item)
        return tuple(found)


def load(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read all sources. SettingsError, with one fault for each thing that is wrong.

    Without `config_file`, THANE_CONFIG of `environ` names the file. `overrides` maps
    `section.name` to a value or its text; None there means that it was not given.
    """
    environ = {} if environ is None else environ
    faults: list[Fault] = []
    path = config_file if config_file is not None else find_config(None, environ)
    in_file = list(_from_file(path, environ, faults)) if path is not None else []
    in_environ = list(_from_environ(environ, in_file, faults))
    in_command = list(_from_overrides(overrides or {}, faults))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for given in (*in_file, *in_environ, *in_command):
        try:
            values[given.key] = convert(SETTINGS[given.key], given.raw, text=given.text)
        except ValueError as error:
            faults.append(_wrong(given, str(error)))
        else:
            origins[given.key] = given.origin
    settings = _build(values)
    if not faults:
        faults += cross_faults(settings, lambda key: origins.get(key, DEFAULT_ORIGIN))
    if faults:
        raise _error(faults)
    return Loaded(settings, origins)


def find_config(option: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file that `--config` or THANE_CONFIG names; a bare word such as `x` is `config/x.toml`."""
    named = option or environ.get("THANE_CONFIG") or None
    if named is None:
        return None
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", named) is not None
    return Path("config", f"{named}.toml") if bare else Path(named)


def _value(settings: Settings, key: str) -> Any:
    section, name = key.split(".", 1)
    return getattr(getattr(settings, section), name)


def _build(values: Mapping[str, Any]) -> Settings:
    sections: dict[str, Any] = {}
    for name in SECTIONS:
        given = {key.split(".", 1)[1]: value for key, value in values.items() if key.startswith(name + ".")}
        default = getattr(Settings(), name)
        sections[name] = msgspec.structs.replace(default, **given) if given else default
    return Settings(**sections)


def _error(faults: list[Fault]) -> SettingsError:
    more = f" (and {len(faults) - 1} more, below)" if len(faults) > 1 else ""
    return SettingsError(faults[0].detail + more, faults=tuple(faults))


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1").replace(".", "/")


def _wrong(given: Given, reason: str) -> Fault:
    setting = SETTINGS[given.key]
    shown = MASK if isinstance(setting.default, Secret) else masked(given.raw)
    wanted = expected(setting.type)
    why = f" ({reason})" if reason else ""
    return Fault(
        _pointer(given.key),
        "wrong_value",
        f"{given.key} in {given.origin}: expected {wanted}, got {_show(shown)}{why}",
    )


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 80 else f'"{value[:77]}…"'
    return str(value) if isinstance(value, int | Decimal) else f"a {type(value).__name__}"


def _unknown(key: str, origin: str, name: str | None = None) -> Fault:
    """`name` is how it was written, where that is not `section.key`."""
    shown = name or key
    if key in MOVED:
        return Fault(_pointer(key), "moved", f"{shown} in {origin} is no setting of Thane: {MOVED[key]}")
    section, _, rest = key.partition(".")
    if section not in SECTIONS and not rest:
        near = difflib.get_close_matches(section, SECTIONS, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; sections are {', '.join(SECTIONS)}"
        return Fault(_pointer(key), "unknown", f"unknown section {shown} in {origin}{hint}")
    names = [s.name for s in SETTINGS.values() if s.section == section]
    within = [f"{section}.{n}" for n in difflib.get_close_matches(rest, names, 1, 0.5)]
    near = within or difflib.get_close_matches(key, SETTINGS, 1, 0.75)
    hint = f"; {section} has {', '.join(names)}" if names else f"; sections are {', '.join(SECTIONS)}"
    if near:
        hint = f"; did you mean {SETTINGS[near[0]].env if name else near[0]}?"
    return Fault(_pointer(key), "unknown", f"unknown setting {shown} in {origin}{hint}")


# -- the file ------------------------------------------------------------------------


def _from_file(path: Path, environ: Mapping[str, str], faults: list[Fault]) -> Iterator[Given]:
    origin = path.as_posix()
    for section, table in _read(path).items():
        if section not in SECTIONS and not (isinstance(table, dict) and section in _FORMER):
            faults.append(_unknown(section, origin))
        elif not isinstance(table, dict):
            detail = f"{section} in {origin}: expected a section, written [{section}], got {_show(table)}"
            faults.append(Fault(_pointer(section), "wrong_value", detail))
        else:
            for name, raw in table.items():
                yield from _from_line(f"{section}.{name}", raw, origin, environ, faults)


def _from_line(
    key: str, raw: Any, origin: str, environ: Mapping[str, str], faults: list[Fault]
) -> Iterator[Given]:
    if key not in SETTINGS:
        faults.append(_unknown(key, origin))
        return
    try:
        value = _expand(raw, environ)
    except ValueError as error:
        faults.append(Fault(_pointer(key), "missing_variable", f"{key} in {origin}: {error}"))
        return
    # A value that came out of ${…} is text whatever it stands for, so `port = "${PORT}"` may be a number.
    yield Given(key=key, raw=value, origin=origin, text=isinstance(value, str) and value != raw)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise SettingsError(
            f"the settings file {path} does not exist",
            hint="Correct --config or THANE_CONFIG, or leave both out for the built-in defaults.",
        ) from error
    except OSError as error:
        raise SettingsError(
            f"the settings file {path} cannot be read: {error.strerror}",
            hint="Check that it is a file and that this user may read it.",
        ) from error
    try:
        return tomllib.loads(content.decode(), parse_float=Decimal)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 (byte {error.start})", hint="Save it as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not TOML: {error}", hint="Correct the line named here.") from error


def _expand(raw: Any, environ: Mapping[str, str]) -> Any:
    """Replace `${VAR}` and `${VAR:-default}` in every string, `$${` by `${`; ValueError if one is missing."""
    if isinstance(raw, list):
        return [_expand(item, environ) for item in raw]
    if isinstance(raw, dict):
        return {name: _expand(item, environ) for name, item in raw.items()}
    if not isinstance(raw, str) or "${" not in raw:
        return raw

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            raise ValueError(
                "a ${ that is not ${NAME} or ${NAME:-default}; write $${ for the characters themselves"
            )
        found = environ.get(name)
        if default is not None and not found:
            return str(default)
        if found is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it or write ${{{name}:-default}}"
            )
        return found

    return _VARIABLE.sub(value, raw)


# -- the environment and the command line --------------------------------------------


def _from_environ(environ: Mapping[str, str], in_file: list[Given], faults: list[Fault]) -> Iterator[Given]:
    by_variable = {setting.env: key for key, setting in SETTINGS.items()}
    for name in sorted(environ):
        if not name.startswith("THANE_") or not environ[name] or name in RESERVED:
            continue
        if name in by_variable:
            if name != "THANE_DATABASE_URL":
                yield Given(key=by_variable[name], raw=environ[name], origin=f"environment {name}", text=True)
        elif not name.startswith(RESERVED_PREFIXES) and not _KUBERNETES.match(name):
            faults.append(_unknown(_key_of(name), "the environment", name))
    yield from _store(environ, in_file, faults)


def _key_of(variable: str) -> str:
    section, _, rest = variable.removeprefix("THANE_").lower().partition("_")
    return f"{section}.{rest}" if rest else section


def _store(environ: Mapping[str, str], in_file: list[Given], faults: list[Fault]) -> Iterator[Given]:
    """The main store that the environment names. Two at once are a fault that names both.

    THANE_DATABASE_URL is plainly meant for us and overrides the file. The aliases are
    common names that another program's settings may have left behind, so they must not
    contradict the file.
    """
    named = [
        Given(key="database.url", raw=environ[name], origin=f"environment {name}", text=True)
        for name in ("THANE_DATABASE_URL", "DATABASE_URL")
        if environ.get(name)
    ]
    if environ.get("DATABASE_HOST"):
        named.append(
            Given(key="database.url", raw=_compose(environ), origin="environment DATABASE_HOST", text=True)
        )
    in_files = [given for given in in_file if given.key == "database.url" and given.raw]
    aliases_only = bool(named) and named[0].origin != "environment THANE_DATABASE_URL"
    rivals = [*in_files, *named] if aliases_only else named
    if len({given.raw for given in rivals}) > 1:
        first, second = rivals[0], next(given for given in rivals if given.raw != rivals[0].raw)
        faults.append(
            Fault(
                "/database/url",
                "two_stores",
                f"two main stores are named: {_where(first)} says {masked(first.raw)} and "
                f"{_where(second)} says {masked(second.raw)}; keep one",
            )
        )
    elif named:
        yield named[0]


def _where(given: Given) -> str:
    return given.origin.removeprefix("environment ") if given.text else f"{given.key} in {given.origin}"


def _compose(environ: Mapping[str, str]) -> str:
    def part(name: str, default: str = "") -> str:
        return quote(environ.get(name) or default, safe="")

    user, password = part("DATABASE_USER"), part("DATABASE_PASS")
    credentials = f"{user}:{password}@" if user or password else ""
    place = f"{environ['DATABASE_HOST']}:{part('DATABASE_PORT', '8000')}"
    return f"surrealdb://{credentials}{place}/{part('DATABASE_NS', 'thane')}/{part('DATABASE_DB', 'main')}"


def _from_overrides(overrides: Mapping[str, Any], faults: list[Fault]) -> Iterator[Given]:
    for key, raw in overrides.items():
        if raw is None:
            continue
        if key in SETTINGS:
            yield Given(key=key, raw=raw, origin=COMMAND_LINE, text=isinstance(raw, str))
        else:
            faults.append(_unknown(key, f"the {COMMAND_LINE}"))
