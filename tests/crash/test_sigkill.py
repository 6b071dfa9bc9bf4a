"""SIGKILL from outside, at seeded moments, under load: what was answered is there, and all of it agrees.

`--crashes N` says how often; `CRASH_SEED` repeats a seed that a failure has printed. A round
is one data folder with a few crashes in a row, so that a crash meets what another has left.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crash.agreement import problems, projections_of_a_rebuild, settled, shown
from tests.crash.load import Answer, Journal
from tests.crash.processes import Processes, Remains, Server, jails_of, lines_of, wait_for
from tests.isolation.jailing import is_alive, remains_of

CRASHES_PER_ROUND = 4
# How long after a crash its jails may still be there.
GONE_SECONDS = 5.0

# Who is killed, and how often of ten times. `starting`: the server, while it starts.
VICTIMS = {"server": 5, "isolation": 2, "both": 2, "starting": 1}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "plan" not in metafunc.fixturenames:
        return
    crashes: int = metafunc.config.getoption("--crashes")
    seed = os.environ.get("CRASH_SEED") or str(random.SystemRandom().randrange(1_000_000))
    plans: list[tuple[str, int]] = []
    left = crashes
    while left > 0:
        plans.append((f"{seed}.{len(plans)}", min(left, CRASHES_PER_ROUND)))
        left -= CRASHES_PER_ROUND
    metafunc.parametrize("plan", plans, ids=[f"{count}-crashes" for _, count in plans])


@pytest.mark.crash
@pytest.mark.slow
def test_after_a_crash_everything_agrees_and_nothing_is_missing(
    plan: tuple[str, int], processes: Processes, data: Path, tmp_path: Path
) -> None:
    seed, crashes = plan
    print(f"seed {seed}; repeat with CRASH_SEED={seed.partition('.')[0]}")
    chance = random.Random(seed)
    journal = tmp_path / "journal"
    server = processes.serve(data).ready()
    for number in range(crashes):
        victim = chance.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        print(f"crash {number}: {victim}")
        if victim == "starting":
            server = _kill_while_it_starts(server, processes, chance)
        else:
            server = _kill_under_load(victim, server, processes, journal, chance, f"{seed}.{number}")
        wait_for(lambda: settled(data), "the reconciler is done")
        _send_again(server, journal)
        lines = lines_of(journal) if journal.exists() else []
        failed = [line for line in lines if line["event"] == "answered" and line["status"] >= 500]
        assert not failed, f"a crash is no answer: {failed[:3]}"
        found = problems(data, lines)
        assert not found, shown(found)
    assert server.stop() == 0
    found, projections = projections_of_a_rebuild(data, tmp_path / "copy")
    assert projections, "there is at least the audit trail"
    assert not found, shown(found)


def _kill_under_load(
    victim: str, server: Server, processes: Processes, journal: Path, chance: random.Random, seed: str
) -> Server:
    """Kill somebody while much is under way; a server that serves at the end."""
    load = processes.load(server, journal, seed)
    program = wait_for(server.isolation_pid, "the isolation program listens")
    wanted = load.answered() + chance.randrange(40)
    wait_for(lambda: load.answered() >= wanted, "the load is at work")
    time.sleep(chance.uniform(0, 0.3))  # the moment: no condition, that is the point
    victims: list[int] = {"server": [server.pid], "isolation": [program], "both": [server.pid, program]}[
        victim
    ]
    chance.shuffle(victims)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_SECONDS
    for pid in victims:
        wait_for(lambda pid=pid: not is_alive(pid), "the killed end")  # type: ignore[misc]
    if victim != "server":
        wait_for(lambda: not remains_of(program), "its folders and groups go", deadline - time.monotonic())
    if victim == "isolation":
        # What ran is lost and said so; the server goes on, with a program that it starts anew.
        wanted = load.answered() + 12
        wait_for(lambda: load.answered() >= wanted, "the server goes on")
        load.stop()
        assert server.is_running, server.log
        _no_jail_is_left(program, deadline)
        return server
    _no_jail_is_left(program, deadline)
    server.process.wait()
    load.wait()
    return processes.serve(server.data).ready()


def _kill_while_it_starts(server: Server, processes: Processes, chance: random.Random) -> Server:
    program = server.isolation_pid()
    server.kill()
    starting = processes.serve(server.data)
    time.sleep(chance.uniform(0.2, 0.9))  # the moment
    starting.kill()
    if program is not None:
        _no_jail_is_left(program, time.monotonic() + GONE_SECONDS)
    return processes.serve(server.data).ready()


def _no_jail_is_left(program: int, deadline: float) -> None:
    left: list[Remains] = []

    def gone() -> bool:
        left[:] = [jails_of(program)]
        return not left[0]

    try:
        wait_for(gone, "no jail is left", max(0.0, deadline - time.monotonic()))
    except AssertionError as late:
        raise AssertionError(f"{GONE_SECONDS:g} s after the crash there still is {left[0]}") from late


def _send_again(server: Server, journal: Path) -> None:
    """Repeat what had an Idempotency-Key and was not answered: it is done once, whoever did it."""
    lines = lines_of(journal) if journal.exists() else []
    answered = {line["mark"] for line in lines if line["event"] == "answered"}
    api, notes = server.api(), Journal(journal)
    for line in lines:
        if line["event"] != "asked" or line["mark"] in answered:
            continue
        headers = {**line["headers"], "Idempotency-Key": line["key"]}
        first = api.call("POST", line["path"], line["body"], headers)
        again = api.call("POST", line["path"], line["body"], headers)
        assert first.status < 500, first
        assert (first.status, _told(first)) == (again.status, _told(again)), (first, again)
        if first.status < 400:
            assert again.headers.get("idempotency-replayed") == "true"
        asked = {name: line[name] for name in ("operation", "path", "mark", "body")}
        notes.note(
            event="answered",
            status=first.status,
            index=first.headers.get("thane-ledger-index"),
            intent_index=first.headers.get("thane-intent-index"),
            answer=first.body,
            **asked,
        )


def _told(answer: Answer) -> Any:
    """An answer's body; a refusal's has a request id of its own."""
    return answer.body if answer.status < 400 else answer.body["code"]
