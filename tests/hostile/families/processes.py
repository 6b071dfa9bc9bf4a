"""Too many processes, processes that do not end, and processes that outlive their program."""

from __future__ import annotations

from tests.hostile.rows import (
    STOPPED,
    TIMEOUT,
    Expect,
    NotShown,
    Program,
    Shown,
    denied,
    ends,
    everywhere,
    stopped,
)
from thane.kernel.ports.isolation import Outcome

_SHORT = {"timeout_ms": 1000}
# On T1 an ordinary user's processes all count against the limit, so the kernel's limit is only near, and
# the watchdog ends the job at twice the limit: either of the two.
_MANY = denied("EAGAIN") | {}
_MANY_AS_USER = everywhere(
    stopped("DENIED EAGAIN"),
    t1=Expect(Outcome.FAILED, "(?:DENIED EAGAIN\n)?"),
)
_AT_LEAST = 150

_COUNTER = """
import mmap, signal, struct, time
shared = mmap.mmap(-1, 4096)
def add():
    value = struct.unpack_from("I", shared)[0] + 1
    struct.pack_into("I", shared, 0, value)
    return value
"""

PROCESSES = (
    Program(
        "fork-bomb",
        "processes",
        "start more processes than it may",
        f"""
import time
for _ in range({_AT_LEAST}):
    if os.fork() == 0:
        time.sleep(20); os._exit(0)
found(True)
""",
        _MANY,
        Shown(spare_uid=True),
        as_user=_MANY_AS_USER,
    ),
    Program(
        "fork-bomb-doubling",
        "processes",
        "double its processes until the host stands still",
        f"""{_COUNTER}
first = os.getpid()
signal.alarm(20)
while struct.unpack_from("I", shared)[0] < {_AT_LEAST}:
    try:
        if os.fork() == 0: add()
    except OSError as error:
        if os.getpid() == first: raise
        time.sleep(20)
if os.getpid() != first: time.sleep(20)
found(True)
""",
        _MANY,
        Shown(spare_uid=True),
        as_user=_MANY_AS_USER,
    ),
    Program(
        "fork-bomb-of-a-shell",
        "processes",
        "start processes in a shell without end",
        "bomb() { bomb | bomb & }; bomb; while :; do :; done",
        everywhere(
            Expect(Outcome.TIMEOUT, or_outcome=Outcome.FAILED),
        ),
        Shown("processes", 100, spare_uid=True),
        language="shell",
        limits={**_SHORT, "cpu_millicores": 500, "output_bytes": 4 << 20},
        raw=True,
    ),
    Program(
        "thread-bomb",
        "processes",
        "start more threads than it may",
        f"""
import threading
begun = 0
stop = threading.Event()
try:
    for _ in range({_AT_LEAST}):
        threading.Thread(target=stop.wait, daemon=True).start(); begun += 1
except RuntimeError:
    end("DENIED EAGAIN", {STOPPED})
found(begun == {_AT_LEAST})
""",
        _MANY,
        Shown(spare_uid=True),
        as_user=_MANY_AS_USER,
    ),
    Program(
        "zombie-flood",
        "processes",
        "use up process numbers with children that nobody reaps",
        f"""
for _ in range({_AT_LEAST}):
    if os.fork() == 0: os._exit(0)
found(True)
""",
        _MANY,
        Shown(spare_uid=True),
        as_user=_MANY_AS_USER,
    ),
    Program(
        "orphans-in-a-row",
        "processes",
        "fill its jail with orphans, which the first process reaps",
        """
import time
for _ in range(120):
    deadline = time.monotonic() + 20
    while True:
        try: child = os.fork(); break
        except OSError:
            if time.monotonic() > deadline: raise
            time.sleep(0.01)
    if child == 0:
        try: os.fork()
        except OSError: pass
        os._exit(0)
    os.waitpid(child, 0)
end("ALL REAPED", 0)
""",
        everywhere(ends("ALL REAPED\n")),
        NotShown("the host's first process reaps orphans as well; this shows that the jail's does"),
        # On T1 the limit counts the user's other processes, among them those of other jails of the test.
        as_user=everywhere(
            ends("ALL REAPED\n"), t1=Expect(Outcome.COMPLETED, "ALL REAPED\n|DENIED EAGAIN\n", or_outcome=Outcome.FAILED)
        ),
    ),
    Program(
        "daemon-grandchild",
        "processes",
        "leave a process behind",
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(3): os.close(descriptor)
        import signal
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: signal.sigtimedwait([], 60)
    os._exit(0)
os.wait()
end("LEFT ONE", 0)
""",
        everywhere(ends("LEFT ONE\n")),
        Shown("leaves"),
    ),
    Program(
        "daemon-with-the-output",
        "processes",
        "keep its verdict back by a process that holds its output open",
        """
import time
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
end("LEFT ONE", 0)
""",
        everywhere(ends("LEFT ONE\n", check=lambda verdict: verdict.usage.wall_us < 15_000_000)),
        Shown("leaves"),
    ),
    Program(
        "stopped-grandchildren",
        "processes",
        "leave stopped processes behind, which do not act on most signals",
        """
import signal
for _ in range(5):
    child = os.fork()
    if child == 0: os.kill(os.getpid(), signal.SIGSTOP)
    os.waitpid(child, os.WUNTRACED)
end("LEFT FIVE", 0)
""",
        everywhere(ends("LEFT FIVE\n")),
        Shown("leaves"),
    ),
    Program(
        "ignores-all-signals",
        "processes",
        "run on by ignoring signals",
        """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
print("begun", flush=True)
while True: pass
""",
        everywhere(Expect(**{**_fields(TIMEOUT), "stdout": "begun\n"}) if False else TIMEOUT_BEGUN := Expect(
            Outcome.TIMEOUT, "begun\n", exit_code=137, signal=9, message="--timeout"
        )),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
)
