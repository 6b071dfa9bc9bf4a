"""Other processes of the host, other jails, and the isolation program itself."""

from __future__ import annotations

from tests.hostile.rows import (
    Expectations,
    NotShown,
    Program,
    Shown,
    denied,
    ends,
    escapes,
    everywhere,
    nothing,
    stopped,
)

_GONE = denied("ESRCH", t1="EPERM|EACCES")
_HIDDEN = denied("ENOENT", t1="EACCES|EPERM")
_EXISTS = "T1 has the host's processes in view: whether a number is taken can be learnt, nothing else"


def _of(family: str, name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    bare = more.pop("bare", Shown())
    return Program(name, family, aim, source, expect, bare, **more)  # type: ignore[arg-type]


def _process(name: str, aim: str, source: str, expect: Expectations = _GONE, **more: object) -> Program:
    return _of("host processes", name, aim, source, expect, **more)


_IOVEC = """
class Iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(16)
mine, theirs = Iovec(ctypes.addressof(buffer), 16), Iovec(0, 16)
try: theirs.base = int(open(f"/proc/{H['pid']}/maps").readline().split("-")[0], 16)
except OSError: pass
"""

PROCESSES_OF_OTHERS = (
    _process(
        "environments-of-others",
        "read the environment of a server",
        "found(any(SECRET in read(f'/proc/{n}/environ') for n in numbers()))",
        nothing("DENIED EACCES"),
    ),
    _process(
        "arguments-of-others",
        "read the command line of a server",
        "found(any(SECRET in read(f'/proc/{n}/cmdline') for n in numbers()))",
        nothing("DENIED EACCES"),
    ),
    _process(
        "arguments-of-one",
        "read the command line of a process that it knows",
        "found(SECRET in open(f\"/proc/{H['pid']}/cmdline\", 'rb').read())",
        _HIDDEN,
    ),
    _process(
        "files-through-others-roots",
        "read a host's file through the root of another process",
        "found(any(SECRET in read(f\"/proc/{n}/root{H['file']}\") for n in numbers()))",
        nothing("DENIED EACCES"),
    ),
    _process(
        "files-through-one-root",
        "read a host's file through the root of a process that it knows",
        "found(SECRET in open(f\"/proc/{H['pid']}/root{H['file']}\", 'rb').read())",
        _HIDDEN,
    ),
    _process(
        "folders-of-others",
        "list the folder in which another process works",
        "found(os.listdir(f\"/proc/{H['pid']}/cwd/\"))",
        _HIDDEN,
    ),
    _process(
        "descriptors-of-others",
        "list and open the descriptors of another process",
        "found(os.listdir(f\"/proc/{H['pid']}/fd\"))",
        _HIDDEN,
    ),
    _process(
        "memory-of-others",
        "open the memory of another process",
        "os.open(f\"/proc/{H['pid']}/mem\", os.O_RDWR)\nfound(True)",
        _HIDDEN,
    ),
    _process(
        "map-of-others",
        "read where the memory of another process lies",
        "found(open(f\"/proc/{H['pid']}/maps\").read())",
        _HIDDEN,
    ),
    _process(
        "existence-of-others",
        "learn whether a process exists",
        "found(os.stat(f\"/proc/{H['pid']}\"))",
        everywhere(stopped("DENIED ENOENT"), t1=escapes(_EXISTS)),
    ),
    _process(
        "session-of-others",
        "learn to which session a process belongs",
        "found(os.getsid(H['pid']) >= 0)",
        everywhere(stopped("DENIED ESRCH"), t1=escapes(_EXISTS)),
    ),
    _process("kill-another", "kill a process of the host", "os.kill(H['pid'], 9)\nfound(True)"),
    _process("stop-another", "stop a process of the host", "os.kill(H['pid'], 19)\nfound(True)"),
    _process("ask-for-another", "send nothing to a process of the host", "os.kill(H['pid'], 0)\nfound(True)"),
    _process(
        "kill-its-group",
        "kill a process group of the host",
        "os.killpg(os.getpgid(H['pid']), 9)\nfound(True)",
    ),
    _process(
        "queue-a-signal",
        "queue a forged signal for another process",
        "info = (ctypes.c_int * 32)(10, 0, -1)\nsystem('rt_sigqueueinfo', H['pid'], 10, info)\nfound(True)",
        bare=Shown("touches"),
    ),
    _process(
        "signal-a-thread",
        "signal a thread of another process",
        "system('tgkill', H['pid'], H['pid'], 9)\nfound(True)",
    ),
    _process(
        "signal-by-descriptor",
        "signal another process by a descriptor of it",
        "system('pidfd_send_signal', system('pidfd_open', H['pid'], 0), 9, None, 0)\nfound(True)",
    ),
    _process(
        "signal-by-ownership",
        "have the kernel signal another process by making it the owner of a pipe",
        """
import fcntl
reading, writing = os.pipe()
fcntl.fcntl(reading, 10, 9); call("fcntl", reading, 8, H["pid"])
fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
os.write(writing, b"x"); found(True)
""",
        bare=Shown("touches"),
    ),
    _process(
        "write-memory-by-a-file",
        "write into the memory of another process by its file in /proc",
        """
lines = open(f"/proc/{H['pid']}/maps").read().splitlines()
place = next(int(line.split("-")[0], 16) for line in lines if " rw-p " in line)
memory = os.open(f"/proc/{H['pid']}/mem", os.O_RDWR)
os.lseek(memory, place, 0); os.write(memory, os.read(memory, 1))
found(True)
""",
        _HIDDEN,
        bare=Shown(may_lack=("EACCES",)),
    ),
    _process(
        "take-a-descriptor",
        "take a descriptor out of another process",
        "system('pidfd_getfd', system('pidfd_open', H['pid'], 0), 0, 0)\nfound(True)",
    ),
    _process(
        "trace-another",
        "trace another process",
        "call('ptrace', 16, H['pid'], None, None)\nfound(True)",
        denied("EPERM"),
    ),
    _process(
        "seize-another",
        "seize another process",
        "call('ptrace', 0x4206, H['pid'], None, None)\nfound(True)",
        denied("EPERM"),
    ),
    _process(
        "read-memory-of-another",
        "copy memory from another process",
        _IOVEC + "call('process_vm_readv', H['pid'], ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)\n"
        "found(True)",
        denied("EPERM"),
    ),
    _process(
        "write-memory-of-another",
        "copy memory into another process",
        _IOVEC
        + """
try: lines = open(f"/proc/{H['pid']}/maps").read().splitlines()
except OSError: lines = []
for line in lines:
    if " rw-p " in line: theirs.base = int(line.split("-")[0], 16)
call("process_vm_writev", H["pid"], ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
found(True)
""",
        denied("EPERM"),
    ),
    _process(
        "advise-on-memory-of-another",
        "have memory of another process thrown out",
        "process = system('pidfd_open', H['pid'], 0)\n"
        "vector = (ctypes.c_ulong * 2)(0, 0)\n"
        "system('process_madvise', process, vector, 0, 20, 0)\nfound(True)",
        denied("ESRCH|EPERM", t1="EPERM"),
        bare=Shown(root_only=True),
    ),
    _process(
        "compare-with-another",
        "compare its memory with another process's",
        "system('kcmp', os.getpid(), H['pid'], 1, 0, 0)\nfound(True)",
        denied("EPERM"),
        bare=Shown(may_lack=("ENOSYS",)),
    ),
    _process(
        "move-pages-of-another",
        "move memory of another process",
        "system('move_pages', H['pid'], 0, None, None, None, 0)\nfound(True)",
        denied("EPERM"),
        bare=Shown(may_lack=("ENOSYS",)),
    ),
    _process(
        "limits-of-another",
        "change the limits of another process",
        "import resource\nresource.prlimit(H['pid'], resource.RLIMIT_NOFILE, (3, 3))\nfound(True)",
    ),
    _process(
        "priority-of-another",
        "change the priority of another process",
        "os.setpriority(os.PRIO_PROCESS, H['pid'], 19)\nfound(True)",
    ),
    _process(
        "priority-of-a-user",
        "change the priority of all processes of its user",
        "os.setpriority(os.PRIO_USER, os.getuid(), 19)\n"
        "found(os.getpriority(os.PRIO_PROCESS, H['pid']) == 19)",
        denied("ESRCH", t1="EPERM"),
        bare=Shown("touches"),
    ),
    _process(
        "processors-of-another",
        "bind another process to a processor",
        "os.sched_setaffinity(H['pid'], {0})\nfound(True)",
        denied("ESRCH", t1="EPERM", t2_minus="ESRCH|EPERM"),
        bare=Shown("touches"),
    ),
    _process(
        "scheduling-of-another",
        "make another process wait for all others",
        "os.sched_setscheduler(H['pid'], os.SCHED_IDLE, os.sched_param(0))\nfound(True)",
    ),
    _process(
        "disk-class-of-another",
        "take another process's turn at the disk",
        "system('ioprio_set', 1, H['pid'], 3 << 13)\nfound(True)",
    ),
    _process(
        "score-of-another",
        "make the kernel kill another process first when memory ends",
        "os.write(os.open(f\"/proc/{H['pid']}/oom_score_adj\", os.O_WRONLY), b'1000')\nfound(True)",
        _HIDDEN,
    ),
    _process(
        "counters-of-another",
        "count what another process does (perf)",
        "attributes = (ctypes.c_uint * 32)(1, 128)\nattributes[10] = 1 << 5 | 1 << 6\n"
        "system('perf_event_open', attributes, H['pid'], -1, -1, 0)\nfound(True)",
        denied("EPERM|EACCES"),
        bare=Shown(may_lack=("ENOENT", "EOPNOTSUPP", "ENODEV", "EACCES")),
    ),
    _process(
        "environment-of-the-first-process",
        "read the environment of the first process it sees",
        "found(open('/proc/1/environ', 'rb').read() is not None)",
        denied("EACCES|EPERM"),
        bare=Shown(root_only=True),
    ),
)


def _neighbour(name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    return _of("other sandboxes", name, aim, source, expect, **more)


_NO_NEIGHBOUR = NotShown("its victim is another jail; the canary is that jail's own check of itself")

_MEET = """
import socket
for name, port in H["neighbours"]:
    meeting = {make}; meeting.settimeout(2)
    try: meeting.connect({address})
    except OSError as error: refused = error; continue
    found(True)
raise refused
"""

NEIGHBOURS = (
    _neighbour(
        "workspaces-through-processes",
        "read the workspace of another sandbox through its processes",
        "found(any(SECRET in read(f'/proc/{n}/{where}/secret-of-another-jail')\n"
        "          for n in numbers() for where in ('root/workspace', 'cwd')))",
        nothing("DENIED EACCES"),
        bare=_NO_NEIGHBOUR,
    ),
    _neighbour(
        "workspaces-through-folders",
        "read the workspace of another sandbox through the folders in which it may lie",
        """
import glob
places = []
for above in ("/tmp/thane*", "/var/tmp/thane*", "/dev/shm/thane*",
              os.environ["HOME"] + "/../..", os.environ["HOME"] + "/../../.."):
    for depth in range(5): places += glob.glob(above + "/*" * depth + "/secret-of-another-jail")
found(places)
""",
        nothing(),
        bare=_NO_NEIGHBOUR,
    ),
    _neighbour(
        "kill-all-numbers",
        "kill other sandboxes by trying all process numbers",
        """
killed = 0
for number in range(1, 70_000):
    if number in (os.getpid(), os.getppid(), os.getpgrp()): continue
    try: os.kill(number, 9); killed += 1
    except OSError: pass
found(killed - (os.getppid() == 1 and False))
""",
        nothing(),
        bare=Shown("touches"),
    ),
    _neighbour(
        "meet-at-an-abstract-socket",
        "reach another sandbox by an abstract socket",
        _MEET.format(make="socket.socket(socket.AF_UNIX)", address="'\\0' + name"),
        denied("ECONNREFUSED", t1="EPERM"),
        bare=_NO_NEIGHBOUR,
    ),
    _neighbour(
        "meet-at-a-port",
        "reach another sandbox by a port of the loopback",
        _MEET.format(make="socket.socket()", address="('127.0.0.1', port)"),
        denied("ECONNREFUSED", t1="EPERM"),
        bare=_NO_NEIGHBOUR,
    ),
    _neighbour(
        "file-for-the-next",
        "leave a file for the next sandbox",
        """
for folder in (os.environ["HOME"], os.environ["TMPDIR"], "/dev/shm", "/tmp", "/var/tmp"):
    try: open(f"{folder}/thane-hostile-next", "w").write("x")
    except OSError: pass
end("LEFT", 0)
""",
        everywhere(ends("LEFT\n")),
        bare=NotShown("it leaves plain files; that they stay needs no showing"),
        sequel="""
folders = (os.environ["HOME"], os.environ["TMPDIR"], "/dev/shm", "/tmp", "/var/tmp")
found(any(os.path.exists(f"{folder}/thane-hostile-next") for folder in folders))
""",
    ),
    _neighbour(
        "segment-for-the-next",
        "leave a System V segment for the next sandbox",
        "libc.shmget(0x7A4E, ctypes.c_size_t(4096), 0o1666)\nend('LEFT', 0)",
        everywhere(ends("LEFT\n")),
        bare=NotShown("the row read-a-segment shows that segments of the host are for all"),
        sequel="call('shmget', 0x7A4E, ctypes.c_size_t(4096), 0)\nfound(True)",
    ),
    _neighbour(
        "queue-for-the-next",
        "leave a POSIX message queue for the next sandbox",
        "libc.mq_open(b'/thane-hostile', os.O_CREAT | os.O_RDWR, 0o666, None)\nend('LEFT', 0)",
        everywhere(ends("LEFT\n")),
        bare=NotShown("it leaves a plain queue; that it stays needs no showing"),
        sequel="call('mq_open', b'/thane-hostile', os.O_RDWR)\nfound(True)",
    ),
    _neighbour(
        "module-for-the-next",
        "plant a module that the next sandbox imports",
        """
for name in ("json", "linecache", "traceback", "sitecustomize"):
    for folder in (".", "__pycache__"):
        os.makedirs(folder, exist_ok=True)
        open(f"{folder}/{name}.py", "w").write("print('REACHED')")
end("LEFT", 0)
""",
        everywhere(ends("LEFT\n")),
        bare=NotShown("it leaves plain files; that they stay needs no showing"),
        sequel="import json, linecache, traceback\nfound('workspace' in (json.__file__ or ''))",
    ),
    _neighbour(
        "process-for-the-next",
        "leave a process that looks into the next sandbox",
        """
if os.fork() == 0:
    os.setsid()
    import time
    while True:
        try:
            for n in numbers():
                if b"sequel" in read(f"/proc/{n}/environ"): os.kill(int(n), 9)
        except OSError: pass
        time.sleep(0.01)
end("LEFT", 0)
""",
        everywhere(ends("LEFT\n")),
        bare=Shown("leaves"),
        sequel="import time\ntime.sleep(0.1)\nfound(False)",
    ),
)


def _program(name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    return _of("isolation program", name, aim, source, expect, **more)


# As an ordinary user the stand-in's first process has rights in its namespace that a program has not.
_ROOT = Shown(root_only=True)
_ONLY_IN_A_JAIL = NotShown("what it attacks exists in a jail only")

ISOLATION = (
    _program(
        "connect-to-the-isolation-socket",
        "speak to the isolation program",
        "import socket\nasking = socket.socket(socket.AF_UNIX)\nasking.connect(H['socket'])\n"
        "socket.socket(socket.AF_UNIX).connect(H['isolation_socket'])\nfound(True)",
        denied("ENOENT", t1="EPERM"),
    ),
    _program(
        "find-the-isolation-socket",
        "speak to the isolation program through the root of another process",
        """
import socket
for n in numbers():
    try: asking = socket.socket(socket.AF_UNIX); asking.connect(f"/proc/{n}/root" + H["isolation_socket"])
    except OSError as error:
        if error.errno == errno.EPERM: raise
        continue
    found(True)
found(False)
""",
        nothing("DENIED (?:EPERM|EACCES)"),
    ),
    _program(
        "kill-the-isolation-program",
        "kill the isolation program",
        "os.kill(H['isolation_pid'], 9)\nfound(True)",
        _GONE,
        bare=NotShown("the row kill-another shows that processes of the host can be killed"),
    ),
    _program(
        "read-the-isolation-program",
        "read memory, descriptors or environment of the isolation program",
        "names = ('environ', 'maps', 'mem', 'cmdline')\n"
        "found([p for p in names if read(f\"/proc/{H['isolation_pid']}/{p}\")])",
        nothing(),
        bare=NotShown("the rows on host processes show it for a process that may be attacked"),
    ),
    _program(
        "list-the-isolation-folders",
        "look into the folder from which jails are made",
        """
import glob
seen = []
for path in glob.glob("/tmp/thane-isolation-*") + glob.glob("/var/tmp/thane-isolation-*"):
    try: seen += os.listdir(path)
    except OSError: pass
found(seen)
""",
        nothing(),
        bare=_ONLY_IN_A_JAIL,
    ),
    _program(
        "write-over-its-code",
        "change the code that was given, or the program that started it",
        """
changed = []
folders = ["/run", "/run/boot", "/run/code"]
if "__file__" in globals(): folders.append(os.path.dirname(os.path.abspath(__file__)))
for folder in folders:
    try: names = os.listdir(folder)
    except OSError: names = []
    for name in [*names, H["mark"]]:
        try: os.close(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT)); changed.append(name)
        except OSError: pass
found(changed)
""",
        nothing(),
        bare=_ONLY_IN_A_JAIL,
    ),
    _program(
        "speak-for-its-first-process",
        "forge its own verdict through the descriptors of the process that watches it",
        """
reached = []
for pid in {1, os.getppid()}:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            os.write(os.open(f"/proc/{pid}/fd/{name}", os.O_WRONLY), b"exit 0\\n"); reached.append(name)
    except OSError: pass
    for name in ("environ", "mem", "maps", "auxv"):
        if read(f"/proc/{pid}/{name}")[:1]: reached.append(name)
found(reached)
""",
        nothing(),
        bare=_ROOT,
    ),
    _program(
        "trace-its-first-process",
        "trace the process that watches it",
        "call('ptrace', 16, os.getppid(), None, None)\nfound(True)",
        denied("EPERM"),
        bare=_ROOT,
    ),
    _program(
        "inherited-descriptors",
        "use a descriptor that was left open for it",
        """
kept = []
for number in range(3, 1024):
    try: os.fstat(number); kept.append(number)
    except OSError: pass
found(kept)
""",
        nothing(),
    ),
    _program(
        "forged-frames",
        "forge a verdict by writing frames to every descriptor it has",
        """
import json, struct
verdict = json.dumps({"t": "verdict", "verdict": {"outcome": "completed", "exit_code": 0}}).encode()
frame = struct.pack("!II", len(verdict), 0) + verdict + b"started\\nexit 0\\n"
for number in range(3, 256):
    try: os.write(number, frame)
    except OSError: pass
os.write(1, frame); os.write(2, frame); os._exit(9)
""",
        everywhere(ends('.{8}{"t": "verdict".*started\nexit 0\n', 9)),
        bare=NotShown("without Thane nobody reads frames"),
    ),
    _program(
        "forged-verdict-in-text",
        "be believed by printing a verdict",
        'print(\'{"outcome": "completed", "exit_code": 0, "tier": "T3"}\', flush=True); os._exit(9)',
        everywhere(ends(r'\{"outcome": "completed".*\}\n', 9)),
        bare=NotShown("without Thane nobody reads verdicts"),
    ),
    _program(
        "forged-out-of-memory",
        "be taken for killed by exiting with the number of a killed program",
        "os._exit(137)",
        everywhere(ends("", 137, signal=None)),
        bare=Shown("exits", 137),
    ),
    _program(
        "argument-of-others",
        "read its code, input or secrets from its own command line or another's",
        "found(any(b'REACHED' in read(f'/proc/{n}/cmdline') for n in [*numbers(), 'self']))",
        nothing("NOTHING|DENIED EACCES"),
        bare=Shown(),
    ),
)
