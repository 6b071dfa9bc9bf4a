"""Too many processes, processes that do not end, and processes that outlive their program."""

from __future__ import annotations

from tests.hostile.rows import (
    STOPPED,
    Expect,
    NotShown,
    Program,
    Shown,
    denied,
    ends,
    escapes,
    everywhere,
    stopped,
    timeout,
)
from thane.kernel.ports.isolation import Outcome

_SHORT = {"timeout_ms": 1000}
# On T1 an ordinary user's processes all count against the limit, so the kernel's limit is only near, and
# the watchdog ends the job at twice the limit: either of the two.
_MANY = denied("EAGAIN")
_MANY_AS_USER = everywhere(
    stopped("DENIED EAGAIN"),
    t1=Expect(Outcome.FAILED, "(?:DENIED EAGAIN\n)?"),
)
_AT_LEAST = 150

_COUNTER = """
import mmap, signal, time
shared = mmap.mmap(-1, 1 << 16)  # a byte for each process: none overwrites another's
def add(): shared[os.getpid() % len(shared)] = 1
def count(): return sum(shared[:])
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
while count() < {_AT_LEAST}:
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
            ends("ALL REAPED\n"),
            t1=Expect(Outcome.COMPLETED, "ALL REAPED\n|DENIED EAGAIN\n", or_outcome=Outcome.FAILED),
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
        everywhere(timeout("begun\n")),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
    Program(
        "handles-all-signals",
        "processes",
        "run on by a handler for each signal that starts another process",
        """
import signal
def again(number, frame):
    try: os.fork()
    except OSError: pass
for number in range(1, 65):
    try: signal.signal(number, again)
    except (OSError, ValueError): pass
print("begun", flush=True)
while True: signal.pause()
""",
        everywhere(timeout("begun\n")),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
    Program(
        "endless-in-c",
        "processes",
        "run on inside a function that no Python code interrupts",
        "import re\nre.match('(a+)+$', 'a' * 60 + 'b')\nfound(True)",
        everywhere(timeout()),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
    Program(
        "endless-shell",
        "processes",
        "run on in a shell that traps what it can",
        "trap '' HUP INT QUIT TERM ABRT PIPE TSTP; while :; do :; done",
        everywhere(timeout()),
        Shown("outlives", 1500),
        language="shell",
        limits=_SHORT,
    ),
    Program(
        "thread-that-does-not-end",
        "processes",
        "run on in a thread after its main program has ended",
        "import threading\nthreading.Thread(target=lambda: threading.Event().wait()).start()",
        everywhere(timeout()),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
    Program(
        "exit-handler-that-does-not-end",
        "processes",
        "run on in an exit handler",
        "import atexit, threading\natexit.register(threading.Event().wait)",
        everywhere(timeout()),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
    Program(
        "stops-itself",
        "processes",
        "keep its slot by stopping itself",
        "import signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        everywhere(timeout()),
        Shown("outlives", 1500),
        limits=_SHORT,
    ),
    Program(
        "kills-everything",
        "processes",
        "kill every process that it can name at once",
        # The kernel answers with success when it was refused for every single one: then nothing has died.
        "os.kill(-1, 9)\nfound(not os.path.exists(f\"/proc/{H['pid']}\"))",
        everywhere(stopped("DENIED ESRCH"), t1=stopped("NOTHING"), t3=stopped(r"DENIED \w+")),
        Shown("touches"),
    ),
    Program(
        "kills-its-parent",
        "processes",
        "kill the process that watches it and go on alone",
        """
import signal, time
before = os.getppid()
for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL): os.kill(before, number)
deadline = time.monotonic() + 0.5
while os.getppid() == before and time.monotonic() < deadline: time.sleep(0.01)
found(os.getppid() != before)
""",
        everywhere(stopped("NOTHING"), t1=stopped("DENIED EPERM")),
    ),
    Program(
        "better-priority",
        "processes",
        "take a better priority than others",
        "os.nice(-10)\nfound(True)",
        denied("EPERM|EACCES"),
        Shown(root_only=True),
    ),
    Program(
        "real-time-priority",
        "processes",
        "take the processor from everybody by a real-time priority",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\nfound(True)",
        denied("EPERM"),
        Shown(root_only=True),
    ),
    Program(
        "real-time-disk",
        "processes",
        "take the disk from everybody by a real-time class",
        "system('ioprio_set', 1, 0, 1 << 13)\nfound(True)",
        denied("EPERM"),
        Shown(root_only=True),
    ),
    Program(
        "more-processor-than-its-share",
        "processes",
        "use more processor time than its share, with many processes",
        """
import time
try: os.sched_setaffinity(0, range(os.cpu_count()))
except OSError: pass
for _ in range(4):
    if os.fork() == 0:
        while True: pass
while True: pass
""",
        everywhere(
            Expect(
                Outcome.TIMEOUT,
                check=lambda verdict: verdict.usage.cpu_us < verdict.usage.wall_us * 1.3 + 150_000,
            )
        ),
        NotShown("how much it gets depends on what else the machine does"),
        limits={"timeout_ms": 1500},
    ),
    Program(
        "binds-itself-to-all-processors",
        "processes",
        "undo the binding to its processors where that is what shares them out",
        """
os.sched_setaffinity(0, range(os.cpu_count()))
found(True)
""",
        everywhere(
            escapes("it may run on any processor: there the quota of its control group shares them out"),
            t2_minus=stopped("DENIED EPERM"),
            t1=stopped("DENIED EPERM"),
        ),
    ),
    Program(
        "raises-its-limits",
        "processes",
        "raise a limit that was set for it",
        """
import resource
for name in ("NOFILE", "CORE", "FSIZE"):
    number = getattr(resource, "RLIMIT_" + name)
    hard = resource.getrlimit(number)[1]
    call("setrlimit", number, (ctypes.c_ulong * 2)(hard + 1, hard + 1))
found(True)
""",
        denied("EPERM"),
        Shown(root_only=True, may_lack=("EPERM",)),
    ),
    Program(
        "signals-that-wait",
        "processes",
        "use up the signals and timers that its user may have waiting",
        """
timer = ctypes.c_void_p()
for _ in range(1000): call("timer_create", 1, None, ctypes.byref(timer))
found(True)
""",
        denied("EAGAIN"),
        Shown(may_lack=("EAGAIN",)),
    ),
    Program(
        "spared-when-memory-ends",
        "processes",
        "make the kernel kill others first when the host's memory ends",
        "os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000')\nfound(True)",
        denied("EACCES|EROFS|EPERM"),
        Shown(root_only=True, may_lack=("EACCES",)),
    ),
    Program(
        "outlives-its-parents-death",
        "processes",
        "cut the tie by which it dies with the isolation program",
        """
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc.prctl(PR_SET_PDEATHSIG, 0); libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import time
        time.sleep(600)
    os._exit(0)
os.wait()
end("LEFT ONE", 0)
""",
        everywhere(ends("LEFT ONE\n")),
        Shown("leaves"),
    ),
)
