"""Packages by uv: from wheels made here, without a network, into folders named by their content."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.isolation.jailing import job, run_job
from tests.support.needs import require
from thane.adapters.isolation import IsolationClient
from thane.adapters.uv import UvPackages
from thane.kernel.errors import Invalid, Unavailable
from thane.kernel.ports.isolation import Template, Tier

pytestmark = pytest.mark.anyio


def wheel(folder: Path, name: str, version: str, source: str, needs: str = "") -> None:
    """A wheel of one module. Format: PEP 427."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {needs}\n" if needs else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")


@pytest.fixture
def folder() -> Iterator[Path]:
    require(shutil.which("uv"), "uv", get="pip install uv")
    with tempfile.TemporaryDirectory(prefix="thane-packages-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def packages(folder: Path) -> UvPackages:
    wheels = folder / "wheels"
    wheels.mkdir()
    canary = folder / "ran-on-the-host"
    evil = f"open({str(canary)!r}, 'w').close()\nvalue = 7\n"
    wheel(wheels, "outer", "1.0", "import inner\nvalue = inner.value", needs="inner>=2")
    wheel(wheels, "inner", "1.0", "value = 1")
    wheel(wheels, "inner", "2.5", "value = 25")
    wheel(wheels, "evil", "1.0", evil)
    return UvPackages(folder / "installed", wheels=wheels)


async def test_what_is_needed_is_installed_and_the_same_is_one_folder(
    packages: UvPackages, folder: Path
) -> None:
    made = await packages.install(("outer",))
    assert (made / "outer.py").exists()
    assert (made / "inner.py").read_text() == "value = 25"
    assert list((made / "__pycache__").glob("outer.*.pyc")), "byte code is there: jails cannot write it"
    same = await asyncio.gather(*(packages.install(("outer", "outer")) for _ in range(3)))
    assert {made} == set(same)
    assert await packages.install(("outer", "inner==2.5")) == made, "it resolves to the same"
    assert await packages.install(("inner<2",)) != made
    assert len(list((folder / "installed").iterdir())) == 2, "nothing half made is left"


async def test_nothing_runs_on_the_host_and_jails_import_it(
    packages: UvPackages, folder: Path, client: IsolationClient, tier: Tier
) -> None:
    made = await packages.install(("evil",))
    assert not (folder / "ran-on-the-host").exists()
    if tier in (Tier.T1, Tier.T3):
        return  # they have no templates
    code = "try:\n import evil\nexcept OSError as error: print(type(error).__name__)"
    result = await run_job(client, job(code, template=Template(packages=made, imports=("evil",))))
    assert result.stdout == b"FileNotFoundError\n", "there is no such folder in the jail"
    assert not (folder / "ran-on-the-host").exists()


async def test_what_cannot_be_had_is_told(packages: UvPackages, folder: Path) -> None:
    with pytest.raises(Invalid, match="nowhere"):
        await packages.install(("nowhere-to-be-found",))
    with pytest.raises(Invalid, match="inner"):
        await packages.install(("outer", "inner<2"))
    assert not (folder / "installed").exists()


@pytest.mark.parametrize(
    "requirement",
    [
        "",
        "--index-url=http://x",
        "-r /etc/passwd",
        "evil @ file:///etc/evil.whl",
        "./folder",
        "a\nb",
        "a; python_version > '3'",
        "git+https://x/y",
        "a ==",
    ],
)
async def test_nothing_but_names_and_versions_is_taken(packages: UvPackages, requirement: str) -> None:
    with pytest.raises(Invalid, match="not a package's name"):
        await packages.install((requirement,))


async def test_the_number_of_requirements_is_bounded(packages: UvPackages) -> None:
    for requirements in ((), ("a",) * 257):
        with pytest.raises(Invalid, match="requirements"):
            await packages.install(requirements)


async def test_without_uv_it_says_what_to_do(packages: UvPackages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable, match="uv"):
        await packages.install(("outer",))
