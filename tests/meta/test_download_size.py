"""A newcomer's two commands download little: the default group's wheels, summed from uv.lock."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]
LIMIT_MB = 60
# What the build of the project itself downloads (hatchling and its four dependencies), which
# is not in uv.lock: measured 0.6 MB.
BUILD_MB = 1.0

_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)] + [
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
]
_TAGS: dict[Tag, int] = {
    tag: rank
    for rank, tag in enumerate(
        [
            *cpython_tags((3, 11), ["cp311"], _PLATFORMS),
            *compatible_tags((3, 11), "cp311", _PLATFORMS),
        ]
    )
}
_ENVIRONMENT = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}

Package = dict[str, Any]


def _applies(dependency: Package) -> bool:
    marker = dependency.get("marker")
    return marker is None or Marker(marker).evaluate(_ENVIRONMENT)


def _needed(packages: dict[str, Package], group: str) -> set[str]:
    """Names of everything that the project and one dependency group bring, the project left out."""
    project = packages["thane"]
    waiting = [*project.get("dependencies", []), *project["dev-dependencies"][group]]
    needed: set[str] = set()
    while waiting:
        dependency = waiting.pop()
        name = dependency["name"]
        if not _applies(dependency):
            continue
        extras = dependency.get("extra", [])
        for extra in extras:
            waiting += packages[name]["optional-dependencies"][extra]
        if name not in needed:
            needed.add(name)
            waiting += packages[name].get("dependencies", [])
    return needed


def _wheel_bytes(package: Package) -> int:
    """Size of the wheel that an installer takes on Linux x86-64 with CPython 3.11."""
    fitting: list[tuple[int, int]] = []
    for wheel in package.get("wheels", []):
        tags = parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
        ranks = [_TAGS[tag] for tag in tags if tag in _TAGS]
        if ranks:
            fitting.append((min(ranks), wheel["size"]))
    assert fitting, (
        f"{package['name']} has no wheel for Linux x86-64 and CPython 3.11: a newcomer has no compiler"
    )
    return min(fitting)[1]


def _read_lock() -> dict[str, Package]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    packages: dict[str, Package] = {}
    for package in lock["package"]:
        assert package["name"] not in packages, (
            f"{package['name']} is locked in two versions: choose by marker here"
        )
        packages[package["name"]] = package
    return packages


def test_the_default_group_downloads_at_most_60_mb() -> None:
    packages = _read_lock()
    sizes = {name: _wheel_bytes(packages[name]) / 1e6 for name in _needed(packages, "dev")}
    table = "\n".join(f"{size:7.2f} MB  {name}" for name, size in sorted(sizes.items(), key=lambda s: -s[1]))
    total = sum(sizes.values()) + BUILD_MB
    print(f"{table}\n{total:7.2f} MB  in all")
    assert "apsw" in sizes, "the closure was not followed"
    assert "pytest" in sizes, "the group was not followed"
    assert "ruff" not in sizes, "lint tools are not for newcomers"
    assert total <= LIMIT_MB, f"{total:.1f} MB is more than {LIMIT_MB} MB:\n{table}"


def test_the_default_group_is_the_one_measured() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["default-groups"] == ["dev"]
