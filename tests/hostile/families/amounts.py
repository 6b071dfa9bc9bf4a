"""Too much memory, too many files, too much output."""

from __future__ import annotations

from tests.hostile.rows import (
    MB,
    Expect,
    NotShown,
    Program,
    Shown,
    denied,
    ends,
    everywhere,
    out_of_memory,
    stopped,
    timeout,
)
from thane.kernel.ports.isolation import Outcome

_MEMORY = {"memory_bytes": 64 * MB, "disk_bytes": 512 * MB, "processes": 48}
_TO_HOLD = 192 * MB
# Ended for it, or it could not hold so much: control groups of version 1 bound what network sockets hold
# at a quarter of the memory limit, and T1 ends it at its number of sockets unless descriptors run out first.
_BOUNDED = Expect(
    Outcome.OUT_OF_MEMORY,
    r"(?:NOTHING\n|DENIED \w+\n)?",
    or_outcome=Outcome.FAILED,
    message="--memory|code 3",
)
_CUT = r"\n\[output limit of 65536 bytes reached; the rest was dropped\]\n"
_TALKS = {"timeout_ms": 1000, "output_bytes": 1 << 16}
# Where no memory file system can be mounted the watchdog ends the job instead.
_DISK = everywhere(
    stopped("DENIED (?:ENOSPC|EFBIG)"),
    t1=Expect(
        Outcome.FAILED,
        "(?:DENIED (?:ENOSPC|EFBIG)\n|REACHED\n)?",
        message="exited with code 3|--disk|archive",
    ),
)

