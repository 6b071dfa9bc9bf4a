"""Our own code that runs beside a program: modules that stand before ours, encodings, ways of ending."""

from __future__ import annotations

from tests.hostile.rows import Expect, Expectations, NotShown, Program, Shown, ends, everywhere
from thane.kernel.ports.isolation import Outcome

_SHOUT = b"import os\nos.write(1, b'REACHED\\n')\n"
_SHADOWED = (
    "json os site sitecustomize usercustomize types encodings codecs linecache traceback marshal select"
    " signal resource io abc ctypes _ctypes stat genericpath posixpath importlib __main__ jailed main"
    " runpy zipimport"
).split()
_MODULES = {f"{name}.py": _SHOUT for name in _SHADOWED} | {
    "sitecustomize/__init__.py": _SHOUT,
    "evil.pth": b"import os; os.write(1, b'REACHED\\n')\n",
    "pyvenv.cfg": b"home = .\n",
}
_OURS = NotShown("what it attacks is our own code, which runs in a jail only")


def _row(name: str, aim: str, source: str, expect: Expectations, **more: object) -> Program:
    bare = more.pop("bare", _OURS)
    return Program(name, "trusted code", aim, source, expect, bare, raw=True, **more)  # type: ignore[arg-type]


_FAILED = Expect(Outcome.FAILED, exit_code=1)

