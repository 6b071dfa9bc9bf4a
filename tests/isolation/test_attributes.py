"""Modes and times of a program's own files: in tier T1 changed by its supervisor, elsewhere by the kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.isolation.jailing import job, run, run_job
from thane.adapters.isolation import IsolationClient
from thane.isolation import libc, seccomp
from thane.isolation.seccomp import Rules
from thane.kernel.ports.isolation import Outcome, ProducedFile, Tier

pytestmark = pytest.mark.anyio


@pytest.mark.for_others
async def test_the_standard_library_copies_with_modes_and_times(client: IsolationClient) -> None:
    code = """
import os, shutil, tarfile, tempfile, zipfile
def seen(path): status = os.lstat(path); return oct(status.st_mode & 0o7777), status.st_mtime_ns
open("a", "w").write("x"); os.chmod("a", 0o640); os.utime("a", ns=(5, 7_000_000_001)); print(seen("a"))
shutil.copy2("a", "b"); print(seen("b"))
file = open("a"); os.fchmod(file.fileno(), 0o600); os.utime(file.fileno(), (1, 2)); print(seen("a"))
os.mkdir("d"); folder = os.open("d", os.O_RDONLY)
os.symlink("../a", "d/link"); os.chmod("link", 0o604, dir_fd=folder); print(seen("a"))
os.utime("d/link", (3, 3), follow_symlinks=False); print(seen("d/link")[1], seen("a")[1])
with tarfile.open("t.tar", "w") as archive: archive.add("b"); archive.add("d")
tarfile.open("t.tar").extractall("untarred"); print(seen("untarred/b")[0])
with zipfile.ZipFile("z.zip", "w", strict_timestamps=False) as archive: archive.write("b")
zipfile.ZipFile("z.zip").extractall("unzipped"); shutil.copytree("d", "e", symlinks=True); shutil.rmtree("e")
with tempfile.TemporaryDirectory() as name: os.chmod(name, 0o755); open(name + "/f", "w").close()
before = os.stat("a").st_mtime_ns; os.utime("a"); print(os.stat("a").st_mtime_ns > before)
for change in (lambda: os.chmod("none", 0o600), lambda: os.utime("none"), lambda: os.chmod("a/b", 0o600)):
    try: change(); print("nothing")
    except OSError as error: print(type(error).__name__)
"""
    result = await run(client, code)
    assert result.stdout.decode().splitlines() == [
        "('0o640', 7000000001)",
        "('0o640', 7000000001)",
        "('0o600', 2000000000)",
        "('0o604', 2000000000)",
        "3000000000 2000000000",
        "0o640",
        "True",
        "FileNotFoundError",
        "FileNotFoundError",
        "NotADirectoryError",
    ], result


@pytest.mark.for_others
async def test_a_shells_tools_do_too(client: IsolationClient, tier: Tier) -> None:
    # `stat` asks by statx not to mount anything, a flag that gVisor's kernel does not know.
    show = "find \"$@\" -maxdepth 0 -printf '%m\\n'" if tier == Tier.T3 else 'stat -c %a "$@"'
    code = f"""
modes() {{ {show}; }}
echo 'echo ran' > tool; chmod 750 tool; ./tool; cp -p tool copy; touch -d '2001-02-03 UTC' copy
modes tool copy; date -u -r copy +%F; tar cf t.tar copy; mkdir o; tar xf t.tar -C o; modes o/copy
install -m 711 tool installed; modes installed; sed -i s/ran/again/ tool; ./tool
"""
    result = await run(client, code, "shell")
    expected = ["ran", "750", "750", "2001-02-03", "750", "711", "again"]
    assert result.stdout.decode().split() == expected, result


@pytest.mark.for_others
async def test_many_at_once_are_all_answered(client: IsolationClient) -> None:
    code = """
import os, threading
def work(name):
    open(name, "w").close()
    for number in range(200): os.chmod(name, 0o600 | number & 7)
threads = [threading.Thread(target=work, args=(f"f{n}",)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print({os.stat(f"f{n}").st_mode & 0o777 for n in range(8)} == {0o600 | 199 & 7})
"""
    assert (await run(client, code)).stdout == b"True\n"


@pytest.mark.for_others
async def test_what_a_program_has_closed_comes_out(client: IsolationClient, tmp_path: Path) -> None:
    code = """
import os
os.makedirs("closed/below"); open("closed/below/file", "w").write("x" * 5000)
os.chmod("closed/below/file", 0); os.chmod("closed/below", 0); os.chmod("closed", 0o100)
"""
    what = job(code)
    verdict = (await run_job(client, what)).verdict
    assert verdict.outcome == Outcome.COMPLETED, verdict
    expected = (ProducedFile(name="closed/below/file", size=5000),)
    assert await client.collect(what.id, tmp_path) == verdict.files == expected
    assert (tmp_path / "closed/below/file").read_bytes() == b"x" * 5000
    assert verdict.usage.workspace_bytes >= 5000


def test_there_is_one_listener_only() -> None:
    """In a container that attends to calls, a filter cannot ask us; `confined` then denies those calls."""
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        program = seccomp.build(Rules(cgroup=False, namespaces=False))
        seccomp.install_with_listener(program)
        try:
            seccomp.install_with_listener(program)
        except OSError as error:
            os.write(telling, errno.errorcode[error.errno or 0].encode())
        os._exit(0)
    os.close(telling)
    assert os.read(told, 64) == b"EBUSY"
    os.close(told)
    os.waitpid(child, 0)


def test_acting_on_files_as_another_is_checked() -> None:
    if os.getuid() == 0:
        pytest.skip("root may act as anybody")
    with pytest.raises(OSError, match="setfsgid"):
        libc.act_on_files_as(os.getuid() + 1)
