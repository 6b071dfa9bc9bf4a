"""What a row of the table says: a program, its limits, what must become of it on each tier.

A Python program is run with `PRELUDE` before it. It ends in one of three ways that can be told
apart by the verdict and by what it printed: `REACHED` and exit code 0 when it has done its evil,
`DENIED` with the error's name and exit code 3 when the kernel refused, `NOTHING` and exit code 3
when it looked for something and it was not there.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from thane.kernel.ports.isolation import Limits, Outcome, Tier, Verdict

MB = 1 << 20
LIMITS = Limits(
    memory_bytes=96 * MB, cpu_millicores=1000, disk_bytes=16 * MB, timeout_ms=30_000, processes=32
)
TIERS = (Tier.T2, Tier.T2_MINUS, Tier.T1, Tier.T3)
STOPPED = 3  # exit code of a program that could not do what it wanted

# System calls that Python has no function for, per machine.
_CALLS = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280),
    "capset": (126, 91), "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435),
    "fanotify_init": (300, 262), "fchmodat2": (452, 452), "finit_module": (313, 273), "fsopen": (430, 430),
    "get_robust_list": (274, 100), "init_module": (175, 105), "inotify_add_watch": (254, 27),
    "inotify_init1": (294, 26), "io_uring_setup": (425, 425), "ioprio_set": (251, 30),
    "kcmp": (312, 272), "kexec_load": (246, 104), "keyctl": (250, 219), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "mount_setattr": (442, 442), "move_pages": (279, 239),
    "mq_open": (240, 180), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "settimeofday": (164, 170), "swapon": (167, 224), "syslog": (103, 116), "tgkill": (234, 131),
    "userfaultfd": (323, 282), "vmsplice": (278, 75),
}  # fmt: skip
MACHINE = platform.machine()
CALLS = {name: numbers[MACHINE == "aarch64"] for name, numbers in _CALLS.items()}

PRELUDE = f"""
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
CALLS = {CALLS!r}
def call(name, *arguments):
    found = getattr(libc, name)(*arguments)
    if found == -1: raise OSError(ctypes.get_errno(), name)
    return found
