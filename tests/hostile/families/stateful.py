"""Stateful sandboxes: from one into another, and against the agent that holds a sandbox's contexts."""

from __future__ import annotations

from tests.hostile.rows import (
    MB,
    Expect,
    Expectations,
    NotShown,
    Program,
    ends,
    in_sandboxes,
    out_of_memory,
    stopped,
)
from thane.kernel.ports.isolation import Outcome

_OURS = NotShown("what it attacks is a sandbox's context or agent, which exist in a jail only")
_SAME = NotShown("the same program is shown without a jail in its own family")
# The kernel may refuse it more before we end it.
_BROKEN = Expect(Outcome.FAILED, r"(?:DENIED \w+\n)?", message="spoke out of turn")
_CHANNEL = """
import stat
def channels():
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode): yield number
        except OSError: pass
"""


def _row(name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    bare = more.pop("bare", _OURS)
    return Program(name, "stateful sandboxes", aim, source, expect, bare, stateful=True, **more)  # type: ignore[arg-type]


STATEFUL = (
    _row(
        "context-reads-other-workspaces",
        "read another sandbox's workspace from a context",
        """
import glob
name = "secret-of-another-jail"
places = [f"/proc/{n}/{where}/{name}" for n in numbers() for where in ("root/workspace", "cwd")]
for above in ("/tmp", "/var/tmp", "/dev/shm", "/workspace", "/run"):
    for depth in range(4): places += glob.glob(above + "/*" * depth + "/" + name)
found(any(SECRET in read(place) for place in places))
""",
        in_sandboxes(stopped("NOTHING")),
    ),
    _row(
        "context-meets-other-sandboxes",
        "reach another sandbox's port or abstract socket from a context",
        """
import socket
met = []
for name, port in H["neighbours"]:
    abstract = socket.socket(socket.AF_UNIX)
    for asking, address in ((socket.socket(), ("127.0.0.1", port)), (abstract, "\\0" + name)):
        asking.settimeout(2)
        try: asking.connect(address); met.append(address)
        except OSError: pass
found(met)
""",
        in_sandboxes(stopped("NOTHING")),
    ),
    _row(
        "context-kills-all",
        "kill other sandboxes, or its own agent, from a context",
        """
killed = []
for number in range(1, 70_000):
    if number == os.getpid(): continue
    # For process 1 the kernel says yes and does nothing.
    try: os.kill(number, 9); killed += [number] if number != 1 else []
    except OSError: pass
import time; time.sleep(0.2)
found(killed)
""",
        in_sandboxes(stopped("NOTHING")),
    ),
    _row(
        "context-speaks-for-the-agent",
        "read the agent, or forge what it tells",
        """
reached = []
try:
    for name in os.listdir("/proc/1/fd"):
        os.write(os.open(f"/proc/1/fd/{name}", os.O_WRONLY), b"x"); reached.append(name)
except OSError: pass
for name in ("environ", "mem", "maps", "auxv", "syscall", "stack"):
    if read(f"/proc/1/{name}")[:1]: reached.append(name)
found(reached)
""",
        in_sandboxes(stopped("NOTHING")),
    ),
    _row(
        "context-traces-the-agent",
        "trace the agent",
        "call('ptrace', 16, 1, None, None)\nfound(True)",
        in_sandboxes(stopped("DENIED EPERM")),
    ),
    _row(
        "context-keeps-descriptors",
        "use a descriptor of the agent's that was left open for its context",
        _CHANNEL
        + """
others = [n for n in range(3, 1024) if os.path.exists(f"/proc/self/fd/{n}")
          and os.readlink(f"/proc/self/fd/{n}") != "/dev/null"]
found(len(others) - (others == list(channels()) and len(others) == 1))
""",
        in_sandboxes(stopped("NOTHING")),
    ),
    _row(
        "context-forges-a-later-end",
        "have an execution taken for ended that has not begun",
        _CHANNEL
        + """
import time
for number in channels():
    for later in range(2, 50): os.write(number, b"done %d 0" % later)
time.sleep(20); found(True)
""",
        in_sandboxes(_BROKEN),
    ),
    _row(
        "context-floods-its-channel",
        "keep the isolation program busy with words on its context's channel",
        _CHANNEL
        + """
(number,) = channels()
while True: os.write(number, b"x" * 4096)
""",
        in_sandboxes(_BROKEN),
    ),
    _row(
        "context-sends-descriptors",
        "fill the isolation program with descriptors that it sends on its context's channel",
        _CHANNEL
        + """
import array, socket
(number,) = channels()
channel = socket.socket(fileno=number)
while True: channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 200))])
""",
        in_sandboxes(_BROKEN),
    ),
    _row(
        "context-closes-its-channel",
        "keep its execution open for ever by closing its channel",
        _CHANNEL + "import time\nfor number in channels(): os.close(number)\ntime.sleep(20); found(True)",
        in_sandboxes(Expect(Outcome.HOST_KILLED, exit_code=137)),
    ),
    _row(
        "context-ends-and-goes-on",
        "use more processors than its sandbox may after it has said that it has ended",
        _CHANNEL
        + """
for number in channels(): os.write(number, b"done 1 0")
while True: pass
""",
        # It has ended its own execution, and nobody else's; what it does then its sandbox's limits bound.
        in_sandboxes(ends("")),
    ),
    _row(
        "context-ignores-the-interrupt",
        "run on after its timeout by ignoring the interrupt",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        in_sandboxes(Expect(Outcome.TIMEOUT, exit_code=137, signal=9, message="variables are lost")),
        limits={"timeout_ms": 1000},
        bare=_SAME,
    ),
    _row(
        "context-fork-bomb",
        "start more processes than its sandbox may",
        "import time\nfor _ in range(150):\n    if os.fork() == 0: time.sleep(20); os._exit(0)\nfound(True)",
        in_sandboxes(stopped("DENIED EAGAIN")),
        bare=_SAME,
    ),
    _row(
        "context-memory",
        "use more memory than its sandbox may",
        f"kept = []\nfor _ in range(192): kept.append(bytearray({MB}))\nfound(True)",
        in_sandboxes(out_of_memory()),
        limits={"memory_bytes": 64 * MB},
        bare=_SAME,
    ),
    _row(
        "context-sockets",
        "hide memory in the buffers of sockets of its sandbox",
        """
import socket, time
kept, held = [], 0
while held < 192 << 20:
    kept += socket.socketpair(); kept[-1].setblocking(False)
    try:
        while True: held += kept[-1].send(bytes(32768))
    except BlockingIOError: pass
time.sleep(1); found(True)
""",
        in_sandboxes(out_of_memory()),
        limits={"memory_bytes": 64 * MB},
        bare=_SAME,
    ),
    _row(
        "context-disk",
        "write more than its sandbox's disk",
        "for n in range(64):\n    with open(str(n), 'wb', 0) as f: f.write(bytes(1 << 20))\nfound(True)",
        in_sandboxes(stopped("DENIED ENOSPC")),
        bare=_SAME,
    ),
    _row(
        "context-leaves-a-daemon",
        "leave a process that outlives its sandbox",
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal, time
        for number in range(1, 32):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        time.sleep(600)
    os._exit(0)
os.wait()
end("LEFT ONE", 0)
""",
        in_sandboxes(ends("LEFT ONE\n")),
        bare=_SAME,
    ),
    _row(
        "context-exchanges-files-while-they-are-read",
        "have a host's file copied out by exchanging it for a link while it is copied",
        """
open("a", "w").write("x"); os.symlink(H["file"], "b"); os.mkdir("in"); os.symlink(H["folder"], "out")
open("in/file", "w").write("x")
for one, other in ((b"a", b"b"), (b"in", b"out")):
    if os.fork() == 0:
        os.setsid()
        while True: libc.renameat2(-100, one, -100, other, 2)
end("RACING", 0)
""",
        in_sandboxes(ends("RACING\n")),
        collects=True,
    ),
    _row(
        "context-grows-a-file-while-it-is-read",
        "have a file copied out that grows for as long as it is read",
        """
kept = os.open("grows", os.O_CREAT | os.O_WRONLY)
if os.fork() == 0:
    os.setsid()
    while True:
        for size in (1, 1 << 20, 8 << 20, 16 << 20): os.ftruncate(kept, size)
end("GROWING", 0)
""",
        in_sandboxes(ends("GROWING\n")),
        collects=True,
    ),
)
