"""What runs inside a jail: the trusted process that supervises, and what becomes the caller's program.

The zygote imports it. For tier T1 the isolation program compiles this file and runs it
alone, so it imports the standard library only, and little of it. The supervisor holds
nothing secret and is trusted with three things only: to tell the exit status, to end
everything in the jail, and to reap it so that its CPU time is counted. Limits and the
clock are enforced from outside.
"""

from __future__ import annotations

import _weakref  # the Python half is not always there
import builtins
import marshal
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import select
    import types

# Functions below have builtins of their own: a program may replace those that it sees, and ends as it would.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

SOURCE_NAME = "main.py"
_SIGKILL, _SIGPIPE, _SIGXFSZ = 9, 13, 25
_REAP_EVERY_MS = 200
_PR_SET_DUMPABLE = 4
GUEST_PLAN, GUEST_MARKER = "/run/code/plan", "/tmp/.thane-started"
# What an interpreter ends with when its streams cannot be flushed; 256 is no exit code: ends by the signal.
_NOT_FLUSHED, _INTERRUPTED = 120, 256

Spec = dict[str, Any]


def read_spec(source: int | str) -> Spec:
    """The execution's plan. It comes from the isolation program, so `marshal` may be used on it."""
    with open(source, "rb") as file:
        spec: Spec = marshal.loads(file.read())
    return spec


# -- the supervisor -------------------------------------------------------------------


def supervise(
    child: int,
    control: int,
    status: int,
    kill_all: Callable[[], None],
    ending: Callable[[], None],
    attended: tuple[int, Callable[[], None]] | None = None,
) -> None:
    """Wait until `child` ends or `control` says stop; then end and reap everything, and report on `status`.

    `control` is a pipe: a byte or its closing (the isolation program died) means stop.
    `attended` is a descriptor, and what to do when something comes there.
    """
    poller = _poller(control, os.pidfd_open(child), *((attended[0],) if attended is not None else ()))
    result: int | None = None
    cpu, peak = 0.0, 0

    def reap(flags: int) -> bool:
        """Reap one process; False when there is none to reap now."""
        nonlocal result, cpu, peak
        try:
            pid, code, usage = os.wait4(-1, flags)
        except ChildProcessError:
            return False
        if pid == 0:
            return False
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
        if pid == child:
            result = code
        return True

    while True:
        while reap(os.WNOHANG):
            pass
        if result is not None:
            break
        # Now and then reap the orphans that have come to us: zombies count as processes.
        if control in _stirred(poller, attended):
            break

    kill_all()
    while reap(0):
        kill_all()
    ending()
    if result is None:
        how, value = "signal", _SIGKILL
    elif os.WIFSIGNALED(result):
        how, value = "signal", os.WTERMSIG(result)
    else:
        how, value = "exit", os.WEXITSTATUS(result)
    read, written = own_io()
    report = f"{how} {value}\ncpu_us {int(cpu * 1e6)}\npeak {peak * 1024}\nread {read}\nwritten {written}\n"
    os.write(status, report.encode())


def _poller(*descriptors: int) -> select.poll:
    import select

    made = select.poll()
    for descriptor in descriptors:
        made.register(descriptor, select.POLLIN)
    return made


def _stirred(poller: select.poll, attended: tuple[int, Callable[[], None]] | None) -> list[int]:
    """Wait a moment and attend to what came; answers the descriptors that are ready."""
    ready = dict(poller.poll(_REAP_EVERY_MS))
    if attended is not None and attended[0] in ready:
        descriptor, attend = attended
        if ready[descriptor] & 1:  # POLLIN
            attend()
        else:
            poller.unregister(descriptor)  # nobody is left who could ask
    return list(ready)


def own_io() -> tuple[int, int]:
    """Bytes read from and written to disks by this process and all it has reaped; zeros if nobody counts."""
    try:
        with open("/proc/self/io") as file:
            counts = dict(line.split(": ") for line in file.read().splitlines())
    except OSError:
        return 0, 0
    return int(counts["read_bytes"]), int(counts["write_bytes"])


