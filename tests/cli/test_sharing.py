"""Commands that use one data folder at one time: whoever owns it, each does the whole of its work."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.program import eventually, started, thane
from thane.bootstrap.joining import JoiningCaller
from thane.interfaces.http.door import Door
from thane.interfaces.local import Answer, Caller, NobodyAnswers
from thane.kernel.errors import ConnectionFailed

WAITS = "import sys, time\nprint('on', flush=True)\ntime.sleep({})\nprint('end')"


def begun(data: Path, seconds: float, *options: str) -> subprocess.Popen[bytes]:
    """A `thane run` whose program has begun."""
    going = started("run", "--data", data, "-c", WAITS.format(seconds), *options)
    assert going.stdout is not None
    assert going.stdout.readline() == b"on\n"
    return going


def waits(owner: subprocess.Popen[bytes]) -> None:
    """Until it has ended its own work and says that it waits for others."""
    said = owner.stderr
    assert said is not None
    eventually(lambda: b"which waits for them" in said.readline(), "the owner's note", 20)


def outcomes(data: Path) -> list[tuple[str, str]]:
    rows = thane("timeline", "--limit", "500", "--json", data=data).json
    return [(r["operation"], r["outcome"]) for r in rows if r["outcome"] is not None]


def test_many_runs_at_once_in_a_new_folder_all_finish(data: Path) -> None:
    going = [started("run", "--data", data, "-c", WAITS.format(0.5)) for _ in range(5)]
    for one in going:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, out) == (0, b"on\nend\n"), err
        assert b"stays open" not in err
    found = outcomes(data)
    assert found.count(("sandboxes.execute", "completed")) == 5
    assert found.count(("runs.finish", "done")) == 5
    assert thane("verify", data=data).code == 0


def test_an_owner_finishes_what_others_attached_however_long_it_takes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = tmp_path / "thane.toml"
    settings.write_text("[http]\ndrain_timeout_secs = 0\n")
    owner = begun(data, 3, "--config", str(settings))
    visitor = begun(data, 8)
    waits(owner)  # and lets more visitors in meanwhile
    assert thane("run", "-c", "print('third')", data=data).text == "third\n"
    out, err = visitor.communicate(timeout=60)
    assert (visitor.returncode, out) == (0, b"end\n"), err
    assert b"stays open" not in err
    owner.communicate(timeout=30)
    assert owner.returncode == 0
    assert outcomes(data).count(("runs.finish", "done")) == 3


def test_an_owner_that_waits_can_be_told_to_end_and_settles_what_it_ends(tmp_path: Path) -> None:
    data = tmp_path / "data"
    owner = begun(data, 3)
    visitor = begun(data, 60)
    waits(owner)
    owner.send_signal(signal.SIGINT)
    owner.communicate(timeout=30)
    _, err = visitor.communicate(timeout=30)
    assert (visitor.returncode, b" cancelled " in err) == (130, True), err
    # The visitor became the owner to finish its run.
    assert outcomes(data)[-1] == ("runs.finish", "done")
    assert thane("verify", data=data).code == 0


class Failing:
    """A caller that fails as it is told to, then answers."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.asked = 0

    async def call(self, method: str, path: str, body: object = None, **_: object) -> Answer:
        self.asked += 1
        if self.faults:
            raise self.faults.pop(0)
        return Answer(200, {}, None)


@pytest.mark.parametrize(
    ("fault", "method", "headers", "asked"),
    [
        (NobodyAnswers("not sent"), "POST", {}, 2),
        (ConnectionFailed("cut off"), "POST", {"Idempotency-Key": "k"}, 2),
        (ConnectionFailed("cut off"), "GET", {}, 2),
        (ConnectionFailed("cut off"), "POST", {}, 1),
    ],
)
async def test_only_what_cannot_be_done_twice_is_asked_again(
    fault: Exception, method: str, headers: dict[str, str], asked: int
) -> None:
    inner = Failing(fault)

    async def join() -> Caller:
        return inner

    caller = JoiningCaller(join, 5)
    await caller.join()
    if asked == 1:
        with pytest.raises(ConnectionFailed):
            await caller.call(method, "/", headers=headers)
    else:
        assert (await caller.call(method, "/", headers=headers)).status == 200
    assert inner.asked == asked


async def test_who_never_finds_an_owner_is_told_in_the_end() -> None:
    inner = Failing(*(NobodyAnswers("nobody") for _ in range(100)))

    async def join() -> Caller:
        return inner

    caller = JoiningCaller(join, 0.1)
    await caller.join()
    with pytest.raises(NobodyAnswers):
        await caller.call("GET", "/")
    assert 1 < inner.asked < 20


async def test_who_knocks_just_before_the_door_closes_is_let_in(tmp_path: Path) -> None:
    let_in = []

    class Server:
        async def serve_unix(self, listener: object) -> None:
            let_in.append(listener)

        async def stop(self) -> None:
            let_in.append("stopped")

    path = tmp_path / "s.sock"
    door = Door(path, Server)
    door.open()
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))  # the loop has had no turn yet to see it
        await door.close()
    assert let_in[-1] == "stopped"
    assert not path.exists()
