"""Files go into a workspace and come out of it, and nothing else comes out with them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.isolation.jailing import MB, job, run, run_job
from thane.adapters.isolation import IsolationClient
from thane.kernel.errors import NotFound
from thane.kernel.ports.isolation import Outcome, ProducedFile, Tier

pytestmark = pytest.mark.anyio


@pytest.mark.for_others
async def test_files_go_in_and_out(client: IsolationClient, tmp_path: Path) -> None:
    code = """
text = open("in/data.csv", "rb").read()
import os
os.makedirs("out/deep")
open("out/deep/copy.bin", "wb").write(text * 2)
open("in/untouched.txt").read()
open("in/changed.txt", "a").write("!")
open("empty", "w").close()
"""
    content = bytes(range(256)) * 3000
    given = {"in/data.csv": content, "in/untouched.txt": b"same", "in/changed.txt": b"more"}
    what = job(code, files=given)
    verdict = (await run_job(client, what)).verdict
    expected = (
        ProducedFile(name="empty", size=0),
        ProducedFile(name="in/changed.txt", size=5),
        ProducedFile(name="out/deep/copy.bin", size=len(content) * 2),
    )
    assert verdict.files == expected, verdict
    assert verdict.refused_files == ()
    assert verdict.usage.workspace_bytes >= len(content) * 3
    assert verdict.usage.disk_write_bytes >= len(content) * 3

    assert await client.collect(what.id, tmp_path / "here") == expected
    assert (tmp_path / "here/out/deep/copy.bin").read_bytes() == content * 2
    assert (tmp_path / "here/in/changed.txt").read_bytes() == b"more!"
    assert (tmp_path / "here/empty").read_bytes() == b""
    assert not (tmp_path / "here/in/data.csv").exists()
    await client.release(what.id)
    with pytest.raises(NotFound):
        await client.collect(what.id, tmp_path / "again")


async def test_a_job_that_does_not_collect_keeps_nothing(client: IsolationClient, tmp_path: Path) -> None:
    what = job("open('x', 'w').write('1')", collect=False)
    assert (await run_job(client, what)).verdict.files == ()
    with pytest.raises(NotFound):
        await client.collect(what.id, tmp_path)


@pytest.mark.for_others
async def test_only_plain_files_come_out(client: IsolationClient, tier: Tier, tmp_path: Path) -> None:
    """Links, pipes, sockets, second names, huge sparse files and odd names stay, each with its reason."""
    code = """
import os, socket
open("good.txt", "w").write("fine")
os.symlink("/etc/passwd", "link-file")
os.symlink("/", "link-folder")
os.symlink("nowhere", "link-broken")
os.mkfifo("pipe")
open("two-names", "w").write("x")
os.link("two-names", "second-name")
open("line\\nbreak", "w").close()
open("escape\\x1b[31m", "w").close()
open(b"not-utf8-\\xff", "w").close()
open("back\\\\slash", "w").close()
os.mkdir("folder")
os.symlink("../../../etc", "folder/up")
open("folder/inside.txt", "w").write("fine too")
try:
    socket.socket(socket.AF_UNIX).bind("socket")
except OSError:
    os.mkfifo("socket")
with open("half-sparse", "w") as file:
    os.truncate(file.fileno(), 20 * 1024 * 1024)
with open("other-half-sparse", "w") as file:
    os.truncate(file.fileno(), 20 * 1024 * 1024)
os.chmod("good.txt", 0o6777)
"""
    what = job(code)
    verdict = (await run_job(client, what)).verdict
    assert verdict.outcome == Outcome.COMPLETED, verdict
    refused = dict(verdict.refused_files)
    assert refused["link-file"] == refused["link-folder"] == refused["link-broken"] == "it is a symbolic link"
    assert refused["folder/up"] == "it is a symbolic link"
    if tier == Tier.T3:
        assert "pipe" not in refused, "a guest's pipes and sockets are its kernel's alone"
        assert "socket" not in refused
    else:
        assert refused["pipe"] == "it is a named pipe"
        assert refused["socket"] in ("it is a socket", "it is a named pipe")
    assert refused["two-names"] == refused["second-name"] == "it has more than one hard link"
    assert "control characters" in refused["line\\nbreak"]
    assert "control characters" in refused["escape\\x1b[31m"]
    assert "not UTF-8" in refused["not-utf8-\\xff"]
    assert "backslash" in refused["back\\slash"]
    sparse = [name for name in refused if "sparse" in name]
    assert len(sparse) == 1, "together they say they are longer than the disk limit"
    names = {file.name for file in verdict.files}
    assert names == {"good.txt", "folder/inside.txt"} | ({"half-sparse", "other-half-sparse"} - set(sparse))

    await client.collect(what.id, tmp_path)
    assert stat.S_IMODE((tmp_path / "good.txt").stat().st_mode) & 0o6000 == 0, "no setuid on the host"
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    await client.release(what.id)


async def test_a_file_cannot_say_it_is_larger_than_the_disk(client: IsolationClient) -> None:
    result = await run(client, "import os; open('x', 'w').close(); os.truncate('x', 1 << 40)")
    assert b"File too large" in result.stderr


async def test_a_folder_that_cannot_be_read_does_not_break_the_rest(client: IsolationClient) -> None:
    code = "import os; os.mkdir('closed', 0); open('open.txt', 'w').write('x'); os.chmod('.', 0o500)"
    verdict = (await run(client, code)).verdict
    assert [file.name for file in verdict.files] == ["open.txt"]


async def test_very_deep_folders_are_refused_not_followed(client: IsolationClient) -> None:
    code = "import os\nfor i in range(100):\n    os.mkdir('d'); os.chdir('d')\nopen('x', 'w').close()"
    verdict = (await run(client, code)).verdict
    assert verdict.files == ()
    assert len(verdict.refused_files) == 1
    assert "deeper than" in verdict.refused_files[0][1]


async def test_thousands_of_files_are_cut_and_the_verdict_says_so(client: IsolationClient) -> None:
    verdict = (await run(client, "for i in range(1100): open(f'{i:04}', 'w').close()")).verdict
    assert (len(verdict.files), verdict.refused_files, verdict.files_left_out) == (1000, (), 100)


async def test_a_link_in_the_target_folder_leads_no_file_out_of_it(
    best: IsolationClient, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "sub").symlink_to(outside)
    (target / "plain.txt").symlink_to(outside / "canary")
    (outside / "canary").write_text("alive")
    what = job("import os; os.mkdir('sub'); open('sub/x', 'w').write('1'); open('plain.txt', 'w').write('2')")
    await run_job(best, what)
    with pytest.raises(OSError, match="sub"):
        await best.collect(what.id, target)
    assert (outside / "canary").read_text() == "alive"
    assert [path.name for path in outside.iterdir()] == ["canary"]
    await best.release(what.id)


async def test_the_code_cannot_be_changed_by_the_program(client: IsolationClient) -> None:
    code = """
try:
    open(__file__, "w").write("x")
except OSError as error:
    print("refused")
"""
    assert (await run(client, code)).stdout == b"refused\n"


async def test_large_output_files_are_whole(best: IsolationClient, tmp_path: Path) -> None:
    what = job("open('x', 'wb').write(bytes(range(251)) * 60000)")
    await run_job(best, what)
    await best.collect(what.id, tmp_path)
    assert (tmp_path / "x").read_bytes() == bytes(range(251)) * 60000
    assert (tmp_path / "x").stat().st_size > 14 * MB
    await best.release(what.id)
