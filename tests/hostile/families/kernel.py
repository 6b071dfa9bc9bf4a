"""The kernel's own doors: namespaces, mounts, keys, devices, clocks, and calls nobody in a jail needs."""

from __future__ import annotations

from tests.hostile.rows import (
    MACHINE,
    Expect,
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
from thane.kernel.ports.isolation import Outcome

_REFUSED = denied("EPERM")
_ROOT = Shown(root_only=True)
_SPACE = Shown(namespaces=True)
_GLOBAL = "the kernel has one of these for all"


def _of(family: str, name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    bare = more.pop("bare", Shown())
    return Program(name, family, aim, source, expect, bare, **more)  # type: ignore[arg-type]


def _space(name: str, aim: str, source: str, expect: Expectations = _REFUSED, **more: object) -> Program:
    return _of("namespaces", name, aim, source, expect, **more)


_CLONE = """
child = system("clone", FLAGS | 17, 0, 0, 0, 0)
if child == 0: os._exit(0)
found(child > 0)
"""

NAMESPACES = (
    _space(
        "new-user-namespace",
        "make a user namespace, and be root in it",
        "call('unshare', 0x10000000)\nfound(True)",
        bare=_SPACE,
    ),
    *(
        _space(
            f"new-{name}-namespace",
            f"make a {name} namespace",
            f"call('unshare', {flag:#x})\nfound(True)",
            bare=_ROOT,
        )
        for name, flag in (
            ("mount", 0x20000),
            ("pid", 0x20000000),
            ("network", 0x40000000),
            ("ipc", 0x8000000),
            ("uts", 0x4000000),
            ("cgroup", 0x2000000),
            ("time", 0x80),
        )
    ),
    _space(
        "new-user-namespace-by-clone",
        "make a user namespace by clone",
        _CLONE.replace("FLAGS", "0x10000000"),
        bare=_SPACE,
    ),
    _space(
        "new-mount-namespace-by-clone",
        "make a user and a mount namespace by clone",
        _CLONE.replace("FLAGS", "0x10020000"),
        bare=_SPACE,
    ),
    _space(
        "new-user-namespace-by-clone3",
        "make a user namespace by clone3, whose flags a filter cannot read",
        "arguments = (ctypes.c_ulonglong * 8)(0x10000000, 0, 0, 0, 17)\n"
        "child = system('clone3', arguments, 64)\nif child == 0: os._exit(0)\nfound(child > 0)",
        denied("ENOSYS|EPERM"),
        bare=_SPACE,
    ),
    _space(
        "new-user-namespace-by-a-program",
        "make a user namespace by a program that the system has for it",
        "if unshare --user --map-root-user true 2>/dev/null; then echo REACHED; else exit 3; fi",
        everywhere(ends("", 3)),
        bare=_SPACE,
        language="shell",
    ),
    _space(
        "join-a-namespace",
        "join the namespace of another process",
        "call('setns', os.open(f\"/proc/{H['pid']}/ns/uts\", 0), 0)\nfound(True)",
        denied("ENOENT|EPERM", t1="EPERM|EACCES"),
        bare=_ROOT,
    ),
    _space(
        "join-by-descriptor",
        "join the namespaces of another process by a descriptor of it",
        "call('setns', system('pidfd_open', H['pid'], 0), 0x4000000)\nfound(True)",
        denied("ESRCH|EPERM", t1="EPERM"),
        bare=_ROOT,
    ),
    _space(
        "map-its-user",
        "change which user of the host it is",
        "os.write(os.open('/proc/self/uid_map', os.O_WRONLY), b'0 0 4294967295')\nfound(True)",
        denied("EPERM|EACCES|EROFS"),
        bare=NotShown(
            "a map is written once, by whoever made the namespace; without one there is nothing to write"
        ),
    ),
    _space(
        "lift-the-limit-on-namespaces",
        "allow namespaces again",
        "os.write(os.open('/proc/sys/user/max_user_namespaces', os.O_WRONLY), b'100')\nfound(True)",
        denied("EROFS|EACCES|EPERM"),
        bare=NotShown("it would change a setting of the machine"),
    ),
)


def _mount(name: str, aim: str, source: str, expect: Expectations = _REFUSED, **more: object) -> Program:
    return _of("mounts", name, aim, source, expect, **{"bare": _ROOT, **more})


MOUNTS = (
    _mount(
        "mount-memory",
        "mount a file system",
        "os.makedirs('m')\ncall('mount', b'thane-hostile', b'm', b'tmpfs', 0, None)\nfound(True)",
    ),
    _mount(
        "mount-proc",
        "mount another view of the processes",
        "os.makedirs('m')\ncall('mount', b'thane-hostile', b'm', b'proc', 0, None)\nfound(True)",
    ),
    _mount(
        "mount-over-a-host-folder",
        "mount over a folder of the host",
        "call('mount', b'thane-hostile', H['folder'].encode(), b'tmpfs', 0, None)\nfound(True)",
    ),
    _mount(
        "make-writable-again",
        "make the read-only root writable",
        "call('mount', None, b'/', None, ctypes.c_ulong(0x1020), None)\nfound(True)",
    ),
    _mount(
        "uncover-what-is-hidden",
        "take away a mount that hides something",
        "call('umount2', b'/dev/shm', 2)\nfound(True)",
    ),
    _mount(
        "mount-by-the-new-calls",
        "mount by the new calls, which older filters do not know",
        "system('fsopen', b'tmpfs', 0)\nfound(True)",
    ),
    _mount(
        "copy-a-tree",
        "copy the tree of mounts",
        "system('open_tree', -100, b'/', 1)\nfound(True)",
    ),
    _mount(
        "change-a-mount",
        "change the properties of a mount",
        "system('mount_setattr', -100, b'/tmp', 0, (ctypes.c_ulonglong * 4)(2, 0, 0, 0), 32)\nfound(True)",
    ),
    _mount("change-root", "change its root", "os.chroot('.')\nfound(True)"),
    _mount(
        "pivot-root",
        "exchange its root",
        "os.makedirs('new/old')\nsystem('pivot_root', b'new', b'new/old')\nfound(True)",
        bare=NotShown(
            "the kernel wants a mounted root of another device, which the program cannot make alone"
        ),
    ),
    _mount(
        "open-by-handle",
        "open a file by its handle, past all folders",
        "handle = (ctypes.c_int * 34)(128)\nmount = ctypes.c_int()\n"
        "system('name_to_handle_at', -100, b'/usr', ctypes.byref(handle), ctypes.byref(mount), 0)\n"
        "system('open_by_handle_at', os.open('/usr', os.O_RDONLY), ctypes.byref(handle), 0)\nfound(True)",
        bare=Shown(root_only=True, may_lack=("EOPNOTSUPP",)),
    ),
    _mount(
        "watch-all-files",
        "watch every file of a file system (fanotify)",
        "system('fanotify_init', 0, 0)\nfound(True)",
    ),
)


def _call(name: str, aim: str, source: str, expect: Expectations = _REFUSED, **more: object) -> Program:
    return _of("kernel calls", name, aim, source, expect, **more)


CALLS: tuple[Program, ...] = (
    _call(
        "io-uring",
        "do its calls where a filter does not see them (io_uring)",
        "system('io_uring_setup', 4, ctypes.create_string_buffer(120))\nfound(True)",
        bare=Shown(may_lack=("ENOSYS", "EPERM")),
    ),
    _call(
        "userfaultfd",
        "stop the kernel in the middle of a copy (userfaultfd)",
        "system('userfaultfd', 0)\nfound(True)",
        bare=Shown(root_only=True, may_lack=("ENOSYS",)),
    ),
    _call(
        "bpf",
        "load programs into the kernel (BPF)",
        "attributes = (ctypes.c_uint * 32)(1, 4, 4, 1)\nsystem('bpf', 0, attributes, 128)\nfound(True)",
        bare=_ROOT,
    ),
    _call(
        "perf",
        "count events of the processor, and so see what others do (perf)",
        "attributes = (ctypes.c_uint * 32)(1, 128)\nattributes[10] = 1 << 5 | 1 << 6\n"
        "system('perf_event_open', attributes, 0, -1, -1, 0)\nfound(True)",
        bare=Shown(may_lack=("ENOENT", "EOPNOTSUPP", "ENODEV", "EACCES")),
    ),
    _call(
        "add-a-key",
        "put a key into the kernel's keyring, which others of its user see",
        "key = system('add_key', b'user', b'thane-hostile', b'x', 1, -4)\n"
        "system('keyctl', 9, key, -4)\nfound(True)",
    ),
    _call("read-keys", "read the kernel's keyrings", "system('keyctl', 0, -4, 1)\nfound(True)"),
    _call(
        "request-a-key",
        "have the kernel start a program of the host for a key",
        "system('request_key', b'user', b'thane-hostile-none', None, 0)\nfound(True)",
        bare=NotShown("it would start a program of the machine's, as root"),
    ),
    _call(
        "newest-calls",
        "use calls that are newer than its filter",
        # setxattrat, getxattrat, listxattrat, removexattrat, file_getattr, file_setattr
        """
known = 0
for number in (463, 464, 465, 466, 468, 469):
    ctypes.set_errno(0); libc.syscall(number, -100, b"/nowhere", 0, 0, 0, 0)
    known += ctypes.get_errno() != errno.ENOSYS
found(known)
""",
        nothing(),
        bare=Shown(may_lack=("NOTHING",)),
    ),
    _call(
        "trace-itself",
        "be traced, and so change its calls after they are checked",
        "call('ptrace', 0, 0, None, None)\nfound(True)",
    ),
    _call(
        "personality",
        "turn off the protections of its memory layout",
        "call('personality', ctypes.c_ulong(0x0040000))\nfound(True)",
    ),
    _call(
        "load-a-kernel",
        "load another kernel",
        "system('kexec_load', 0, 0, None, 0)\nfound(True)",
        bare=NotShown("it would unload what the machine has loaded"),
    ),
    _call(
        "load-a-module",
        "load a module into the kernel",
        "system('init_module', None, 0, b'')\nfound(True)",
        bare=NotShown("it would change the machine's kernel"),
    ),
    _call(
        "load-a-module-from-a-file",
        "load a module into the kernel from a file",
        "system('finit_module', 0, b'', 0)\nfound(True)",
        bare=NotShown("it would change the machine's kernel"),
    ),
    _call(
        "restart-the-machine",
        "restart the machine",
        # A wrong magic number: even where it was allowed it would do nothing.
        "system('reboot', 1, 2, 3, None)\nfound(True)",
        bare=NotShown("it would restart the machine"),
    ),
    _call(
        "swap",
        "have the kernel put memory onto a file of its own",
        "open('swap', 'wb').write(bytes(1 << 20))\nsystem('swapon', b'swap', 0)\nfound(True)",
        bare=NotShown("it would change the machine's swap"),
    ),
    _call(
        "account",
        "have the kernel write down every process",
        "open('log', 'w').close()\nsystem('acct', b'log')\nfound(True)",
        bare=NotShown("it would change the machine's accounting"),
    ),
    _call(
        "quota",
        "change the quotas of users",
        "system('quotactl', 0x800001 << 8, None, 0, None)\nfound(True)",
        bare=NotShown("it would write the machine's quotas to its disk"),
    ),
    _call(
        "set-the-clock",
        "set the host's clock",
        "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)\nfound(True)",
        bare=NotShown("the clock is the whole machine's"),
    ),
    _call(
        "set-the-time",
        "set the host's time by the older call",
        "system('settimeofday', (ctypes.c_long * 2)(0, 0), None)\nfound(True)",
        bare=NotShown("the clock is the whole machine's"),
    ),
    _call(
        "bend-the-clock",
        "make the host's clock run faster",
        "system('adjtimex', ctypes.create_string_buffer(208))\nfound(True)",
    ),
    _call(
        "name-the-host",
        "change the host's name",
        "import socket\nsocket.sethostname('thane-hostile')\nfound(True)",
        bare=Shown("touches", root_only=True),
    ),
    _call(
        "name-the-domain",
        "change the host's domain",
        "call('setdomainname', b'thane-hostile', 13)\nfound(True)",
        bare=_ROOT,
    ),
    _call(
        "kernel-log",
        "read the kernel's log",
        "system('syslog', 10, None, 0)\nfound(True)",
        bare=_ROOT,
    ),
    _call(
        "splice-memory",
        "give the kernel pages and change them afterwards (vmsplice)",
        "pipe = os.pipe(); buffer = ctypes.create_string_buffer(16)\n"
        "vector = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 16)\n"
        "system('vmsplice', pipe[1], vector, 1, 0)\nfound(True)",
    ),
    _call(
        "read-a-segment",
        "read a System V segment of the host",
        "call('shmget', H['shm_key'], ctypes.c_size_t(4096), 0)\nfound(True)",
        denied("ENOENT", t1="EPERM", t2_minus="EPERM|ENOENT"),
    ),
    _call(
        "write-to-a-queue",
        "write to a System V queue of the host",
        "queue = call('msgget', H['shm_key'], 0)\n"
        "call('msgsnd', queue, ctypes.create_string_buffer(b'\\1' + bytes(15)), ctypes.c_size_t(4), 0)\n"
        "found(True)",
        denied("ENOENT", t1="EPERM", t2_minus="EPERM|ENOENT"),
        bare=Shown("touches"),
    ),
    _call(
        "other-call-numbers",
        "get past the filter by the numbers of another calling convention (x32)",
        "libc.syscall(0x40000000 | 101, 16, H['pid'], 0, 0)\nfound(ctypes.get_errno() != errno.ENOSYS)",
        everywhere(Expect(Outcome.FAILED, exit_code=159, signal=31)),
        bare=NotShown("hardly a kernel has that convention; a jail ends who tries"),
    ),
    _call(
        "old-call-gate",
        "get past the filter by the calls of 32-bit programs (int 0x80)",
        # mov eax,20 (getpid); int 0x80; ret
        "import mmap\ncode = mmap.mmap(-1, 4096, prot=7)\ncode.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n"
        "address = ctypes.addressof(ctypes.c_char.from_buffer(code))\n"
        "found(ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid())",
        everywhere(Expect(Outcome.FAILED, signal=31), t3=Expect(Outcome.FAILED)),
        bare=Shown(may_lack=("SIGSEGV",)),
    ),
)
if MACHINE != "x86_64":  # both are about the conventions of that machine
    CALLS = tuple(row for row in CALLS if row.name not in ("other-call-numbers", "old-call-gate"))


def _right(name: str, aim: str, source: str, expect: Expectations = _REFUSED, **more: object) -> Program:
    return _of("rights", name, aim, source, expect, **more)


RIGHTS = (
    _right("become-root", "become root", "os.setuid(0)\nfound(True)", denied("EPERM|EINVAL"), bare=_ROOT),
    _right(
        "become-another",
        "become another user",
        "os.setresuid(1, 1, 1)\nfound(True)",
        denied("EPERM|EINVAL"),
        bare=_ROOT,
    ),
    _right(
        "join-a-group", "join a group", "os.setgroups([0])\nfound(True)", denied("EPERM|EINVAL"), bare=_ROOT
    ),
    _right(
        "take-capabilities",
        "take capabilities",
        "header = (ctypes.c_uint * 2)(0x20080522, 0)\n"
        "wanted = (ctypes.c_uint * 6)(1 << 21, 1 << 21, 0, 0, 0, 0)\n"
        "system('capset', header, wanted)\nfound(True)",
        bare=_ROOT,
    ),
    _right(
        "gain-by-a-setuid-program",
        "become root by a program that is setuid",
        """
import glob, subprocess, stat
for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/newgrp", "/usr/bin/mount", "/usr/bin/chsh"):
    try: status = os.stat(path)
    except OSError: continue
    if not status.st_mode & stat.S_ISUID or status.st_uid != 0: continue
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", 2), 1); os.dup2(1, 2)
        os.close(0)
        pipe = os.pipe()  # it waits for a password that does not come
        os.execv(path, [path])
    import time
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        told = read(f"/proc/{child}/status").decode()
        if "Uid:" in told and path.split("/")[-1] in told.split("\\n")[0]:
            ids = told.split("Uid:")[1].split("\\n")[0].split()
            if "0" in ids[1:]: found(os.getuid() != 0)
        time.sleep(0.002)
found(False)
""",
        nothing(),
        bare=NotShown(
            "the system's setuid programs end too fast to be looked at; the next row shows the same"
        ),
    ),
    _right(
        "new-privileges",
        "get privileges by starting a program",
        "found(libc.prctl(39, 0, 0, 0, 0) != 1)",
        nothing(),
    ),
    _right(
        "loosen-its-filter",
        "take off its filter of system calls",
        "call('prctl', 22, 0, None)\ncall('prctl', 21, 0, 0, 0, 0)\nfound(True)",
        denied("EINVAL|EPERM"),
        bare=NotShown("without a jail there is no filter to take off"),
    ),
    _right(
        "traces-of-its-first-process",
        "dump the memory of what it runs in (a core file)",
        "import resource, signal\n"
        "try: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)\n"
        "except (OSError, ValueError): pass\nos.abort()",
        everywhere(Expect(Outcome.FAILED, signal=6, exit_code=134, files=())),
        bare=NotShown("where a core file goes is a setting of the whole machine"),
        collects=True,
    ),
    _right(
        "device-node",
        "make a device",
        "import stat\nos.mknod('disk', 0o666 | stat.S_IFBLK, os.makedev(8, 0))\nfound(True)",
        denied("EPERM|EACCES"),
        bare=_ROOT,
    ),
    _right(
        "devices",
        "open a device of the host: memory, disks, the kernel's log, virtual machines",
        """
opened = []
for name in ("mem", "kmsg", "port", "kvm", "fuse", "loop-control", "net/tun", "vda", "sda", "nvme0n1",
             "vhost-net", "uinput", "hpet", "rtc0", "snapshot", "cpu_dma_latency", "mapper/control", "vsock"):
    try: opened.append(os.close(os.open("/dev/" + name, os.O_RDONLY | os.O_NONBLOCK)))
    except OSError: pass
found(opened)
""",
        nothing(),
        bare=_ROOT,
    ),
    _right(
        "type-into-a-terminal",
        "type into a terminal (TIOCSTI)",
        "import fcntl\nmaster, slave = os.openpty()\nfcntl.ioctl(slave, 0x5412, b'x')\nfound(True)",
        denied("EPERM|EIO", t1="EPERM|EACCES|EIO|ENOENT"),
        bare=_ROOT,
    ),
    _right(
        "type-into-its-own-terminal",
        "type into the terminal that Thane was started from",
        "import fcntl\nterminal = os.open('/dev/tty', os.O_RDWR)\n"
        "fcntl.ioctl(terminal, 0x5412, b'x')\nfound(True)",
        denied("ENXIO|ENOENT|EIO|EPERM", t1="EACCES|ENXIO"),
        bare=NotShown("the stand-in has no terminal"),
    ),
    _right(
        "paste-into-a-console",
        "paste into a console (TIOCLINUX)",
        "import fcntl\nmaster, slave = os.openpty()\nfcntl.ioctl(slave, 0x541C, b'\\3')\nfound(True)",
        denied("EPERM|EIO", t1="EPERM|EACCES|EIO|ENOENT"),
        bare=NotShown("it works on a console only"),
    ),
    _right(
        "filesystem-tricks-with-flags",
        "use a file's flags (immutable) to keep it from being removed",
        "import fcntl\nfile = open('kept', 'w')\n"
        "fcntl.ioctl(file, 0x40086602, (16).to_bytes(8, 'little'))\nfound(True)",
        denied("EPERM|ENOTTY|EOPNOTSUPP"),
        bare=Shown(root_only=True, may_lack=("ENOTTY", "EOPNOTSUPP")),
    ),
)


def _leak(name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    return _of("/proc and /sys", name, aim, source, expect, **more)


_FIGURES = "a jail's /proc shows the kernel's global figures: memory, load, uptime, version, command line"

LEAKS = (
    _leak(
        "kernel-addresses",
        "learn the kernel's addresses",
        "lines = read('/proc/kallsyms').splitlines()[:200]\nfound(any(int(l.split()[0], 16) for l in lines))",
        nothing(),
        bare=Shown(root_only=True, may_lack=("NOTHING",)),
    ),
    _leak(
        "kernel-memory",
        "read the kernel's memory",
        "os.open('/proc/kcore', os.O_RDONLY)\nfound(True)",
        denied("EACCES|EPERM|ENOENT"),
        bare=Shown(root_only=True, may_lack=("ENOENT",)),
    ),
    _leak(
        "press-a-key-for-the-kernel",
        "press the keys for emergencies (sysrq)",
        "open('/proc/sysrq-trigger', 'w').close()\nfound(True)",
        denied("EROFS|EACCES|EPERM|ENOENT"),
        bare=Shown(root_only=True, may_lack=("ENOENT",)),
    ),
    _leak(
        "core-pattern",
        "have the kernel start a program on the host when something crashes",
        "text = open('/proc/sys/kernel/core_pattern', 'rb').read()\n"
        "os.write(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY), text)\nfound(True)",
        denied("EROFS|EACCES|EPERM"),
        bare=_ROOT,
    ),
    _leak(
        "module-program",
        "have the kernel start a program of its own for a module",
        "open('/proc/sys/kernel/modprobe', 'r+').close()\nfound(True)",
        denied("EROFS|EACCES|EPERM|ENOENT"),
        bare=Shown(root_only=True, may_lack=("ENOENT",)),
    ),
    _leak(
        "drop-caches",
        "slow the host down by throwing its caches away",
        "os.close(os.open('/proc/sys/vm/drop_caches', os.O_WRONLY))\nfound(True)",
        denied("EROFS|EACCES|EPERM"),
        bare=_ROOT,
    ),
    # Not those of which each namespace has its own: what a program sets there, only its jail sees.
    _leak(
        "all-settings",
        "change any setting of the kernel",
        """
opened = []
for folder, _, names in os.walk("/proc/sys"):
    if folder in ("/proc/sys/fs/mqueue", "/proc/sys/user") or folder.startswith("/proc/sys/net"): continue
    for name in names:
        if name.startswith(("msg", "shm", "sem", "auto_msg", "ns_last_pid", "pid_max")): continue
        try: os.close(os.open(f"{folder}/{name}", os.O_WRONLY)); opened.append(f"{folder}/{name}")
        except OSError: pass
print(*opened[:5], file=sys.stderr)
found(opened)
""",
        nothing(),
        bare=_ROOT,
    ),
    _leak(
        "sys-folder",
        "look at the host's devices in /sys",
        "found(os.listdir('/sys'))",
        denied("ENOENT", t1="EACCES"),
    ),
    _leak(
        "control-groups",
        "change or leave its control group",
        """
reached = []
for folder, folders, names in os.walk("/sys/fs/cgroup"):
    if len(reached) > 3: break
    for name in ("cgroup.procs", "tasks"):
        try: os.close(os.open(f"{folder}/{name}", os.O_WRONLY)); reached.append(folder)
        except OSError: pass
found(reached)
""",
        nothing(),
        bare=NotShown(
            "the stand-in sees the machine's control groups read-only, so that nothing can be changed"
        ),
    ),
    _leak(
        "host-name",
        "learn the host's name",
        "found(os.uname().nodename == H['host_name'])",
        everywhere(stopped("NOTHING"), t1=escapes("T1 is in the host's namespaces: its name can be read")),
    ),
    _leak(
        "host-figures",
        "learn the host's load, memory and uptime",
        "call('sysinfo', ctypes.create_string_buffer(128))\nfound(True)",
        everywhere(
            escapes("`sysinfo` tells everybody the host's load, memory and uptime"),
            t3=ends("REACHED\n"),
        ),
    ),
    _leak(
        "kernel-command-line",
        "read the command line of the host's kernel",
        "found(read('/proc/cmdline'))",
        everywhere(escapes(_FIGURES), t1=stopped("NOTHING"), t3=ends("REACHED\n")),
    ),
    _leak(
        "host-paths-in-mounts",
        "learn from its mounts where the server keeps its files",
        "told = read('/proc/self/mountinfo')\n"
        "found(b'/thane-isolation' in told or b'canary' in told or H['secret'].encode() in told)",
        nothing(),
        bare=NotShown("what it looks for is the making of a jail"),
    ),
    _leak(
        "login-identity",
        "learn or change as whom the host has logged it in",
        "os.write(os.open('/proc/self/loginuid', os.O_WRONLY), b'0')\nfound(True)",
        denied("EPERM|EACCES|EROFS|ENOENT|EINVAL"),
        bare=NotShown("the kernel counts it for the whole session of whoever runs the tests"),
    ),
)
