"""Import contracts of our own, for what import-linter has no contract type for.

`.importlinter` names them and says what they apply to. Each looks only at the import
graph; it imports nothing of the project.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import grimp
from importlinter import Contract, ContractCheck, fields, output


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _top(module: str) -> str:
    return module.partition(".")[0]


class _EdgeContract(Contract):
    """A contract that judges imports one by one; `_breaches` says what is wrong with each."""

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:
        breaches = sorted(set(self._breaches(graph)))
        return ContractCheck(kept=not breaches, metadata={"breaches": breaches})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for breach in check.metadata["breaches"]:
            output.print_error(breach, bold=False)
        output.new_line()

    def _breaches(self, graph: grimp.ImportGraph) -> list[str]:
        raise NotImplementedError

    def _setting(self, name: str) -> Any:
        return getattr(self, name)

    def _names(self, setting: str) -> list[str]:
        return sorted(cast("set[str] | None", self._setting(setting)) or ())

    @staticmethod
    def _edges(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
        return [
            (importer, imported)
            for importer in sorted(graph.modules)
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
        ]


class DomainDoors(_EdgeContract):
    """A domain is entered by its package, and from outside the domains also by its manifest.

    `container` holds the domains; `open_to_hosts` are the inner modules that whoever is
    no domain (bootstrap, interfaces, maintenance) may import as well. The door collects
    what is inside, so what is inside may not import the door.
    """

    container = fields.ModuleField()
    open_to_hosts = fields.SetField(subfield=fields.StringField(), required=False)

    def _breaches(self, graph: grimp.ImportGraph) -> list[str]:
        root: str = self._setting("container").name
        open_to_hosts = self._names("open_to_hosts")
        found = []
        for importer, imported in self._edges(graph):
            if not imported.startswith(root + "."):
                continue
            domain, _, inner = imported[len(root) + 1 :].partition(".")
            home = f"{root}.{domain}"
            if not inner:
                if importer.startswith(home + "."):
                    found.append(f"{importer} -> {imported}: a module imports the door of its own domain")
                continue
            host = not _within(importer, root)
            if not _within(importer, home) and not (host and inner in open_to_hosts):
                found.append(f"{importer} -> {imported}: enter the domain by its package, {home}")
        return found


class StandsAlone(_EdgeContract):
    """A package that could be copied out of the project and would still work.

    It imports the standard library, itself and the packages in `may_use`; of the project
    only `importers` import it (nobody, if it is started by exec).
    """

    package = fields.ModuleField()
    may_use = fields.SetField(subfield=fields.StringField(), required=False)
    importers = fields.SetField(subfield=fields.StringField(), required=False)

    def _breaches(self, graph: grimp.ImportGraph) -> list[str]:
        package: str = self._setting("package").name
        may_use = set(self._names("may_use"))
        importers = self._names("importers")
        found = []
        for importer, imported in self._edges(graph):
            inside, target_inside = _within(importer, package), _within(imported, package)
            if inside and not target_inside:
                allowed = _top(imported) in sys.stdlib_module_names or _top(imported) in may_use
                if not allowed:
                    found.append(f"{importer} -> {imported}: {package} stands alone")
            elif target_inside and not inside and not any(_within(importer, who) for who in importers):
                found.append(f"{importer} -> {imported}: {package} is not for importing")
        return found


class DriverHomes(_EdgeContract):
    """What talks to the outside is imported only where it belongs.

    Each line of `homes` is `driver, driver = package, package`: the drivers on the left
    are imported directly by the packages on the right and by nothing else.
    """

    homes = fields.ListField(subfield=fields.StringField())

    def _breaches(self, graph: grimp.ImportGraph) -> list[str]:
        allowed: dict[str, list[str]] = {}
        for line in cast("list[str]", self._setting("homes")):
            drivers, equals, packages = line.partition("=")
            if not equals:
                raise ValueError(f"`homes` wants lines `driver = package, package`, not {line!r}")
            for driver in drivers.split(","):
                allowed[driver.strip()] = [name.strip() for name in packages.split(",")]
        return [
            f"{importer} -> {imported}: only {', '.join(allowed[imported])} may import {imported}"
            for importer, imported in self._edges(graph)
            if imported in allowed and not any(_within(importer, home) for home in allowed[imported])
        ]
