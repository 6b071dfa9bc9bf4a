"""`just fresh`: the README's two commands, typed by a newcomer on a Debian 12 that has never seen Thane.

Three newcomers, each in a Debian folder of its own (debootstrap; entered by `enter.sh`):

    root     sees tier T2
    user     an ordinary user: T2-, or T2 where a cgroup is delegated
    denied   an ordinary user for whom the kernel refuses new namespaces: T1

Each installs uv as the README says, clones the project and types the commands. Run it as
root, with any Python from 3.11 on; it needs debootstrap and git, and nothing of the project.
The Debian without the project is kept in the cache folder ($XDG_CACHE_HOME/thane/fresh).
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path.insert(0, str(PROJECT))

from tests.support.readme import README, two_commands  # noqa: E402

SUITE = "bookworm"
# What `apt install git pipx` brings to a minimal Debian.
PACKAGES = ("ca-certificates", "git", "pipx", "python3", "python3-venv")
INSTALL_UV = "pipx install uv"
USER_ID = 1000

_TIER = re.compile(r"(?<![\w.-])(T[0-3]-?)(?![\w.-])")


@dataclass(frozen=True)
class Newcomer:
    """Who types the commands, and which isolation tiers they must see."""

    name: str
    user_id: int
    home: str
    tiers: frozenset[str]
    wrapper: tuple[str, ...] = ()


NEWCOMERS = (
    Newcomer("root", 0, "/root", frozenset({"T2"})),
    Newcomer("user", USER_ID, "/home/newcomer", frozenset({"T2-", "T2"})),
    Newcomer(
        "denied",
        USER_ID,
        "/home/newcomer",
        frozenset({"T1"}),
        ("python3", "/opt/fresh/deny_namespaces.py"),
    ),
)


class Failed(Exception):
    """A newcomer would have been let down. The message says where."""


# -- the Debian ------------------------------------------------------------------------


def find_mirror() -> str:
    """The Debian mirror that this machine's own apt uses for the suite."""
    listed = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for path in listed:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", text):
                keys = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
                if "deb" in keys.get("Types", "").split() and SUITE in keys.get("Suites", "").split():
                    return str(keys["URIs"].split()[0])
        else:
            found = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{SUITE}\s", text, re.MULTILINE)
            if found:
                return found[1]
    raise Failed(f"apt's sources name no mirror that has Debian {SUITE}; give one with --mirror")


def base_tarball(mirror: str | None) -> Path:
    """The tar file of a minimal Debian with `PACKAGES`, made on first use."""
    if shutil.which("debootstrap") is None:
        raise Failed("debootstrap is missing: sudo apt install debootstrap")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thane" / "fresh"
    tarball = cache / f"{SUITE}-{'+'.join(PACKAGES)}.tar"
    if tarball.exists():
        return tarball
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch, timed("debootstrap, kept for next time"):
        root, log = Path(scratch) / "root", Path(scratch) / "log"
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        with log.open("wb") as output:
            done = subprocess.run(
                [*command, SUITE, str(root), mirror or find_mirror()],
                check=False,
                stdout=output,
                stderr=output,
            )
        if done.returncode:
            raise Failed(f"debootstrap failed:\n{log.read_text(errors='replace')[-2000:]}")
        shutil.rmtree(root / "var/cache/apt/archives")
        unfinished = Path(scratch) / "base.tar"
        subprocess.run(["tar", "-C", str(root), "--numeric-owner", "-cf", str(unfinished), "."], check=True)
        unfinished.rename(tarball)
    return tarball


def pack_project(folder: Path, *, working_tree: bool) -> None:
    """Writes `thane.bundle` into `folder`: what is committed, or the files as they lie here."""
    bundle = folder / "thane.bundle"
    git = ["git", "-C", str(PROJECT)]
    if not working_tree:
        committed = subprocess.run([*git, "rev-parse", "--quiet", "--verify", "HEAD"], check=False)
        if committed.returncode:
            raise Failed("nothing is committed: commit, or give --working-tree")
        subprocess.run([*git, "bundle", "create", "--quiet", str(bundle), "HEAD"], check=True)
        return
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout
    copy = folder / "copy"
    for name in filter(None, listed.decode().split("\0")):
        if (PROJECT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, copy / name)
    identity = ["-c", "user.name=fresh", "-c", "user.email=fresh@localhost"]
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all", "--force"],
        [*identity, "commit", "--quiet", "--no-verify", "--message=Working tree"],
        ["bundle", "create", "--quiet", str(bundle), "HEAD"],
    ):
        subprocess.run(["git", "-C", str(copy), *arguments], check=True)
    shutil.rmtree(copy)


def passed_on(root: Path) -> dict[str, str]:
    """How pip, uv and git reach registries here; paths that the Debian lacks are left out."""
    wanted = re.compile(r"(PIP|UV|SSL|REQUESTS|CURL|GIT_SSL)_\w+|(HTTPS?|ALL|NO)_PROXY", re.IGNORECASE)
    environment = {}
    for name, value in os.environ.items():
        inside = root / value.lstrip("/")
        if wanted.fullmatch(name) and (
            not value.startswith("/") or inside.exists() or value.startswith("/etc/ssl/")
        ):
            environment[name] = value
    return environment


# -- one newcomer ----------------------------------------------------------------------


