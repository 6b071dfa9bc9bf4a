"""What comes out of a workspace: links, pipes, names and sizes that harm a naive reader."""

from __future__ import annotations

from tests.hostile.rows import MB, NotShown, Program, Shown, denied, ends, everywhere, stopped


def _out(
    name: str,
    aim: str,
    source: str,
    by: str,
    refused: tuple[tuple[str, str], ...] = (),
    files: tuple[str, ...] = (),
    **more: object,
) -> Program:
    expect = more.pop("expect", everywhere(ends("MADE\n", files=files, refused=refused)))
    bare = more.pop("bare", Shown(by, int(str(more.pop("amount", 0)))))
    text = source + "\nend('MADE', 0)"
    return Program(name, "outputs", aim, text, expect, bare, collects=True, **more)  # type: ignore[arg-type]


_LINK = "symbolic link"

OUTPUTS = (
    _out(
        "link-to-a-secret",
        "have a host's file copied out by a symbolic link",
        "os.symlink(H['file'], 'result.txt')",
        "secret",
        (("result.txt", _LINK),),
    ),
    _out(
        "link-to-the-database",
        "have the server's database copied out by a symbolic link",
        "os.makedirs('out'); os.symlink(H['database'], 'out/data.db')",
        "secret",
        (("out/data.db", _LINK),),
    ),
    _out(
        "folder-link",
        "have a host's folder copied out by a link to it",
        "os.symlink(H['folder'], 'out')",
        "secret",
        (("out", _LINK),),
    ),
    _out(
        "link-by-dots",
        "have a host's file copied out by a relative link",
        "os.symlink('../' * 40 + H['file'].lstrip('/'), 'result.txt')",
        "secret",
        (("result.txt", _LINK),),
    ),
    _out(
        "link-to-an-environment",
        "have the environment of whoever copies copied out",
        "os.symlink('/proc/self/environ', 'result.txt')",
        "secret",
        (("result.txt", _LINK),),
        bare=NotShown("the stand-in's reader has no secret in its environment"),
    ),
    _out(
        "link-to-an-endless-file",
        "have an endless file copied out",
        "os.symlink('/dev/zero', 'zero.bin')",
        "secret",
        (("zero.bin", _LINK),),
        bare=NotShown("a naive reader would not come back"),
    ),
    _out(
        "link-to-itself",
        "keep a reader busy with links in a circle",
        "os.symlink('b', 'a'); os.symlink('a', 'b')",
        "secret",
        (("a", _LINK), ("b", _LINK)),
        bare=NotShown("the kernel itself refuses to follow a circle"),
    ),
    Program(
        "link-over-an-input",
        "outputs",
        "have a host's file copied out in place of an input file",
        "os.unlink('input.txt'); os.symlink(H['file'], 'input.txt')\nend('MADE', 0)",
        everywhere(ends("MADE\n", files=(), refused=(("input.txt", _LINK),))),
        Shown("secret"),
        files={"input.txt": b"given"},
        collects=True,
    ),
    Program(
        "folder-over-an-input",
        "outputs",
        "have a host's folder copied out in place of an input's folder",
        "import shutil\nshutil.rmtree('in'); os.symlink(H['folder'], 'in')\nend('MADE', 0)",
        everywhere(ends("MADE\n", files=(), refused=(("in", _LINK),))),
        Shown("secret"),
        files={"in/file": b"given"},
        collects=True,
    ),
    _out(
        "hard-link-to-a-secret",
        "have a host's file copied out by a hard link",
        "os.link(H['file'], 'result.txt')",
        "secret",
        expect=denied("ENOENT", t1="EACCES|EXDEV|EPERM"),
        bare=Shown("secret"),
    ),
    _out(
        "hard-links-among-its-own",
        "have one file counted once and copied out many times",
        "open('a', 'w').write('x')\nfor n in range(10): os.link('a', f'a{n}')",
        "linked",
        (("a", "hard link"), ("a9", "hard link")),
    ),
    _out(
        "named-pipe",
        "have a reader wait for ever at a named pipe",
        "os.mkfifo('result.txt')",
        "fifo",
        (("result.txt", "named pipe"),),
    ),
    _out(
        "unix-socket-file",
        "have a reader meet a socket where it expects a file",
        "import socket\nkept = socket.socket(socket.AF_UNIX); kept.bind('result.txt')",
        "socket",
        expect=everywhere(
            ends("MADE\n", files=(), refused=(("result.txt", "socket"),)), t1=stopped("DENIED EPERM")
        ),
        bare=Shown("socket"),
    ),
    Program(
        "sparse-files",
        "outputs",
        "have more copied out than its disk by files that are mostly holes",
        f"for n in range(4): os.truncate(os.open(f'{{n}}.bin', os.O_CREAT | os.O_WRONLY), {10 * MB})\n"
        f"end('MADE', 0)",
        # Which of them comes out depends on the order in which the folder lists them: only one fits.
        everywhere(ends("MADE\n", refused=((".bin", "bytes long"),))),
        Shown("sparse", MB),
        collects=True,
    ),
    _out(
        "name-that-breaks-a-line",
        "forge a line of a listing by a name with a line's end",
        "open('a\\nb: ok', 'w').write('x')",
        "name",
        (("a\\nb: ok", "control"),),
    ),
    _out(
        "name-that-moves-the-cursor",
        "move a terminal's cursor by a name with an escape sequence",
        "open('\\x1b[2Ka', 'w').write('x')",
        "name",
        (("\\x1b[2Ka", "control"),),
    ),
    _out(
        "name-that-is-not-text",
        "break a reader by a name that is not UTF-8",
        "open(b'\\xff\\xfe', 'w').write('x')",
        "name",
        (("\\xff\\xfe", "UTF-8"),),
    ),
    _out(
        "name-for-another-system",
        "climb out of a folder on another system by a name with backslashes",
        "open('..\\\\..\\\\startup.bat', 'w').write('x')",
        "name",
        (("..\\..\\startup.bat", "backslash"),),
    ),
    _out(
        "name-that-reads-backwards",
        "have a program taken for a picture by a name that turns its direction",
        "open('invoice\\u202egnp.exe', 'w').write('x')",
        "name",
        (("invoice", "control"),),
    ),
    _out(
        "name-with-another-line-end",
        "forge a line of a listing by a line's end that is not ASCII",
        "open('a\\u2028b: ok', 'w').write('x')",
        "name",
        (("a\\u2028b: ok", "control"),),
    ),
    _out(
        "names-that-fill-the-verdict",
        "break the connection of all jobs by names that make the verdict larger than a frame may be",
        "os.makedirs('d'); os.chdir('d')\n"
        "for n in range(1500): open('\\U0001F600' * 60 + str(n), 'w').close()\n"
        "for n in range(1500): os.symlink('x', '\\U0001F600' * 60 + f's{n}')",
        "many",
        expect=everywhere(ends("MADE\n", check=lambda verdict: verdict.files_left_out > 1000)),
        bare=NotShown("without Thane there is no verdict to fill"),
    ),
    _out(
        "longest-names",
        "break a reader by the longest path",
        "os.makedirs('/'.join(['d' * 200] * 6))\nopen('/'.join(['d' * 200] * 6) + '/f', 'w').write('x')",
        "deep",
        (("ddd", "longer than"),),
        bare=Shown("deep", 4),
    ),
    _out(
        "too-many-files",
        "drown a reader in files",
        "for n in range(1500): open(str(n), 'w').close()",
        "many",
        expect=everywhere(ends("MADE\n", check=lambda verdict: verdict.files_left_out == 500)),
        bare=Shown("many", 1000),
    ),
    _out(
        "setuid-file",
        "have a program copied out that runs as whoever owns it",
        "open('tool', 'w').write('x'); os.chmod('tool', 0o6755)",
        "setuid",
        files=("tool",),
    ),
    _out(
        "device-file",
        "have a device copied out",
        "import stat\nos.mknod('disk', 0o666 | stat.S_IFCHR, os.makedev(1, 5))",
        "secret",
        expect=denied("EPERM|EACCES"),
        bare=NotShown("the row device-node shows that devices can be made"),
    ),
    _out(
        "unreadable-file",
        "keep its other files from coming out by one that cannot be read",
        "open('closed', 'w').write('x'); os.chmod('closed', 0); open('open', 'w').write('x')",
        "unreadable",
        expect=everywhere(ends("MADE\n", files=("closed", "open"))),
        bare=Shown("unreadable"),
    ),
    _out(
        "workspace-replaced",
        "have another folder taken for its workspace",
        "try: os.rename(os.environ['HOME'], os.environ['HOME'] + '2')\n"
        "except OSError: pass\n"
        "try: os.rmdir(os.environ['HOME']); os.symlink(H['folder'], os.environ['HOME'])\n"
        "except OSError: pass",
        "secret",
        bare=NotShown("only a jail has a workspace"),
    ),
)