MEMORY = (
    Program(
        "memory-of-one-process",
        "memory",
        "use more memory than it may in one process",
        f"kept = []\nfor _ in range({_TO_HOLD // MB}): kept.append(bytearray({MB}))\nfound(True)",
        everywhere(out_of_memory()),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-many-processes",
        "memory",
        "use more memory than it may in many processes together",
        """
import signal, time
gate = os.pipe()
for _ in range(12):
    if os.fork() == 0:
        kept = bytearray(16 << 20); os.write(gate[1], b"x"); time.sleep(20); os._exit(0)
held = 0
while held < 12: held += len(os.read(gate[0], 16))
time.sleep(0.5)
found(True)
""",
        everywhere(out_of_memory()),
        limits=_MEMORY,
    ),
    Program(
        "memory-shared-by-processes",
        "memory",
        "use memory that belongs to no process alone",
        f"import mmap\nshared = mmap.mmap(-1, {_TO_HOLD})\n"
        f"for at in range(0, {_TO_HOLD}, 4096): shared[at] = 1\nfound(True)",
        everywhere(out_of_memory()),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-one-stroke",
        "memory",
        "use more memory than it may between two looks of a watchdog, and keep it",
        f"""
import mmap, time
call("mmap", None, ctypes.c_size_t({_TO_HOLD}), 3, 0x8022, -1, 0)
print("HELD", flush=True); time.sleep(5)
found(True)
""",
        everywhere(out_of_memory(), t2_minus=out_of_memory("(?:HELD\n)?"), t1=out_of_memory("(?:HELD\n)?")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-a-descriptor",
        "memory",
        "hide memory in a descriptor that no process maps (memfd)",
        f"kept = os.memfd_create('x')\n"
        f"for _ in range({_TO_HOLD // MB}): os.write(kept, bytes({MB}))\nfound(True)",
        everywhere(out_of_memory(), t2_minus=stopped("DENIED EPERM"), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-a-segment",
        "memory",
        "hide memory in System V segments that no process maps",
        f"""
libc.shmat.restype = ctypes.c_void_p
for _ in range({_TO_HOLD // (16 * MB)}):
    segment = call("shmget", 0, ctypes.c_size_t({16 * MB}), 0o1600)
    address = libc.shmat(segment, None, 0)
    ctypes.memset(address, 1, {16 * MB}); libc.shmdt(ctypes.c_void_p(address))
found(True)
""",
        everywhere(out_of_memory(), t2_minus=stopped("DENIED EPERM"), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-shared-files",
        "memory",
        "hide memory in files of /dev/shm",
        f"with open('/dev/shm/' + H['mark'], 'wb', 0) as file:\n"
        f"    for _ in range({_TO_HOLD // MB}): file.write(bytes({MB}))\n"
        f"import time; time.sleep(1); found(True)",
        everywhere(out_of_memory(), t1=stopped("DENIED EACCES")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-temporary-files",
        "memory",
        "hide memory in files of its folders, which lie in memory",
        f"with open(os.environ['TMPDIR'] + '/x', 'wb', 0) as file:\n"
        f"    for _ in range({_TO_HOLD // MB}): file.write(bytes({MB}))\n"
        f"import time; time.sleep(1); found(True)",
        # Where nothing can be mounted its folders lie on the disk and are not memory.
        everywhere(
            out_of_memory(), t1=Expect(Outcome.OUT_OF_MEMORY, "(?:REACHED\n)?", or_outcome=Outcome.COMPLETED)
        ),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-pipes",
        "memory",
        "hide memory in the buffers of pipes",
        f"""
import fcntl, time
kept, held = [], 0
while held < {_TO_HOLD}:
    pipe = os.pipe(); kept.append(pipe)
    os.set_blocking(pipe[1], False)
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, {MB})
    held += os.write(pipe[1], bytes({MB}))
time.sleep(0.5)
found(True)
""",
        everywhere(out_of_memory(), t2_minus=stopped("DENIED EPERM"), t1=stopped("DENIED EPERM")),
        Shown(root_only=True),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-sockets",
        "memory",
        "hide memory in the buffers of sockets that lead to itself",
        f"""
import socket, time
kept, held = [], 0
while held < {_TO_HOLD} and len(kept) < 900:
    for end_ in socket.socketpair():
        kept.append(end_); end_.setblocking(False)
        try: end_.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {MB})
        except PermissionError: pass
    for end_ in kept[-2:]:
        try:
            while True: held += end_.send(bytes(32768))
        except BlockingIOError: pass
time.sleep(0.5)
found(held >= {_TO_HOLD} // 2)
""",
        everywhere(out_of_memory(), t1=_BOUNDED),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-closed-sockets",
        "memory",
        "hide memory in what was sent by sockets that it has closed",
        f"""
import socket, time
kept, held = [], 0
while held < {_TO_HOLD}:
    sending, receiving = socket.socketpair()
    sending.setblocking(False); kept.append(receiving)
    try:
        while True: held += sending.send(bytes(32768))
    except BlockingIOError: sending.close()
time.sleep(0.5)
found(True)
""",
        everywhere(out_of_memory(), t1=_BOUNDED),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-sockets-on-their-way",
        "memory",
        "hide memory in sockets that it has sent to itself and closed",
        f"""
import array, socket, time
kept, held = [], 0
while held < {_TO_HOLD}:
    kept += socket.socketpair()
    for _ in range(20):
        sending, receiving = socket.socketpair()
        sending.setblocking(False)
        try:
            while True: held += sending.send(bytes(32768))
        except BlockingIOError: pass
        passed = array.array("i", [receiving.fileno()])
        kept[-1].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        sending.close(); receiving.close()
time.sleep(0.5)
found(True)
""",
        # T1 has no count of them; its limit on descriptors is the limit on those as well.
        everywhere(out_of_memory(), t1=stopped("DENIED (?:ETOOMANYREFS|EMFILE)")),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-connections",
        "memory",
        "hide memory in the buffers of connections to itself",
        f"""
import socket, time
listening = socket.create_server(("127.0.0.1", 0))
kept, held = [], 0
while held < {_TO_HOLD}:
    sending = socket.create_connection(listening.getsockname()); receiving, _ = listening.accept()
    kept += [sending, receiving]; sending.setblocking(False)
    try:
        while True: held += sending.send(bytes(1 << 16))
    except BlockingIOError: pass
time.sleep(0.5)
found(True)
""",
        everywhere(_BOUNDED, t2_minus=out_of_memory(), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-in-datagrams",
        "memory",
        "hide memory in datagrams that it sends to itself and does not read",
        f"""
import socket, time
kept, held = [], 0
while held < {_TO_HOLD}:
    receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); receiving.bind(("127.0.0.1", 0))
    try: receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, {4 * MB})
    except PermissionError: pass
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(receiving.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 40_000):
        held += sending.sendto(bytes(30_000), receiving.getsockname())
    receiving.setblocking(False); kept.append(receiving)
time.sleep(0.5)
arrived = 0
for receiving in kept:
    try:
        while True: arrived += len(receiving.recv(65536))
    except BlockingIOError: pass
found(arrived > 96 << 20)
""",
        everywhere(_BOUNDED, t2_minus=out_of_memory(), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-queues",
        "memory",
        "hide memory in System V message queues",
        f"""
message = ctypes.create_string_buffer(b"\\1" + bytes(8199))
for _ in range({_TO_HOLD} // 16384):
    queue = call("msgget", 0, 0o1600)
    for _ in range(2): call("msgsnd", queue, message, ctypes.c_size_t(8190), 0o4000)
found(True)
""",
        everywhere(out_of_memory(), t2_minus=stopped("DENIED EPERM"), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-semaphores",
        "memory",
        "hide memory in sets of semaphores",
        "for _ in range(60): call('semget', 0, 32000, 0o1600)\nfound(True)",
        everywhere(out_of_memory(), t2_minus=stopped("DENIED EPERM"), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-of-posix-queues",
        "memory",
        "use up its user's share of POSIX message queues",
        "call('mq_open', b'/thane-hostile', os.O_CREAT | os.O_RDWR, 0o600, None)\nfound(True)",
        everywhere(stopped("DENIED EMFILE"), t2_minus=stopped("DENIED EPERM"), t1=stopped("DENIED EPERM")),
        limits=_MEMORY,
    ),
    Program(
        "memory-locked",
        "memory",
        "lock memory so that nobody else gets it",
        "import mmap\nkept = mmap.mmap(-1, 32 << 20)\n"
        "call('mlock', ctypes.byref(ctypes.c_char.from_buffer(kept)), ctypes.c_size_t(32 << 20))\n"
        "found(True)",
        denied("ENOMEM|EPERM|EAGAIN"),
        Shown(root_only=True),
        limits=_MEMORY,
    ),
    Program(
        "memory-secret",
        "memory",
        "make memory that even the kernel does not see (memfd_secret)",
        "system('memfd_secret', 0)\nfound(True)",
        denied("EPERM|ENOSYS"),
        Shown(may_lack=("ENOSYS",)),
    ),
)

DISK = (
    Program(
        "disk-one-file",
        "disk",
        "write more than its disk in one file",
        "with open('x', 'wb', 0) as file:\n    for _ in range(64): file.write(bytes(1 << 20))\nfound(True)",
        _DISK,
    ),
    Program(
        "disk-many-files",
        "disk",
        "write more than its disk in many files",
        "for number in range(64):\n    with open(str(number), 'wb', 0) as file: file.write(bytes(1 << 20))\n"
        "import time; time.sleep(0.6); found(True)",
        _DISK,
    ),
    Program(
        "disk-of-the-temporary-folder",
        "disk",
        "write more than its disk in its temporary folder",
        "for number in range(64):\n"
        "    with open(f\"{os.environ['TMPDIR']}/{number}\", 'wb', 0) as file: file.write(bytes(1 << 20))\n"
        "import time; time.sleep(0.6); found(True)",
        _DISK,
    ),
    Program(
        "disk-of-removed-files",
        "disk",
        "hide what it writes in files that it has removed",
        "kept = []\nfor number in range(64):\n"
        "    file = open('x', 'wb', 0); os.unlink('x'); kept.append(file); file.write(bytes(1 << 20))\n"
        "import time; time.sleep(0.6); found(True)",
        _DISK,
    ),
    Program(
        "disk-reserved",
        "disk",
        "reserve more than its disk",
        "file = open('x', 'wb')\nos.posix_fallocate(file.fileno(), 0, 64 << 20)\nfound(True)",
        _DISK,
    ),
    Program(
        "sparse-terabyte",
        "disk",
        "make a file that says it is a terabyte long",
        "open('x', 'wb').close(); os.truncate('x', 1 << 40)\nfound(True)",
        denied("EFBIG"),
    ),
    Program(
        "inodes",
        "disk",
        "use up the file system's entries with empty files",
        "for number in range(24_000): os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, 0o600))\n"
        "found(True)",
        _DISK,
    ),
    Program(
        "deep-folders",
        "disk",
        "make folders so deep that whoever removes them runs out of stack",
        "for _ in range(3000): os.mkdir('d'); os.chdir('d')\nend('MADE', 0)",
        everywhere(ends("MADE\n", refused=(("d/d/d", "deeper than"),), files=())),
        Shown("deep", 1000),
        collects=True,
    ),
    Program(
        "closed-folders",
        "disk",
        "leave folders that cannot be opened, so that they cannot be removed",
        """
os.makedirs("closed/inside"); open("closed/inside/file", "w").write("x")
os.chmod("closed/inside", 0); os.chmod("closed", 0); os.chmod(".", 0o100)
end("CLOSED", 0)
""",
        everywhere(ends("CLOSED\n")),
        Shown("unreadable"),
    ),
)

OUTPUT = (
    Program(
        "endless-output",
        "output",
        "fill the server with output",
        "while True: os.write(1, b'x' * 65536)",
        everywhere(timeout("x{65536}" + _CUT, truncated=True)),
        Shown("output", 4 * MB),
        limits=_TALKS,
    ),
    Program(
        "endless-errors",
        "output",
        "fill the server with error output",
        "while True: os.write(2, b'x' * 65536)",
        everywhere(timeout(truncated=True)),
        Shown("output", 4 * MB),
        limits=_TALKS,
    ),
    Program(
        "endless-output-of-many",
        "output",
        "fill the server with output of many processes, a byte at a time",
        "for _ in range(3): os.fork()\nwhile True: os.write(1, b'x')",
        everywhere(
            Expect(Outcome.TIMEOUT, "x{1,16384}(?:" + _CUT.replace("65536", "16384") + ")?", truncated=None)
        ),
        Shown("output", 70_000),
        limits={"timeout_ms": 1500, "output_bytes": 1 << 14},
    ),
    Program(
        "endless-lines-and-exit",
        "output",
        "have more kept than its limit by ending at once after it",
        "os.write(1, b'y' * (1 << 20)); os._exit(7)",
        everywhere(ends("y{65536}" + _CUT, 7, truncated=True)),
        Shown("output", 70_000),
        limits={"output_bytes": 1 << 16},
    ),
    Program(
        "closes-its-output",
        "output",
        "be taken for ended by closing its output",
        "os.close(1); os.close(2); os.close(0)\nimport time; time.sleep(0.3); os._exit(7)",
        everywhere(ends("", 7)),
        Shown("exits", 7),
    ),
    Program(
        "forged-end-marker",
        "output",
        "have output taken for cut off by printing the marker itself",
        "os.write(1, b'\\n[output limit of 65536 bytes reached; the rest was dropped]\\n'); os._exit(0)",
        everywhere(ends(_CUT)),
        NotShown(
            "without Thane nobody reads the marker; here the verdict itself says whether output was cut"
        ),
    ),
    Program(
        "escape-sequences",
        "output",
        "have its escape sequences changed or acted on before whoever reads them decides",
        r"os.write(1, b'\x1b]0;owned\x07\x1b[2J\x1b]52;c;b3duZWQ=\x07\x9b31m\x00\xff\xfe'); os._exit(0)",
        everywhere(
            ends(r"\x1b\]0;owned\x07\x1b\[2J\x1b\]52;c;b3duZWQ=\x07\x9b31m\x00\xff\xfe"),
        ),
        NotShown("the bytes do their evil in a terminal; what is shown is that they are kept as they are"),
    ),
    Program(
        "sends-to-its-reader",
        "output",
        "write to the reading end of its own output or to its input",
        """
import fcntl
kept = []
for number in (0, 1, 2):
    try: descriptor = os.open(f"/proc/self/fd/{number}", os.O_RDWR)
    except OSError as error: kept.append(errno.errorcode[error.errno]); continue
    if number == 0: os.write(descriptor, b"x"); found(True)
try: os.write(0, b"x")
except OSError: found(False)
found(True)
""",
        everywhere(stopped("NOTHING|DENIED EPERM")),
        stdin=b"given by the caller",
    ),
)
