"""A program in a jail ends as it does under a plain interpreter, though that is not what ends it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.isolation.jailing import run
from thane.adapters.isolation import IsolationClient

pytestmark = pytest.mark.anyio

PROGRAMS = {
    "by itself": "print('done')",
    "with a file that was not closed": """
import os
if os.fork() == 0:
    left = open("left.txt", "w")
    left.write("kept")
else:
    os.wait()
    print(open("left.txt").read())
""",
    "with destructors that use what they imported": """
import os, json
class Thing:
    def __init__(self, name): self.name = name
    def __del__(self): print(json.dumps({"gone": self.name, "sep": os.sep}))
one = Thing("global")
two = Thing("cycle"); two.itself = two
def holder(): return one
""",
    "with exit handlers, the last first": """
import atexit
for number in range(3): atexit.register(print, "handler", number)
atexit.register(lambda: 1 / 0)
""",
    "with threads that take longer": """
import threading, time
gate = threading.Event()
def work():
    gate.wait(); time.sleep(0.05); print("worked")
threading.Thread(target=work).start()
gate.set()
print("main is over")
""",
    "with a daemon thread": """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("main is over")
""",
    "with an executor's tasks": """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
for number in range(3): pool.submit(print, "task")
""",
    "by sys.exit with a number": "import sys; sys.exit(7)",
    "by sys.exit with more than a byte": "import sys; sys.exit(256 + 5)",
    "by sys.exit with a text": "import sys; sys.exit('sorry')",
    "by sys.exit with nothing": "import sys; print(1); sys.exit()",
    "by an error": "def f(): return 1 / 0\nf()",
    "by an error that a hook of its own shows": """
import sys
sys.excepthook = lambda kind, error, trace: print("hook", kind.__name__)
raise ValueError("x")
""",
    "by a hook that exits": """
import sys
def hook(*_): sys.exit(9)
sys.excepthook = hook
raise ValueError("x")
""",
    "by an interrupt": "raise KeyboardInterrupt",
    "by os._exit, without handlers": "import atexit, os; atexit.register(print, 'no'); os._exit(3)",
    "in a child too": """
import atexit, os
atexit.register(print, "handler")
if os.fork() == 0:
    raise SystemExit(4)
print(os.waitstatus_to_exitcode(os.wait()[1]))
""",
    "with its output closed": "import sys; print(1); sys.stdout.flush(); sys.stdout.close()",
    "with output that cannot be put out": "import os, sys; sys.stdout = open('/dev/full', 'w'); print(1)",
    "with its modules replaced": "import sys; sys.modules['other'] = 5; print('still here')",
}


@pytest.mark.parametrize("how", PROGRAMS)
async def test_it_ends_as_without_a_jail(client: IsolationClient, tmp_path: Path, how: str) -> None:
    (tmp_path / "main.py").write_text(PROGRAMS[how])
    plain = subprocess.run(
        [sys.executable, "-I", "-u", "main.py"], cwd=tmp_path, capture_output=True, check=False
    )
    jailed = await run(client, PROGRAMS[how])
    code = plain.returncode if plain.returncode >= 0 else 128 - plain.returncode
    assert (jailed.verdict.exit_code, jailed.verdict.signal) == (
        code,
        -plain.returncode if plain.returncode < 0 else None,
    )
    assert jailed.stdout == plain.stdout
    assert plain.stderr.splitlines()[-1:] == jailed.stderr.splitlines()[-1:], "the same last line"
