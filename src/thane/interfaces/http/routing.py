"""From a path to an operation: dicts for fixed paths and for a last segment that varies, else a tree."""

from __future__ import annotations

from thane.kernel.errors import NotFound
from thane.kernel.operations.registry import Bound, Operations

Methods = dict[str, Bound]


class _Node:
    __slots__ = ("fixed", "methods", "parameter")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.methods: Methods = {}


class Router:
    """Built once. A fixed segment wins over a parameter, whatever the order of declaration."""

    def __init__(self, operations: Operations, base: str) -> None:
        self._static: dict[str, Methods] = {}
        # By all but the last segment, of paths whose one parameter is the last. A fixed way to it wins
        # in the tree too, so this only saves the walk.
        self._last: dict[str, Methods] = {}
        self._root = _Node()
        for bound in operations:
            if bound.path:
                self._add(bound, base)

    def find(self, path: str) -> tuple[Methods, tuple[str, ...]]:
        """The operations of a path by method, and the values of its parameters in order; NotFound."""
        static = self._static.get(path)
        if static is not None:
            return static, ()
        head, _, last = path.rpartition("/")
        methods = self._last.get(head)
        if methods is not None and last:
            return methods, (last,)
        values: list[str] = []
        node = self._walk(self._root, path.split("/"), 0, values)
        if node is None:
            raise NotFound(f"there is nothing at {path}", hint="`/openapi.json` lists every path.")
        return node.methods, tuple(values)

    def _add(self, bound: Bound, base: str) -> None:
        path = base + bound.path
        if not bound.path_params:
            self._static.setdefault(path, {})[bound.method] = bound
            return
        node = self._root
        for segment in path.split("/"):
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.methods[bound.method] = bound
        head, _, last = path.rpartition("/")
        if "{" not in head and last.startswith("{"):
            self._last[head] = node.methods

    def _walk(self, node: _Node, segments: list[str], at: int, values: list[str]) -> _Node | None:
        if at == len(segments):
            return node if node.methods else None
        segment = segments[at]
        fixed = node.fixed.get(segment)
        if fixed is not None:
            found = self._walk(fixed, segments, at + 1, values)
            if found is not None:
                return found
        if node.parameter is None or not segment:
            return None
        values.append(segment)
        found = self._walk(node.parameter, segments, at + 1, values)
        if found is None:
            values.pop()
        return found


def allowed(methods: Methods) -> str:
    """The header `Allow`."""
    names = set(methods) | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return ", ".join(sorted(names))
