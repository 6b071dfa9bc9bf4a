"""All generated files of the client, by path."""

from __future__ import annotations

from thane.kernel.operations.registry import Bound
from tools.registry import operations
from tools.sdk import problems
from tools.sdk.kinds import Kinds
from tools.sdk.resources import class_name, constants, module, resource_of
from tools.sdk.twin import twin
from tools.written import ROOT, formatted

CLIENT = "src/thane/client"
FOLDERS = (CLIENT,)
MARK = "Made by `just sdk`"
# The part of `_async` that is written by hand and has a made twin. `streams.py` is written twice.
TWINS = ("client", "core", "http", "objects", "pages")
_HEAD = '"""{what}\n\n{mark}; do not edit.\n"""\n\nfrom __future__ import annotations\n\n'


def made() -> dict[str, str]:
    """Path and text of every generated file."""
    files = {f"{CLIENT}/{name}": text for name, text in _files().items()}
    return formatted(files)


def _files() -> dict[str, str]:
    kinds = Kinds()
    resources: dict[str, list[Bound]] = {}
    for bound in sorted(operations(), key=lambda bound: bound.name):
        if bound.path:
            resources.setdefault(resource_of(bound)[0], []).append(bound)
    for resource, bounds in resources.items():
        module(resource, bounds, kinds)  # first, so that every type is known
    files = {
        "_async/resources/__init__.py": _head("Every resource of the API.") + _resources(list(resources))
    }
    for resource, bounds in resources.items():
        title = resource.replace("_", " ").capitalize()
        files[f"ops/{resource}.py"] = _head(f"{title}, as calls need them.") + constants(bounds)
        files[f"_async/resources/{resource}.py"] = _head(f"{title}.") + module(resource, bounds, kinds)
    files["ops/__init__.py"] = _head("The operations of the API, a module for each resource.")
    files |= _types(kinds)
    for home, text in problems.modules().items():
        what = "Every error by its code." if home == "__init__" else f"Errors of {home}."
        files[f"errors/{home}.py"] = _head(what) + text
    for name in TWINS:
        files[f"_sync/{name}.py"] = _twin(
            (ROOT / CLIENT / "_async" / f"{name}.py").read_text(encoding="utf-8")
        )
    for name in [name for name in files if name.startswith("_async/")]:
        files[name.replace("_async/", "_sync/")] = twin(files[name])
    return files


def _head(what: str) -> str:
    return _HEAD.format(what=what, mark=MARK)


def _twin(text: str) -> str:
    """A handwritten module's twin says where it comes from."""
    first, _, rest = twin(text).partition('"""')[2].partition('"""')
    source = f"{MARK} from `_async`; do not edit."
    return f'"""{first.strip()}\n\n{source}\n"""{rest}'


def _types(kinds: Kinds) -> dict[str, str]:
    modules = kinds.modules()
    files = {}
    for home, text in modules.items():
        others = "\n".join(
            f"from thane.client.types.{kinds.home(name)} import {name}"
            for name in kinds.names
            if kinds.home(name) != home
        )
        imports = (
            "from dataclasses import dataclass, field\nfrom datetime import datetime\n"
            "from decimal import Decimal\nfrom typing import Any, Literal, TypeAlias\n\n" + others
        )
        files[f"types/{home}.py"] = (
            _head(f"What answers and requests are made of: {home}.") + imports + "\n\n\n" + text
        )
    lines = [f"from thane.client.types.{kinds.home(name)} import {name}" for name in kinds.names]
    every = ", ".join(map(repr, kinds.names))
    files["types/__init__.py"] = _head("What answers and requests are made of.") + (
        "\n".join(lines) + f"\n\n__all__ = [{every}]\n"
    )
    return files


def _resources(names: list[str]) -> str:
    lines = ["from thane.client._async.core import AsyncCore"]
    lines += [f"from thane.client._async.resources.{name} import Async{class_name(name)}" for name in names]
    lines += ["\n\nclass AsyncResources:", '    """What a client has of the API, by name."""\n']
    lines += ["    def __init__(self, core: AsyncCore) -> None:", "        self._core = core"]
    lines += [f"        self.{name} = Async{class_name(name)}(core)" for name in names]
    return "\n".join(lines) + "\n"