TRUSTED = (
    _row(
        "modules-in-the-workspace",
        "have its modules run by our code before it starts or after it has ended",
        "print('done')",
        everywhere(ends("done\n")),
        files=_MODULES,
    ),
    _row(
        "modules-when-it-ends-by-error",
        "have its modules run in place of ours when an error is shown",
        "raise RuntimeError('on purpose')",
        everywhere(Expect(Outcome.FAILED, exit_code=1)),
        files={f"{name}.py": _SHOUT for name in ("json", "marshal", "select", "site", "types")},
    ),
    _row(
        "python-variables",
        "have our interpreter obey variables of its environment",
        "print('done')",
        everywhere(ends("done\n")),
        files={**_MODULES, "evil.so": b"not a library"},
        env={
            "PYTHONPATH": "/workspace",
            "PYTHONSTARTUP": "/workspace/json.py",
            "PYTHONHOME": "/workspace",
            "PYTHONINSPECT": "1",
            "PYTHONBREAKPOINT": "os.system",
            "LD_PRELOAD": "/workspace/evil.so",
            "LD_LIBRARY_PATH": "/workspace",
            "PYTHONWARNINGS": "error",
        },
    ),
    _row(
        "import-hooks",
        "come between our code and its imports by a hook",
        "import sys\nclass Hook:\n    def find_spec(self, *a): raise SystemExit(0)\n"
        "sys.meta_path.insert(0, Hook()); sys.path[:] = []\nraise RuntimeError('on purpose')",
        everywhere(Expect(Outcome.FAILED, or_outcome=Outcome.COMPLETED)),
    ),
    _row(
        "ends-in-an-exit-handler",
        "change its exit code in an exit handler to one that Thane gives a meaning",
        "import atexit, os\natexit.register(os._exit, 126)\nraise RuntimeError('on purpose')",
        everywhere(ends("", 126)),
        bare=Shown("exits", 126),
    ),
    _row(
        "kills-itself",
        "be taken for anything but killed when it kills itself",
        "import os\nprint('begun', flush=True)\nos.kill(os.getpid(), 9)",
        everywhere(Expect(Outcome.HOST_KILLED, "begun\n", exit_code=137, signal=9)),
        bare=Shown("exits", -9),
    ),
    _row(
        "crashes",
        "crash more than itself",
        "import ctypes\nprint('begun', flush=True)\nctypes.string_at(0)",
        everywhere(Expect(Outcome.FAILED, "begun\n", exit_code=139, signal=11)),
        bare=Shown("exits", -11),
    ),
    _row(
        "endless-recursion",
        "break our code by a stack that has no end",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f() + [f]\n"
        "class A:\n    def __getattr__(self, name): return getattr(self, name + 'x')\n"
        "import ctypes\nfor _ in range(3):\n    try: f()\n"
        "    except RecursionError: pass\n    except MemoryError: break\n",
        everywhere(Expect(Outcome.FAILED, or_outcome=Outcome.OUT_OF_MEMORY)),
        bare=NotShown("it ends by memory or by its stack, whichever is less; nothing but itself is harmed"),
        limits={"memory_bytes": 64 << 20},
    ),
    _row(
        "code-that-does-not-parse",
        "break our code by code that cannot be parsed",
        "def (:\n",
        everywhere(_FAILED),
        bare=Shown("exits", 1),
    ),
    _row(
        "code-with-zeros",
        "break our code by zero bytes in it",
        "print('a')\0print('b')",
        everywhere(_FAILED),
        bare=NotShown("a command line cannot hold a zero byte"),
    ),
    _row(
        "code-in-another-encoding",
        "hide its code behind another encoding",
        "# -*- coding: utf-7 -*-\n+AHAAcgBpAG4AdAAoACcAaABpAGQAZABlAG4AJwAp-\n",
        everywhere(ends("hidden\n")),
        bare=NotShown(
            "a command line is always UTF-8; what is shown is that the code runs as Python defines it"
        ),
    ),
    _row(
        "code-nested-too-deep",
        "break our parser by nesting",
        "(" * 5000 + ")" * 5000,
        everywhere(_FAILED),
        bare=Shown("exits", 1),
    ),
    _row(
        "code-that-compiles-to-much",
        "use much memory while our code compiles it",
        "x = ((((1 << 33) << 33) << 33),) * 10 ** 8\n",
        everywhere(Expect(Outcome.OUT_OF_MEMORY)),
        bare=NotShown("800 MB on a shared machine; the rows on memory show the same with less"),
    ),
    _row(
        "surrogates-in-output",
        "break our code by text that cannot be encoded",
        "print('\\ud800')",
        everywhere(_FAILED),
        bare=Shown("exits", 1),
    ),
    _row(
        "replaced-builtins",
        "replace what our code uses after it has ended",
        "import builtins, os, sys\nfor name in ('open', 'print', 'exec', 'compile', 'getattr', 'len'):\n"
        "    setattr(builtins, name, lambda *a, **k: os._exit(0))\n"
        "sys.stdout = sys.stderr = None\nsys.excepthook = None\nos.write(1, b'here\\n')\nraise SystemExit(4)",
        everywhere(ends("here\n", 4)),
        bare=Shown("exits", 4),
    ),
    _row(
        "collector-tricks",
        "run code of its own after its end by the garbage collector",
        "import gc, os, sys\nclass Late:\n    def __del__(self): os._exit(0)\nkept = Late(); kept.me = kept\n"
        "gc.callbacks.append(lambda *a: None)\ngc.disable()\nos.write(1, b'here\\n')\nsys.exit(4)",
        # It may choose its own exit code in any way; it is still its own.
        everywhere(Expect(Outcome.COMPLETED, "here\n", or_outcome=Outcome.FAILED)),
        bare=NotShown("whether it comes to that depends on the order in which the interpreter ends"),
    ),
    _row(
        "profile-and-trace",
        "follow our code by a trace function",
        "import sys, threading\nseen = []\ndef trace(frame, event, argument):\n"
        "    seen.append(frame.f_code.co_filename); return trace\n"
        "sys.settrace(trace); sys.setprofile(trace)\n"
        "frame = sys._getframe()\nnames = set()\n"
        "while frame: names.update(frame.f_locals); frame = frame.f_back\n"
        "print(any('status' == n or 'secret' in n for n in names))",
        everywhere(ends("False\n")),
    ),
    _row(
        "huge-arguments",
        "exhaust the host's tables by the largest arguments",
        "import os\ntry: os.execve('/bin/true', ['x' * 131000] * 200, {})\n"
        "except OSError as error: print(error.strerror)",
        everywhere(Expect(Outcome.FAILED, "(?:Argument list too long\n)?", or_outcome=Outcome.COMPLETED)),
        bare=NotShown("the kernel itself bounds arguments; they count as memory"),
    ),
    _row(
        "spoils-its-terminal-settings",
        "change the settings of the terminal that Thane was started from",
        "import os, sys, termios\nfor number in range(3):\n"
        "    try: termios.tcgetattr(number); print('REACHED')\n    except termios.error: pass\nprint('none')",
        everywhere(ends("none\n")),
        bare=NotShown("the stand-in has no terminal"),
    ),
    _row(
        "shell-start-files",
        "have a shell run its files before the code",
        "echo done",
        everywhere(ends("done\n")),
        language="shell",
        files={
            ".bashrc": b"echo REACHED\n",
            ".profile": b"echo REACHED\n",
            ".bash_profile": b"echo REACHED\n",
        },
    ),
    _row(
        "shell-functions-in-variables",
        "have a shell define functions from variables (shellshock)",
        "echo done",
        everywhere(ends("done\n")),
        language="shell",
        env={"HARMLESS": "() { :; }; echo REACHED"},
    ),
)