class House:
    """A Debian folder in which one newcomer types commands."""

    def __init__(self, root: Path, newcomer: Newcomer) -> None:
        self.root, self.newcomer = root, newcomer
        environment = passed_on(root) | {
            "HOME": newcomer.home,
            "LANG": "C.UTF-8",
            "PATH": f"{newcomer.home}/.local/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self._as_newcomer = [
            "setpriv",
            f"--reuid={newcomer.user_id}",
            f"--regid={newcomer.user_id}",
            "--clear-groups",
            *([] if newcomer.user_id == 0 else ["--inh-caps=-all"]),
            *("env", "-i", *(f"{name}={value}" for name, value in environment.items())),
        ]

    def prepare(self, tarball: Path, *, working_tree: bool) -> None:
        subprocess.run(["tar", "-C", str(self.root), "--numeric-owner", "-xf", str(tarball)], check=True)
        tools = self.root / "opt/fresh"
        tools.mkdir(parents=True)
        shutil.copy2(HERE / "deny_namespaces.py", tools)
        pack_project(tools, working_tree=working_tree)
        if self.newcomer.user_id:
            home = self.newcomer.home
            with (self.root / "etc/passwd").open("a") as passwd:
                passwd.write(f"newcomer:x:{USER_ID}:{USER_ID}::{home}:/bin/bash\n")
            with (self.root / "etc/group").open("a") as group:
                group.write(f"newcomer:x:{USER_ID}:\n")
            (self.root / home.lstrip("/")).mkdir()
            os.chown(self.root / home.lstrip("/"), USER_ID, USER_ID)
        for command in (
            INSTALL_UV,
            "git -c advice.detachedHead=false clone --quiet /opt/fresh/thane.bundle thane",
        ):
            self.type(command, folder=self.newcomer.home, wrapped=False)

    def type(self, command: str, *, folder: str | None = None, wrapped: bool = True) -> list[str]:
        """Runs a line in a shell, shows all it prints and returns the lines of its stderr."""
        line = f"cd {shlex.quote(folder or self.newcomer.home + '/thane')} && {command}"
        wrapper = self.newcomer.wrapper if wrapped else ()
        entered = ["unshare", "--mount", "--pid", "--fork", "--kill-child", str(HERE / "enter.sh")]
        print(f"[{self.newcomer.name}] $ {command}", flush=True)
        with timed(f"[{self.newcomer.name}] {command}"):
            process = subprocess.Popen(
                [*entered, str(self.root), *self._as_newcomer, *wrapper, "bash", "-c", line],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            errors = []
            assert process.stderr is not None
            for error in process.stderr:
                print(f"  2> {error}", end="", flush=True)
                errors.append(error.rstrip("\n"))
            if process.wait():
                raise Failed(
                    f"as {self.newcomer.name}, `{command}` ended with exit code {process.returncode}"
                )
        return errors

    def check_tier(self, errors: Sequence[str]) -> None:
        """The summary, the last line on stderr, names one of the tiers that this newcomer must see."""
        summary = next((line for line in reversed(errors) if line.strip()), "")
        seen = set(_TIER.findall(summary))
        if len(seen) != 1 or not seen <= self.newcomer.tiers:
            expected = " or ".join(sorted(self.newcomer.tiers))
            raise Failed(f"as {self.newcomer.name}, the summary must name tier {expected}: {summary!r}")
        print(f"[{self.newcomer.name}] tier {seen.pop()}, as it must be")


@contextmanager
def timed(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{time.monotonic() - start:7.1f} s  {what}", flush=True)


def welcome(newcomer: Newcomer, options: argparse.Namespace, tarball: Path) -> None:
    """Lets one newcomer type what was asked for. Raises `Failed` when they are let down."""
    commands = two_commands(README.read_text(encoding="utf-8"))
    scratch = Path(tempfile.mkdtemp(prefix=f"thane-fresh-{newcomer.name}-", dir="/var/tmp"))
    scratch.chmod(0o755)
    try:
        house = House(scratch, newcomer)
        house.prepare(tarball, working_tree=options.working_tree)
        if options.only != "tests":
            house.check_tier(house.type(options.command or commands.main))
        if options.only != "main":
            house.type(commands.tests)
    finally:
        if options.keep:
            print(f"[{newcomer.name}] kept: {scratch}")
        else:
            shutil.rmtree(scratch)


def main() -> int:
    names = [newcomer.name for newcomer in NEWCOMERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=("main", "tests"), help="one of the two commands (default: both)")
    parser.add_argument("--as", dest="names", action="append", choices=names, help="one newcomer; repeatable")
    parser.add_argument("--command", help="type this instead of the README's first command")
    parser.add_argument(
        "--working-tree", action="store_true", help="take the files as they lie, not the commit"
    )
    parser.add_argument("--mirror", help="Debian mirror (default: the one that apt uses here)")
    parser.add_argument("--keep", action="store_true", help="keep the Debian folders to look around in")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("fresh: making a Debian folder needs root: sudo python3 tests/fresh/fresh.py", file=sys.stderr)
        return 2
    wanted = options.names or names
    failures = []
    try:
        tarball = base_tarball(options.mirror)
        for newcomer in NEWCOMERS:
            if newcomer.name in wanted:
                try:
                    welcome(newcomer, options, tarball)
                except Failed as failure:
                    failures.append(str(failure))
    except Failed as failure:
        failures.append(str(failure))
    for text in failures:
        print(f"fresh: {text}", file=sys.stderr)
    print(f"{len(wanted) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
