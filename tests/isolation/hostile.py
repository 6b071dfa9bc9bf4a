"""Programs that try to get out, each with its canary on the host.

Each entry's code prints REACHED when it has done what it must not be able to do. The
test runs it without a jail first, where it must succeed, then in the jail, where it
must not. `{…}` are filled from the canary's values.
"""

from __future__ import annotations

from dataclasses import dataclass

_LIBC = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"


@dataclass(frozen=True)
class Attack:
    name: str
    code: str
    needs_root: bool = False  # without a jail it works as root only
    needs_namespaces: bool = False  # without a jail it works only where the kernel allows new ones


ATTACKS = (
    Attack("read-host-file", "if open({file!r}).read() == {secret!r}: print('REACHED')"),
    Attack("write-host-folder", "open({folder!r} + '/planted', 'w').write('x'); print('REACHED')"),
    Attack("delete-host-file", "import os; os.unlink({victim!r}); print('REACHED')"),
    Attack(
        "servers-environment",
        """
import os
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try: content = open(f"/proc/{{pid}}/environ", "rb").read()
        except OSError: continue
        if {secret!r}.encode() in content: print("REACHED"); break
""",
    ),
    Attack(
        "files-through-other-processes-roots",
        """
import os
for pid in os.listdir("/proc"):
    if pid.isdigit():
        try: content = open(f"/proc/{{pid}}/root{file}").read()
        except OSError: continue
        if content == {secret!r}: print("REACHED"); break
""",
    ),
    Attack(
        "other-jails-workspace",
        """
import glob, os
places = ["/proc/%s/root/workspace" % pid for pid in os.listdir("/proc") if pid.isdigit()]
places += ["/proc/%s/cwd" % pid for pid in os.listdir("/proc") if pid.isdigit()]
places += glob.glob("/tmp/thane-isolation-*/jobs/*/workspace")
for place in places:
    try: content = open(place + "/secret-of-another-jail").read()
    except OSError: continue
    if content == {secret!r}: print("REACHED"); break
""",
    ),
    Attack(
        "host-network",
        "import socket; socket.create_connection(('127.0.0.1', {port}), 5).sendall(b'x'); print('REACHED')",
    ),
    Attack(
        "abstract-socket",
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0' + {abstract!r}); print('REACHED')",
    ),
    Attack(
        "isolation-socket",
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect({socket!r}); print('REACHED')",
    ),
    Attack("kill-host-process", "import os; os.kill({pid}, 9); print('REACHED')"),
    Attack(
        "limits-of-host-process",
        "import resource; resource.prlimit({pid}, resource.RLIMIT_NOFILE, (3, 3)); print('REACHED')",
    ),
    Attack(
        "priority-of-host-process",
        "import os; os.setpriority(os.PRIO_PROCESS, {pid}, 19); print('REACHED')",
    ),
    Attack(
        "ptrace",
        _LIBC + "if libc.ptrace(16, {pid}, None, None) == 0:\n"
        "    libc.ptrace(17, {pid}, None, None); print('REACHED')",
    ),
    Attack(
        "read-host-memory",
        _LIBC
        + """
class Iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
start = int(open("/proc/{pid}/maps").readline().split("-")[0], 16)
buffer = ctypes.create_string_buffer(16)
mine, theirs = Iovec(ctypes.addressof(buffer), 16), Iovec(start, 16)
if libc.process_vm_readv({pid}, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0) == 16: print("REACHED")
""",
    ),
    Attack(
        "user-namespace",
        _LIBC + "if libc.unshare(0x10000000) == 0: print('REACHED')",
        needs_namespaces=True,
    ),
    Attack(
        "user-namespace-by-clone",
        _LIBC
        + """
pid = libc.syscall({clone}, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
if pid > 0: print("REACHED")
""",
        needs_namespaces=True,
    ),
    Attack(
        "keyring",
        _LIBC
        + "if libc.syscall({add_key}, b'user', b'thane-test', b'x', 1, 0xFFFFFFFF) > 0: print('REACHED')",
    ),
    Attack(
        "system-v-shared-memory",
        _LIBC + "if libc.shmget({shm_key}, 4096, 0) >= 0: print('REACHED')",
    ),
    Attack(
        "netlink",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); print('REACHED')",
    ),
    Attack(
        "io-uring",
        _LIBC
        + "params = ctypes.create_string_buffer(120)\n"
        + "if libc.syscall(425, 4, params) >= 0: print('REACHED')",
    ),
    Attack(
        "mount",
        _LIBC + "if libc.mount(b't', {folder!r}.encode(), b'tmpfs', 0, None) == 0:\n"
        "    libc.umount2({folder!r}.encode(), 2); print('REACHED')",
        needs_root=True,
    ),
    Attack("chroot", "import os; os.chroot({folder!r}); print('REACHED')", needs_root=True),
    Attack(
        "device-node",
        "import os, stat; os.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3)); print('REACHED')",
        needs_root=True,
    ),
    Attack(
        "join-namespace",
        "import os\n" + _LIBC + "if libc.setns(os.open('/proc/{pid}/ns/uts', 0), 0) == 0: print('REACHED')",
        needs_root=True,
        needs_namespaces=True,
    ),
    Attack(
        "host-name",
        "import socket; socket.sethostname(socket.gethostname()); print('REACHED')",
        needs_root=True,
    ),
    Attack(
        "kernel-settings",
        "path = '/proc/sys/kernel/core_pattern'; text = open(path).read()\n"
        "open(path, 'w').write(text); print('REACHED')",
        needs_root=True,
    ),
    Attack(
        "terminal-injection",
        "import fcntl, os\nmaster, slave = os.openpty()\nfcntl.ioctl(slave, 0x5412, b'x'); print('REACHED')",
        needs_root=True,
    ),
    Attack(
        "become-root", "import os; os.setuid(0); os.chown({file!r}, 0, 0); print('REACHED')", needs_root=True
    ),
    Attack(
        "bpf",
        _LIBC + "attr = (ctypes.c_uint * 32)(1, 4, 4, 1)\n"
        "if libc.syscall({bpf}, 0, attr, 128) >= 0: print('REACHED')",
        needs_root=True,
    ),
)