def system(name, *arguments):
    found = libc.syscall(CALLS[name], *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if found == -1: raise OSError(ctypes.get_errno(), name)
    return found
def end(word, code):
    print(word, flush=True); os._exit(code)
def found(what):
    end("REACHED", 0) if what else end("NOTHING", {STOPPED})
def _hook(kind, error, trace):
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        end("DENIED " + errno.errorcode[error.errno], {STOPPED})
    sys.__excepthook__(kind, error, trace); sys.stderr.flush(); os._exit(1)
sys.excepthook = _hook
def numbers():
    return [name for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
def read(path):
    try: return open(path, "rb").read(1 << 20)
    except OSError: return b""
SECRET = H["secret"].encode()
"""


@dataclass(frozen=True)
class Expect:
    """What must be seen on a tier. `stdout` is a pattern for all of it, bytes read as Latin-1."""

    outcome: Outcome
    stdout: str = ""
    exit_code: int | None = None
    signal: int | None = None
    truncated: bool | None = False  # None: depends on how busy the machine is
    or_outcome: Outcome | None = None  # where two are right, the row says when which is
    message: str = ""  # a pattern in the verdict's message
    files: tuple[str, ...] | None = None  # names that come out; None: not collected
    refused: tuple[tuple[str, str], ...] = ()  # name and a part of the reason
    check: Callable[[Verdict], bool] | None = None  # of figures in the verdict
    job_refused: str = ""  # a pattern: the tier does not run such a job at all, and says why
    escapes: str = ""  # what the tier cannot stop, by design; then the program does reach its end

    def complaints(self, verdict: Verdict, stdout: bytes) -> list[str]:
        found: list[str] = []
        if verdict.outcome not in (self.outcome, self.or_outcome):
            found.append(f"the outcome is {verdict.outcome} and not {self.outcome}")
        if not re.fullmatch(self.stdout, stdout.decode("latin-1"), re.DOTALL):
            found.append(f"standard output is {stdout[:300]!r} and not {self.stdout!r}")
        if self.exit_code is not None and verdict.exit_code != self.exit_code:
            found.append(f"the exit code is {verdict.exit_code} and not {self.exit_code}")
        if self.signal is not None and verdict.signal != self.signal:
            found.append(f"the signal is {verdict.signal} and not {self.signal}")
        if self.truncated not in (None, verdict.stdout_truncated or verdict.stderr_truncated):
            found.append(f"cut off: {not self.truncated}")
        if not re.search(self.message, verdict.message):
            found.append(f"the message is {verdict.message!r} and does not say {self.message!r}")
        if self.check is not None and not self.check(verdict):
            found.append(f"the figures are wrong: {verdict.usage}")
        return found


Expectations = Mapping[Tier, Expect]


@dataclass(frozen=True)
class Shown:
    """How the program shows its evil without a jail, in a stand-in host of its own.

    `by`: `reached` (it says so), `outlives` (it still runs after `amount` ms), `processes` (more than
    `amount` at once), `output` (more than `amount` bytes), `leaves` (a process stays behind), `touches`
    (the stand-in's canary), `exits` (its exit code is `amount`), or what a naive reader of its files
    meets: `secret`, `fifo`, `sparse`, `name`, `many`, `deep`, `linked`, `setuid`, `socket`, `unreadable`.
    """

    by: str = "reached"
    amount: int = 0
    root_only: bool = False  # an ordinary user cannot do it anyway
    spare_uid: bool = False  # root runs it as another user: limits on processes do not hold root
    may_lack: tuple[str, ...] = ()  # error names that mean: this kernel or machine has no such thing
    namespaces: bool = False  # needs that new user namespaces are allowed


@dataclass(frozen=True)
class NotShown:
    """Why the program is not run without a jail."""

    reason: str


@dataclass(frozen=True)
class Program:
    name: str
    family: str
    aim: str  # completes "a program cannot …" in the documentation
    source: str
    expect: Expectations
    bare: Shown | NotShown = field(default_factory=Shown)
    language: str = "python"
    limits: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    collects: bool = False
    visited: bool = False  # somebody on the host knocks at `free_port` while it runs
    sequel: str = ""  # run in the next jail; must print NOTHING or DENIED
    as_user: Expectations = field(default_factory=dict)  # where an ordinary user's jail differs
    raw: bool = False  # the source is all of it: no prelude
    stateful: bool = False  # runs in a context of a stateful sandbox of its own, which is then closed
    package: str = ""  # what `import evil` runs, with the prelude before it; the source imports it

    @property
    def crowds(self) -> bool:
        """Whether it makes as many processes as it can: on T1 an ordinary user's other jails feel that."""
        return bool(self.as_user) or (isinstance(self.bare, Shown) and self.bare.by == "processes")

    def expected(self, tier: Tier, *, as_root: bool) -> Expect:
        if not as_root and tier in self.as_user:
            return self.as_user[tier]
        return self.expect[tier]

    def text(self, values: Mapping[str, object], source: str | None = None) -> str:
        """What is run: the same with and without a jail, but for the host it is told of."""
        body = self.source if source is None else source
        if self.stateful:  # a context shows errors itself, and asks no hook
            body = f"try: exec({body!r}, globals())\nexcept OSError as error: _hook(OSError, error, None)"
        return body if self.raw or self.language == "shell" else f"H = {dict(values)!r}\n{PRELUDE}\n{body}"


# -- expectations that many rows share --------------------------------------------------------------


def everywhere(expect: Expect, **other: Expect) -> Expectations:
    """The same on all tiers but for those named: `t2_minus`, `t1`, `t3`."""
    found = dict.fromkeys(TIERS, expect)
    for name, value in other.items():
        found[{"t2_minus": Tier.T2_MINUS, "t1": Tier.T1, "t3": Tier.T3, "t2": Tier.T2}[name]] = value
    return found


def in_sandboxes(expect: Expect) -> Expectations:
    """Of a stateful program: the tiers without stateful sandboxes refuse the job."""
    none = Expect(Outcome.FAILED, job_refused="no stateful sandboxes")
    return everywhere(expect, t1=none, t3=none)


def stopped(word: str) -> Expect:
    return Expect(Outcome.FAILED, f"(?:{word})\n", exit_code=STOPPED)


def denied(t2: str, t1: str | None = None, t2_minus: str | None = None) -> Expectations:
    """Refused with one of these error names. gVisor's kernel is another: there any refusal will do."""
    return {
        Tier.T2: stopped(f"DENIED (?:{t2})"),
        Tier.T2_MINUS: stopped(f"DENIED (?:{t2_minus or t2})"),
        Tier.T1: stopped(f"DENIED (?:{t1 or t2})"),
        Tier.T3: stopped(r"DENIED \w+|NOTHING"),
    }


def nothing(t1: str = "NOTHING") -> Expectations:
    """It looks and finds nothing; on T1 it may not even look."""
    return everywhere(stopped("NOTHING"), t1=stopped(t1), t3=stopped(r"DENIED \w+|NOTHING"))


def escapes(why: str, stdout: str = "REACHED\n") -> Expect:
    """By design the tier cannot stop it, and docs/isolation.md says so."""
    return Expect(Outcome.COMPLETED, stdout, exit_code=0, escapes=why)


def out_of_memory(stdout: str = "") -> Expect:
    return Expect(Outcome.OUT_OF_MEMORY, stdout, exit_code=137, signal=9, message="--memory")


def timeout(stdout: str = "", *, truncated: bool = False) -> Expect:
    return Expect(Outcome.TIMEOUT, stdout, exit_code=137, signal=9, message="--timeout", truncated=truncated)


def ends(stdout: str = "", code: int = 0, **more: object) -> Expect:
    outcome = Outcome.FAILED if code else Outcome.COMPLETED
    return Expect(outcome, stdout, exit_code=code, **more)  # type: ignore[arg-type]
