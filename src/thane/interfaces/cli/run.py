"""`thane run`: one run with one sandbox and one execution, and a line that says where it is recorded."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import USAGE, body_of, note, print_json, refuse
from thane.interfaces.local import Answer, Caller
from thane.kernel.errors import ConnectionFailed

FAILED: Final = 1
TIMED_OUT: Final = 124  # as timeout(1) ends
CANCELLED: Final = 130  # as a shell ends after Ctrl-C
# What `--json` prints, and nothing else: the shape is a promise.
SHOWN: Final = (
    "id",
    "run_id",
    "status",
    "output",
    "error",
    "duration_ms",
    "resource_usage",
    "billing_info",
    "isolation",
    "ledger",
)
SHOWN_OF_OUTPUT: Final = ("stdout", "stderr", "return_code", "files")
UNFINISHED: Final = ("queued", "running")
SETTLE_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.02
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-c", "code", help="Code given here instead of a file.")
@click.option(
    "--language", type=click.Choice(["python", "shell"]), help="Default: by the file's ending, else python."
)
@click.option("--memory", type=int, metavar="MB", help="Memory limit in MiB.")
@click.option("--cpu", metavar="CORES", help="CPU limit in cores; a fraction is allowed.")
@click.option("--disk", type=int, metavar="MB", help="Disk limit in MiB.")
@click.option("--timeout", type=int, metavar="S", help="Wall time limit in seconds.")
@click.option(
    "--min-tier",
    type=click.Choice(["T1", "T2-", "T2", "T3"]),
    help="Weakest isolation that will do; `thane doctor` shows what there is.",
)
@click.option("--env", "env", multiple=True, metavar="K=V", help="A variable for the program; never stored.")
@click.option(
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file for the workspace.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to put the files it produced."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of the program's output."
)
@data_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    file: Path | None,
    code: str | None,
    data: str | None,
    config: str | None,
    **options: Any,
) -> None:
    """Run FILE, or the code given with -c, in a sandbox of its own.

    Its output comes as it is written; its exit code becomes this command's. One line on
    standard error says what it used, what it cost and where the ledger has it.
    """
    source, language = _source(file, code, options["language"])
    launcher = launcher_of(ctx)
    loaded = launcher.settings(config, {})
    wanted = _Wanted(source, language, options, file.name if file is not None else "-c")

    async def work() -> int:
        async with launcher.calling(launcher.data(data), loaded) as caller:
            return await _Session(caller, wanted).run()

    sys.exit(asyncio.run(work()))


class _Wanted:
    """What the command line asks for, checked."""

    def __init__(self, source: str, language: str, options: dict[str, Any], purpose: str) -> None:
        self.purpose = f"thane run {purpose}"
        self.language = language
        self.as_json: bool = options["as_json"]
        self.minimum_tier: str | None = options["min_tier"]
        self.out: Path | None = options["out"]
        if self.out is not None:
            _make_folder(self.out)
        limits = {
            "max_memory_mb": options["memory"],
            "max_cpu_cores": options["cpu"],
            "max_disk_mb": options["disk"],
            "max_execution_time_sec": options["timeout"],
        }
        self.body: dict[str, Any] = {
            "code": source,
            "language": language,
            "env": dict(_variable(text) for text in options["env"]),
            "files": _files(options["files"]),
        }
        self.limits = {k: v for k, v in limits.items() if v is not None}


def _source(file: Path | None, code: str | None, language: str | None) -> tuple[str, str]:
    if (file is None) is (code is None):
        refuse("give a file or -c CODE, and only one of them", "Such as: thane run examples/report.py", USAGE)
    if code is not None:
        text = code
    else:
        assert file is not None
        try:
            text = file.read_bytes().decode()
        except FileNotFoundError:
            refuse(f"there is no file {file}", "Check the path, or give the code with -c.", USAGE)
        except UnicodeDecodeError as fault:
            refuse(f"{file} is not valid UTF-8 (byte {fault.start})", "Save the program as UTF-8.", USAGE)
        except OSError as fault:
            refuse(f"{file} cannot be read: {fault.strerror}", "Give the path of a program file.", USAGE)
    if not text.strip():
        refuse("the program is empty", "Give a file with code in it, or -c CODE.", USAGE)
    by_ending = "shell" if file is not None and file.suffix == ".sh" else "python"
    return text, language or by_ending


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        refuse(f"--env {text!r} is not K=V", "Such as: --env MODE=fast", USAGE)
    return name, value


def _files(paths: tuple[Path, ...]) -> list[dict[str, str]]:
    made: dict[str, dict[str, str]] = {}
    for path in paths:
        if path.name in made:
            refuse(
                f"two files are called {path.name}", "Each --file lies in the workspace by its name.", USAGE
            )
        try:
            content = path.read_bytes()
        except OSError as fault:
            refuse(f"--file {path} cannot be read: {fault.strerror}", "Check the path.", USAGE)
        made[path.name] = {"name": path.name, "content": base64.b64encode(content).decode()}
    return list(made.values())


def _make_folder(path: Path) -> None:
    """Before the program runs: afterwards it would be too late to refuse."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        refuse(f"{path} is not a folder", "Give --out the path of a folder.", USAGE)
    except OSError as fault:
        refuse(f"{path} cannot be made: {fault.strerror}", "Give --out a folder that you may write.", USAGE)