def set_dumpable(value: int) -> None:
    """`prctl(PR_SET_DUMPABLE)`, by the C half of ctypes alone: its Python half takes 3 ms to import."""
    import _ctypes

    itself = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # None: this process
    address = _ctypes.dlsym(itself, "prctl")
    if _ctypes.call_function(address, (_PR_SET_DUMPABLE, value, 0, 0, 0)) != 0:
        raise OSError("prctl(PR_SET_DUMPABLE) failed")


def kill_namespace() -> None:
    """End all others in the caller's process namespace."""
    try:
        os.kill(-1, _SIGKILL)
    except ProcessLookupError:
        return


# -- the program ----------------------------------------------------------------------


def become(spec: Spec) -> None:
    """Take on the limits and standard streams, then run."""
    for name, descriptor in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(spec[descriptor], name)
    for descriptor in ("stdin", "stdout", "stderr"):
        if spec[descriptor] > 2:
            os.close(spec[descriptor])
    if spec["rlimits"]:
        import resource

        for number, value in spec["rlimits"]:
            resource.setrlimit(number, (value, value))
    run(spec)


def run(spec: Spec, *, prepared: bool = False) -> NoReturn:
    """Take on the folder and environment, then run the code. Limits and streams are set already.

    `prepared`: `main_module` has been called for it, where there was time for that before.
    """
    os.chdir(spec["workspace"])
    os.environ.clear()
    os.environ.update(spec["env"])
    if spec["language"] == "shell":
        run_shell(spec)
    if not prepared:
        main_module(spec["workspace"])
    end_after(lambda: run_python(spec["source"]))


def run_shell(spec: Spec) -> NoReturn:
    import signal

    # Python ignores these two; a shell and what it starts expect them to work.
    signal.signal(_SIGPIPE, signal.SIG_DFL)
    signal.signal(_SIGXFSZ, signal.SIG_DFL)
    os.execv(spec["shell"], [spec["shell"], spec["source"]])


def main_module(workspace: str) -> types.ModuleType:
    """What a started interpreter has: `__main__`, exit() and quit(), the script's folder in the path."""
    import site
    import types

    for provide in ("setquit", "setcopyright", "sethelper"):
        getattr(site, provide)()
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv = [SOURCE_NAME]
    sys.path.insert(0, workspace)
    return module


def import_ahead(names: Sequence[str]) -> None:
    """Import what the program is going to import. From here on nothing in this process is trusted.

    What cannot be imported is left alone: the program is told when it tries itself.
    """
    import gc

    for name in names:
        try:
            __import__(name)
        except BaseException:
            sys.modules.pop(name, None)
    gc.collect()
    gc.freeze()


def show_error(source: bytes, error: BaseException) -> None:
    """Print a traceback as the script's own: our frames are hidden from it."""
    import linecache
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != SOURCE_NAME:
        trace = trace.tb_next
    # Shown lines come from the source itself, whatever lies in the workspace under its name.
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[SOURCE_NAME] = (len(source), None, lines, SOURCE_NAME)
    traceback.print_exception(type(error), error, trace)


def warm_up() -> None:
    """Do once for nothing what every program does, so that memory shared with the zygote is copied by now."""
    exec(compile("print(end='')", SOURCE_NAME, "exec", dont_inherit=True), {})


def run_python(source: str) -> None:
    """Run the file as `__main__`, as `python3 main.py` would."""
    with open(source, "rb") as file:
        code = file.read()
    # Nobody but `sys.modules` holds the module, so that its end is the end of what it holds.
    names = sys.modules["__main__"].__dict__
    names["__file__"] = source
    sys.excepthook = lambda _, error, trace: show_error(code, error)
    exec(compile(code, SOURCE_NAME, "exec", dont_inherit=True), names)


# -- its end --------------------------------------------------------------------------


