"""The server's errors as exceptions of the client."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import thane
from thane.kernel.errors import ThaneError, tree
from tools.sdk.kinds import docstring, home_of

_KNOWN = '''
_KNOWN: dict[str, type[ApiError]] = {cls.code: cls for cls in (%s)}


def error_of(
    status: int, problem: Mapping[str, Any], request_id: str = "", retry_after: float | None = None
) -> ApiError:
    """A problem as the exception of its code."""
    kind = _KNOWN.get(str(problem.get("code") or ""), ApiError)
    return kind(status, problem, request_id, retry_after)
'''
# What is run and not imported.
PROGRAMS = ("thane.__main__", "thane.isolation")
BASES = (
    "ApiError",
    "ConnectionLost",
    "Fault",
    "HungUp",
    "ProgramFailed",
    "SecretLost",
    "ThaneError",
    "TimedOut",
    "UnexpectedAnswer",
    "Unreached",
)


def classes() -> list[type[ThaneError]]:
    """Every error of the program, each after the one that it is a kind of.

    Everything is imported first, so that it does not matter what was before.
    """
    for module in pkgutil.walk_packages(thane.__path__, "thane."):
        if not module.name.startswith(PROGRAMS):
            importlib.import_module(module.name)
    found = [cls for cls in tree().values() if cls.__module__.startswith("thane.")]
    return sorted(found, key=lambda cls: (len(cls.__mro__), cls.code))


def name_of(cls: type[ThaneError]) -> str:
    """Its name in the client."""
    return "InternalError" if cls is ThaneError else cls.__name__


def modules() -> dict[str, str]:
    """The text of each module of `thane.client.errors`, without its first lines."""
    made: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for cls in classes():
        name, home = name_of(cls), home_of(cls)
        if names.setdefault(name, home) != home or name in BASES:
            raise TypeError(f"two errors are called {name}")
        made.setdefault(home, []).append(_class(cls, name))
    texts = {}
    for home, parts in made.items():
        body = "\n\n".join(parts)
        inner = (
            [n for n, h in names.items() if h == "common" and f"({n})" in body] if home != "common" else []
        )
        wanted = "".join(f"from thane.client.errors.common import {n}\n" for n in inner)
        texts[home] = f"from thane.client.problem import ApiError\n{wanted}\n\n{body}"
    lines = [f"from thane.client.errors.{home} import {name}" for name, home in names.items()]
    every = ", ".join(map(repr, sorted((*names, *BASES, "error_of"))))
    texts["__init__"] = "\n".join(
        [
            "from collections.abc import Mapping\nfrom typing import Any\n",
            *lines,
            f"from thane.client.problem import {', '.join(BASES)}",
            f"\n__all__ = [{every}]\n",
            _KNOWN % ", ".join(names),
        ]
    )
    return texts


def _class(cls: type[ThaneError], name: str) -> str:
    base = cls.__mro__[1]
    above = "ApiError" if cls is ThaneError or base is ThaneError else name_of(base)
    own = vars(cls).get("__doc__")
    if cls is ThaneError:
        own = "Something went wrong in Thane; its log has the request."
    text = inspect.cleandoc(own or f"{cls.title}.").partition("\n\n")[0]
    return f'class {name}({above}):\n{docstring(text, 4)}\n\n    code = "{cls.code}"\n'