class _Session:
    """The requests of one `thane run`, in their order."""

    def __init__(self, caller: Caller, wanted: _Wanted) -> None:
        self._caller = caller
        self._wanted = wanted
        self._run_id = ""

    async def run(self) -> int:
        """Do it and say what came of it; the exit code."""
        wanted = self._wanted
        opened = body_of(await self._post("/api/v1/runs", {"purpose": wanted.purpose}, more=_repeatable()))
        self._run_id = opened["id"]
        sandbox = await self._post(
            "/api/v1/sandboxes",
            {
                "language": wanted.language,
                "resource_limits": wanted.limits,
                "minimum_tier": wanted.minimum_tier,
            },
            more=_repeatable(),
        )
        if sandbox.status >= 400:
            await self._refused(sandbox)
        result = await self._execute(f"/api/v1/sandboxes/{sandbox.body['id']}/executions")
        await self._finish(result["status"])
        if wanted.out is not None:
            await self._take_files(result, wanted.out)
        if wanted.as_json:
            print_json({name: result.get(name) for name in SHOWN} | {"output": _promised(result["output"])})
        note(_summary(result))
        return _exit_code(result)

    async def _execute(self, path: str) -> dict[str, Any]:
        """Run the program. Ctrl-C hangs up, which cancels it; what was recorded is the result."""
        # No Idempotency-Key: with one the program would outlive the hang-up.
        asked = asyncio.ensure_future(
            self._post(path, self._wanted.body, on_event=_shown(self._wanted.as_json))
        )
        loop = asyncio.get_running_loop()
        for name in STOPPING:
            loop.add_signal_handler(name, asked.cancel)
        try:
            answer = await asked
        except asyncio.CancelledError:
            return await self._cancelled()
        except BrokenPipeError:
            # Nobody reads on, as with `| head`: the program is cancelled, and the interpreter must not
            # complain of the pipe when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return await self._cancelled()
        finally:
            for name in STOPPING:
                loop.remove_signal_handler(name)
        if answer.status >= 400:
            await self._refused(answer)
        result: dict[str, Any] = answer.body
        return result

    async def _cancelled(self) -> dict[str, Any]:
        """The execution as it was recorded after the hang-up, once it is settled."""
        query = quote(f'run_id = "{self._run_id}"')
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        while True:
            page = body_of(await self._caller.call("GET", f"/api/v1/executions?limit=1&filter={query}"))
            found: dict[str, Any] | None = page["items"][0] if page["items"] else None
            if found is not None and found["status"] not in UNFINISHED:
                return {**found, "ledger": await self._place(found["id"])}
            if asyncio.get_running_loop().time() > deadline:
                refuse("the program was told to stop and has not ended yet", "See: thane timeline", CANCELLED)
            await asyncio.sleep(POLL_SECONDS)

    async def _place(self, execution_id: str) -> dict[str, Any] | None:
        """Where an execution's outcome stands in the ledger: it is among the newest entries."""
        newest = await self._caller.call("GET", "/api/v1/ledger/entries?limit=50")
        for entry in reversed(newest.body.get("items", ())):
            leaf = entry["leaf"]
            if leaf["kind"] == "outcome" and leaf["resource"] == execution_id:
                return {
                    "index": entry["index"],
                    "leaf_hash": entry["leaf_hash"],
                    "intent_index": leaf["intent"],
                }
        return None

    async def _refused(self, answer: Answer) -> None:
        """Nothing was run: the run says so, and the command ends with the problem."""
        await self._finish(f"refused: {answer.body['code']}")
        body_of(answer)

    async def _finish(self, outcome: str) -> None:
        path = f"/api/v1/runs/{self._run_id}/finish"
        try:
            body_of(await self._post(path, {"outcome": outcome}, more=_repeatable()))
        except ConnectionFailed:
            # What was run is recorded; the server that did it was told to stop meanwhile.
            note(f"the server has left, so the run {self._run_id} stays open; finish it with its API")

    async def _take_files(self, result: dict[str, Any], out: Path) -> None:
        for name in (result["output"] or {}).get("files", ()):
            path = f"/api/v1/executions/{result['id']}/file?name={quote(name, safe='')}"
            content = body_of(await self._caller.call("GET", path))
            _write(out, name, base64.b64decode(content["content"]))
        for skipped in (result["output"] or {}).get("skipped", ()):
            note(f"not taken out: {skipped['name']}: {skipped['reason']}")
        if more := (result["output"] or {}).get("files_left_out", 0):
            note(f"not taken out: {more} more files; have the program put them into an archive")

    async def _post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        more: dict[str, str] | None = None,
        on_event: Callable[[str, Any], None] | None = None,
    ) -> Answer:
        headers = dict(more or {})
        if self._run_id:
            headers["Thane-Run"] = self._run_id
        return await self._caller.call("POST", path, body, headers=headers, on_event=on_event)