def end_after(program: Callable[[], None]) -> NoReturn:
    """Run `program` and end as an interpreter does: exit code, threads, exit handlers, destructors, flush.

    The zygote's modules are left alone: taking them down would copy all the memory shared with it.
    """
    import atexit
    import gc

    leave, before = os._exit, frozenset(sys.modules) - {"__main__"}
    code = _exit_code_of(program)
    if "threading" in sys.modules:
        _try(sys.modules["threading"]._shutdown)
    _try(atexit._run_exitfuncs)
    flushed = _flush()
    if len(sys._current_frames()) == 1:  # or a daemon thread runs on, and needs what it uses
        ends = _released(before)
        gc.collect()
        for reference in ends:
            names = getattr(reference(), "__dict__", {})
            names.update((name, None) for name in list(names) if name != "__builtins__")
        gc.collect()
    flushed = _flush() and flushed
    if code == _INTERRUPTED:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    leave(code if flushed else _NOT_FLUSHED)


def _try(what: Callable[[], object]) -> None:
    """An error in it is shown and ends nothing, as in an interpreter's own end."""
    try:
        what()
    except BaseException as error:
        show_error(b"", error)


def _exit_code_of(program: Callable[[], None]) -> int:
    """Run it; an error is shown by whatever hook the program has set."""
    try:
        program()
    except SystemExit as leaving:
        return _asked_for(leaving)
    except BaseException as error:
        code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except SystemExit as leaving:
            return _asked_for(leaving)
        except BaseException as another:
            show_error(b"", another)
            show_error(b"", error)
        return code
    return 0


def _asked_for(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return (leaving.code or 0) & 0xFF
    _try(lambda: sys.stderr.write(f"{leaving.code}\n"))
    return 1


def _flush() -> bool:
    """False if something that was written cannot be put out; of standard output that is shown too."""
    done = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError, AttributeError) as error:
            done = False
            if stream is sys.stdout:
                show_error(b"", error)
    return done


def _released(before: frozenset[str]) -> list[Callable[[], object]]:
    """Take the program's modules away; answers weak references to those that others hold, the last first."""
    ends: list[Callable[[], object]] = []
    for name in [name for name in sys.modules if name not in before][::-1]:
        module = sys.modules.pop(name)
        try:
            ends.append(_weakref.ref(module))
        except TypeError:
            continue  # the program has put something else there
    return ends


def forget_machinery() -> None:
    """Nothing of the isolation program's is to be found where programs look."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "thane"]:
        del sys.modules[name]
    for path in [path for path in sys.path if not path.startswith(sys.base_prefix)]:
        sys.path.remove(path)
    sys.path_importer_cache.clear()
    sys.orig_argv[:] = [sys.executable, SOURCE_NAME]


def run_in_guest() -> None:
    """Under gVisor: no descriptor but the streams, so the plan is a file, and a marker says `started`.

    Whoever watches the guest removes the marker, and so starts the program: its use is counted from then.
    """
    import resource
    import time

    spec = read_spec(GUEST_PLAN)
    os.close(os.open(GUEST_MARKER, os.O_CREAT | os.O_WRONLY, 0o600))
    while os.path.exists(GUEST_MARKER):
        time.sleep(0.001)
    child = os.fork()
    if child == 0:
        os.setsid()
        for number, value in spec["rlimits"]:
            highest = resource.getrlimit(number)[1]  # the guest's kernel has its own
            allowed = value if highest == resource.RLIM_INFINITY else min(value, highest)
            resource.setrlimit(number, (allowed, allowed))
        run(spec)
    # Process 1 of the guest: orphans come to it, and its end ends them all.
    pid, status = os.wait()
    while pid != child:
        pid, status = os.wait()
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def main() -> None:
    if sys.argv[1] == "guest":
        run_in_guest()
    else:
        spec = read_spec(int(sys.argv[1]))
        os.write(spec["status"], b"started\n")
        os.close(spec["status"])
        become(spec)


if __name__ == "__main__":
    main()
