"""The host's files: reading, writing, and everything else that a path can be given to."""

from __future__ import annotations

from tests.hostile.rows import NotShown, Program, Shown, denied, ends, escapes, everywhere, nothing, stopped

_NOT_THERE = "ENOENT"
_CLOSED = denied(_NOT_THERE, t1="EACCES")
_STAT = "Landlock does not guard `stat` and the like: whether a name exists, and its size, can be learnt"


def _file(name: str, aim: str, source: str, bare: Shown | NotShown | None = None, **more: object) -> Program:
    expect = more.pop("expect", _CLOSED)
    return Program(name, "host files", aim, source, expect, bare or Shown(), **more)  # type: ignore[arg-type]


FILES = (
    _file("read-a-host-file", "read a file of the host", "found(SECRET in open(H['file'], 'rb').read())"),
    _file(
        "read-the-database",
        "read the server's database",
        "found(SECRET in open(H['database'], 'rb').read())",
    ),
    _file("read-the-key", "read the server's key", "found(SECRET in open(H['key_file'], 'rb').read())"),
    _file(
        "read-by-a-shell",
        "read a file of the host by a shell's commands",
        'if [ "$(cat "$H_file")" = "$H_secret" ]; then echo REACHED; else exit 3; fi',
        language="shell",
        expect=everywhere(ends("", 3)),
    ),
    _file(
        "read-through-a-link",
        "read a file of the host through a symbolic link",
        "os.symlink(H['file'], 'link')\nfound(SECRET in open('link', 'rb').read())",
    ),
    _file(
        "read-through-dots",
        "read a file of the host by climbing out of its folder",
        "found(SECRET in open('../' * 40 + H['file'].lstrip('/'), 'rb').read())",
    ),
    _file(
        "read-through-own-root",
        "read a file of the host through /proc/self/root and /proc/self/cwd",
        "found(SECRET in read('/proc/self/root' + H['file'])\n"
        "      + read('/proc/self/cwd/' + '../' * 40 + H['file']))",
        expect=nothing(),
    ),
    _file("write-a-host-file", "change a file of the host", "open(H['file'], 'r+').write('x')\nfound(True)"),
    _file(
        "append-to-a-host-file",
        "append to a file of the host",
        "open(H['file'], 'a').write('x')\nfound(True)",
    ),
    _file("truncate-a-host-file", "cut a file of the host", "os.truncate(H['file'], 0)\nfound(True)"),
    _file("remove-a-host-file", "remove a file of the host", "os.unlink(H['victim'])\nfound(True)"),
    _file(
        "rename-a-host-file",
        "rename a file of the host",
        "os.rename(H['victim'], H['victim'] + '2')\nfound(True)",
    ),
    _file(
        "move-a-host-file-in",
        "move a file of the host into its workspace",
        "try: os.rename(H['victim'], 'victim')\n"
        "except OSError as error:\n"
        "    if error.errno == errno.EXDEV and os.path.exists(H['victim']):\n"
        "        import shutil; shutil.move(H['victim'], 'victim')\n"
        "    else: raise\n"
        "found(not os.path.exists(H['victim']))",
    ),
    _file(
        "link-a-host-file",
        "make a hard link to a file of the host",
        "os.link(H['file'], H['folder'] + '/linked')\nfound(True)",
    ),
    _file(
        "plant-a-host-file",
        "make a file in a folder of the host",
        "open(H['folder'] + '/planted', 'w').write('x')\nfound(True)",
    ),
    _file(
        "plant-a-host-folder",
        "make a folder on the host",
        "os.mkdir(H['folder'] + '/planted')\nfound(True)",
    ),
    _file(
        "plant-a-link",
        "make a symbolic link on the host",
        "os.symlink('/', H['folder'] + '/planted')\nfound(True)",
    ),
    _file(
        "plant-a-pipe", "make a named pipe on the host", "os.mkfifo(H['folder'] + '/planted')\nfound(True)"
    ),
    _file(
        "plant-in-the-system",
        "write into the system's folders",
        "open(H['system_folder'] + '/' + H['mark'], 'w').write('x')\nfound(True)",
        expect=denied("EROFS|EACCES|EPERM", t1="EACCES"),
    ),
    _file(
        "change-the-mode",
        "change who may read a file of the host",
        "os.chmod(H['victim'], 0o600)\nfound(True)",
        expect=denied(_NOT_THERE, t1="EPERM|EACCES"),
    ),
    _file(
        "change-the-owner",
        "take a file of the host",
        "os.chown(H['victim'], os.getuid(), os.getgid())\nfound(True)",
        expect=denied(_NOT_THERE, t1="EPERM|EACCES"),
    ),
    _file(
        "change-the-times",
        "change the times of a file of the host",
        "os.utime(H['victim'], (1, 1))\nfound(True)",
        expect=denied(_NOT_THERE, t1="EPERM|EACCES"),
    ),
    _file(
        "change-the-attributes",
        "change the extended attributes of a file of the host",
        "os.setxattr(H['victim'], 'user.thane', b'x')\nfound(True)",
        Shown(may_lack=("EOPNOTSUPP",)),
        expect=denied(_NOT_THERE, t1="ENOTSUP|EOPNOTSUPP"),
    ),
    _file(
        "read-the-attributes",
        "read the extended attributes of a file of the host",
        "os.listxattr(H['victim'])\nfound(True)",
        Shown(may_lack=("EOPNOTSUPP",)),
        expect=denied(_NOT_THERE, t1="ENOTSUP|EOPNOTSUPP"),
    ),
    _file(
        "change-the-mode-by-a-descriptor",
        "change who may read a file of the host by a descriptor that opens nothing (O_PATH)",
        "kept = os.open(H['victim'], os.O_PATH)\nsystem('fchmodat2', kept, b'', 0o600, 0x1000)\nfound(True)",
        Shown(may_lack=("ENOSYS",)),
        expect=denied(_NOT_THERE, t1="EPERM|ENOSYS"),
    ),
    _file(
        "change-the-mode-by-a-link",
        "change who may read a file of the host by a link in its own folder",
        "os.symlink(H['victim'], 'mine')\nos.chmod('mine', 0o600)\nfound(True)",
        expect=denied(_NOT_THERE, t1="EPERM"),
    ),
    _file(
        "change-the-mode-in-a-race",
        "change who may read a file of the host by exchanging a link while it is looked at",
        """
import threading, time
open("mine", "w").close(); os.symlink(H["victim"], "other")
def exchange():
    while True:
        libc.renameat2(-100, b"mine", -100, b"other", 2)
threading.Thread(target=exchange, daemon=True).start()
before, deadline = os.stat(H["victim"]).st_mode, time.monotonic() + 0.5
while time.monotonic() < deadline:
    for name in ("mine", "other"):
        try: os.chmod(name, 0o604)
        except OSError: pass
found(os.stat(H["victim"]).st_mode != before)
""",
        expect=everywhere(stopped("DENIED ENOENT"), t1=stopped("NOTHING"), t3=stopped(r"DENIED \w+|NOTHING")),
    ),
    _file(
        "change-the-times-by-a-descriptor",
        "change the times of a file of the host by a descriptor that opens nothing (O_PATH)",
        "kept = os.open(H['victim'], os.O_PATH)\n"
        "times = (ctypes.c_long * 4)(1, 0, 1, 0)\n"
        "call('utimensat', kept, b'', times, 0x1000)\nfound(True)",
        Shown(may_lack=("EINVAL",)),
        expect=denied(_NOT_THERE, t1="EPERM|EINVAL"),
    ),
    _file(
        "change-what-it-may-read",
        "change modes or times of what it may read: the interpreter and its library",
        """
changed = []
for path in (os.__file__, os.path.realpath(sys.executable), "/usr/lib", "/bin/sh"):
    try: kept = os.open(path, os.O_RDONLY)
    except OSError: continue
    for change in (lambda: os.fchmod(kept, 0o700), lambda: os.utime(kept), lambda: os.chmod(path, 0o700),
                   lambda: os.chown(kept, os.getuid(), -1), lambda: os.setxattr(kept, "user.thane", b"x")):
        try: change(); changed.append(path)
        except OSError: pass
found(changed)
""",
        NotShown("without a jail it changes the machine's own interpreter"),
        expect=nothing(),
    ),
    _file(
        "flags-of-what-it-may-read",
        "change the flags of what it may read (ioctl)",
        "import fcntl\nkept = os.open(os.__file__, os.O_RDONLY)\n"
        "fcntl.ioctl(kept, 0x40086602, (0).to_bytes(8, 'little'))\nfound(True)",
        NotShown("without a jail it changes the machine's own library"),
        expect=denied("EROFS|EPERM|EACCES|ENOTTY|EOPNOTSUPP", t1="EPERM"),
    ),
    _file(
        "lease-what-it-may-read",
        "make those wait who write to a file that it may only read (a lease)",
        """
try: kept = os.open(H["victim"], os.O_RDONLY)
except OSError: kept = os.open(os.__file__, os.O_RDONLY)
import fcntl
fcntl.fcntl(kept, fcntl.F_SETLEASE, fcntl.F_RDLCK); found(True)
""",
        expect=denied("EPERM"),
    ),
    _file(
        "hide-from-the-watchdog",
        "make itself a process that nobody may look into",
        "libc.prctl(4, 0, 0, 0, 0)\nfound(libc.prctl(3, 0, 0, 0, 0) == 0)",
        expect=everywhere(
            escapes("in a process namespace of its own it is counted all the same"), t1=stopped("NOTHING")
        ),
    ),
    _file("list-a-host-folder", "list a folder of the host", "found(os.listdir(H['folder']))"),
    _file(
        "learn-of-a-file",
        "learn whether a file of the host exists and how large it is",
        "found(os.stat(H['file']).st_size)",
        expect=everywhere(stopped("DENIED ENOENT"), t1=escapes(_STAT)),
    ),
    _file(
        "learn-where-a-link-leads",
        "learn where a symbolic link of the host leads",
        "found(H['secret'] in os.readlink(H['link']))",
        expect=everywhere(stopped("DENIED ENOENT"), t1=escapes(_STAT)),
    ),
    _file(
        "work-in-a-host-folder",
        "make a folder of the host its own and read from there",
        "os.chdir(H['folder'])\nfound(SECRET in open('file', 'rb').read())",
    ),
    _file(
        "watch-a-host-folder",
        "watch what happens in a folder of the host (inotify)",
        "watching = system('inotify_init1', 0)\n"
        "system('inotify_add_watch', watching, H['folder'].encode(), 0xFFF)\nfound(True)",
        expect=denied(_NOT_THERE, t1="EPERM"),
    ),
    _file(
        "lock-a-host-file",
        "lock a file of the host",
        "import fcntl\nfcntl.flock(open(H['file']), fcntl.LOCK_EX | fcntl.LOCK_NB)\nfound(True)",
    ),
    _file(
        "write-to-a-host-pipe",
        "write to a named pipe of the host",
        "os.open(H['fifo'], os.O_RDWR | os.O_NONBLOCK)\nfound(True)",
    ),
    _file(
        "run-a-host-program",
        "run a program of the host",
        "import subprocess\n"
        "found(b'REACHED' in subprocess.run([H['script']], capture_output=True, check=False).stdout)",
    ),
    _file(
        "read-shared-memory",
        "read what others keep in /dev/shm",
        "found(SECRET in open(H['shared'], 'rb').read())",
    ),
    _file(
        "know-the-accounts",
        "read the host's accounts, name and identity from /etc",
        "told = read('/etc/shadow') + read('/etc/hostname') + read('/etc/machine-id') + read('/etc/fstab')\n"
        "found(told or len(read('/etc/passwd').splitlines()) > 3)",
        expect=nothing(),
    ),
    _file(
        "write-over-the-interpreter",
        "change the interpreter that the next job runs on",
        "open(os.path.realpath(sys.executable), 'r+b').close()\nfound(True)",
        NotShown("without a jail it opens the machine's own interpreter for writing"),
        expect=denied("EROFS|EACCES|EPERM", t1="EACCES"),
    ),
    _file(
        "plant-byte-code",
        "plant byte code beside the standard library",
        "folder = os.path.join(os.path.dirname(os.__file__), '__pycache__')\n"
        "open(os.path.join(folder, 'json.' + H['mark'] + '.pyc'), 'wb').write(b'x')\nfound(True)",
        NotShown("without a jail it writes into the machine's own library"),
        expect=denied("EROFS|EACCES|EPERM|ENOENT"),
    ),
    _file(
        "installed-packages",
        "import what is installed for the server (its libraries, and Thane itself)",
        "import importlib.util, glob, sysconfig\n"
        "names = [n for n in ('thane', 'msgspec', 'apsw', 'pip', 'uvicorn') if importlib.util.find_spec(n)]\n"
        "folders = [lib + '/lib/python3*/*-packages' for lib in ('/usr', sys.prefix)]\n"
        "for path in [path for folder in folders for path in glob.glob(folder)]:\n"
        "    try: names += [n for n in os.listdir(path) if read(os.path.join(path, n))]\n"
        "    except OSError: pass\n"
        "found(names)",
        NotShown("what is installed beside the interpreter differs from machine to machine"),
        expect=nothing(),
    ),
)