def _promised(output: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if output is None else {name: output[name] for name in SHOWN_OF_OUTPUT}


def _repeatable() -> dict[str, str]:
    """For a request that is sent again if the folder's owner left before it answered."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def _shown(as_json: bool) -> Callable[[str, Any], None]:
    """Writes output as it comes, byte for byte."""
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}

    def on_event(name: str, data: Any) -> None:
        if name == "output" and not as_json:
            stream = streams[data["stream"]]
            stream.write(base64.b64decode(data["data"]))
            stream.flush()

    return on_event


def _write(out: Path, name: str, content: bytes) -> None:
    """A produced file, never outside `out`, wherever its name or a link there leads."""
    target = out / name
    if not target.resolve().is_relative_to(out.resolve()):
        refuse(
            f"the program produced a file called {name!r}", "It was not written: it would leave the folder."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except OSError as fault:
        refuse(
            f"{target} cannot be written: {fault.strerror}", "Give --out an empty folder that you may write."
        )


def _summary(result: dict[str, Any]) -> str:
    """One line: run, execution, status, wall time, peak memory, cost, tier, ledger index."""
    usage, bill = result["resource_usage"] or {}, result["billing_info"] or {}
    error, ledger = result["error"], result.get("ledger")
    # A program that ended by itself has said why; what ended it from outside is ours to say.
    if error is not None and result["output"]["return_code"] not in range(128):
        note(f"{error['error_type']}: {error['message']}")
    parts = (
        f"{result['duration_ms'] or 0} ms",
        f"{usage.get('peak_memory_mb', 0)} MB",
        f"${bill.get('cost_usd', '0')}",
        (result["isolation"] or {}).get("tier", "-"),
        f"ledger {result.get('outcome', '-') if ledger is None else ledger['index']}",
    )
    return f"thane: {result['run_id']} {result['id']} {result['status']} {', '.join(parts)}"


def _exit_code(result: dict[str, Any]) -> int:
    """The program's own, where it ended by itself."""
    status, output = result["status"], result["output"] or {}
    if status == "timeout":
        return TIMED_OUT
    if status == "cancelled":
        return CANCELLED
    code = int(output.get("return_code", FAILED))
    return code if 0 <= code <= 255 and (status == "completed" or code != 0) else FAILED
