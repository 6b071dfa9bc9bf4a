"""Commands made from the registry: a sandbox with state and files, from a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.needs import require
from tests.support.program import Ended, Served, thane


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path / "data")


def test_state_and_files_of_a_sandbox_from_the_command_line(served: Served, tmp_path: Path) -> None:
    def call(*words: str | Path) -> Ended:
        return thane(*words, data=served.data)

    try:
        sandbox = call("sandboxes", "create", "--alert-action", "stop", "--json").json["id"]
        tier = call("sandboxes", "execute", sandbox, "pass", "--json").json["isolation"]["tier"]
        require(tier in ("T2", "T2-"), "a tier with stateful sandboxes", get="thane doctor")
        given = tmp_path / "given.bin"
        given.write_bytes(bytes(range(256)))
        written = call("sandboxes", "write-file", sandbox, "in.bin", "--content", given)
        assert (written.code, "size: 256" in written.text) == (0, True), written.notes
        assert (
            call("sandboxes", "execute", sandbox, "x = open('in.bin', 'rb').read()", "--context", "a").code
            == 0
        )
        again = call("sandboxes", "execute", sandbox, "print(len(x))", "--context", "a")
        assert (again.code, again.text) == (0, "256\n"), again.notes
        failed = call("sandboxes", "execute", sandbox, "import sys; print('said'); sys.exit(3)")
        assert (failed.code, failed.text) == (1, "said\n")
        assert "exited with code 3" in failed.notes
        assert call("sandboxes", "read-file", sandbox, "in.bin").out == bytes(range(256))
        out = tmp_path / "out.bin"
        assert call("sandboxes", "read-file", sandbox, "in.bin", "--out", out).code == 0
        assert out.read_bytes() == bytes(range(256))
        assert "in.bin" in call("sandboxes", "list-files", sandbox).text
        assert call("contexts", "list", sandbox).text.split()[4:7:2] == ["a", "live"]
        assert call("sandboxes", "remove-file", sandbox, "in.bin").code == 0
        gone = call("sandboxes", "read-file", sandbox, "in.bin")
        assert (gone.code, "has no file in.bin" in gone.notes) == (2, True)
        wrong = call("sandboxes", "execute", sandbox, "1", "--env", "{")
        assert (wrong.code, "env is no JSON" in wrong.notes) == (2, True)
        missing = call("sandboxes", "write-file", sandbox, "x", "--content", tmp_path / "none")
        assert (missing.code, "cannot be read" in missing.notes) == (2, True)
        assert "terminated" in call("sandboxes", "terminate", sandbox).text
    finally:
        served.stop()
