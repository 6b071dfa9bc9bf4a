"""`thane run`: one program, one run, one sandbox, one execution, and a line that says where it is recorded."""

from __future__ import annotations

import asyncio
import base64
import sys
import uuid
from pathlib import Path
from typing import Any

import click

from thane.interfaces.cli.main import data_option, launcher_of
from thane.interfaces.cli.output import USAGE, body_of, note, print_json, refuse
from thane.interfaces.local import Caller

FAILED = 1
TIMED_OUT = 124  # as timeout(1) ends
CANCELLED = 130  # as a shell ends after Ctrl-C


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("-c", "code", help="Code given here instead of a file.")
@click.option("--language", type=click.Choice(["python", "shell"]), help="Default: by the file's ending, else python.")
@click.option("--memory", type=int, metavar="MB", help="Memory limit in MiB.")
@click.option("--cpu", metavar="CORES", help="CPU limit in cores; a fraction is allowed.")
@click.option("--disk", type=int, metavar="MB", help="Disk limit in MiB.")
@click.option("--timeout", type=int, metavar="S", help="Wall time limit in seconds.")
@click.option("--env", "env", multiple=True, metavar="K=V", help="A variable for the program; never stored.")
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), metavar="PATH", help="A file for the workspace.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to put the files it produced.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the program's output.")
@data_option
@click.pass_context
def run(ctx: click.Context, /, file: Path | None, code: str | None, data: str | None, config: str | None, **options: Any) -> None:
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
            return await _execute(caller, wanted)

    sys.exit(asyncio.run(work()))


class _Wanted:
    """What the command line asks for, checked."""

    def __init__(self, source: str, language: str, options: dict[str, Any], purpose: str) -> None:
        self.purpose = f"thane run {purpose}"
        self.language = language
        self.as_json: bool = options["as_json"]
        self.out: Path | None = options["out"]
        if self.out is not None and self.out.exists() and not self.out.is_dir():
            refuse(f"{self.out} is not a folder", "Give --out the path of a folder.", USAGE)
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
            "files": [_file(path) for path in options["files"]],
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


def _file(path: Path) -> dict[str, str]:
    try:
        return {"name": path.name, "content": base64.b64encode(path.read_bytes()).decode()}
    except OSError as fault:
        refuse(f"--file {path} cannot be read: {fault.strerror}", "Check the path.", USAGE)


async def _execute(caller: Caller, wanted: _Wanted) -> int:
    run_row = body_of(await caller.call("POST", "/api/v1/runs", {"purpose": wanted.purpose}))
    headers = {"Thane-Run": run_row["id"]}
    sandbox_body = {"language": wanted.language, "resource_limits": wanted.limits}
    sandbox = body_of(await caller.call("POST", "/api/v1/sandboxes", sandbox_body, headers=headers))
    path = f"/api/v1/sandboxes/{sandbox['id']}/executions"
    # With a key a lost connection could be attached to again; without one, Ctrl-C cancels the program.
    execution = caller.call("POST", path, wanted.body, headers=headers, on_event=_shown(wanted.as_json))
    result = body_of(await execution)
    finish = {"outcome": result["status"]}
    key = {**headers, "Idempotency-Key": uuid.uuid4().hex}
    body_of(await caller.call("POST", f"/api/v1/runs/{run_row['id']}/finish", finish, headers=key))
    if wanted.out is not None:
        await _take_files(caller, result, wanted.out)
    if wanted.as_json:
        print_json({k: v for k, v in result.items() if k != "sandbox_id"})
    _summary(result)
    return _exit_code(result)


def _shown(as_json: bool) -> Any:
    """Writes output as it comes, byte for byte."""
    streams = {"stdout": sys.stdout.buffer, "stderr": sys.stderr.buffer}

    def on_event(name: str, data: Any) -> None:
        if name == "output" and not as_json:
            stream = streams[data["stream"]]
            stream.write(base64.b64decode(data["data"]))
            stream.flush()

    return on_event


async def _take_files(caller: Caller, result: dict[str, Any], out: Path) -> None:
    for name in (result["output"] or {}).get("files", ()):
        path = f"/api/v1/executions/{result['id']}/file?name={_quoted(name)}"
        content = body_of(await caller.call("GET", path))
        target = out / name
        if not target.resolve().is_relative_to(out.resolve()):
            refuse(f"the program produced a file called {name!r}", "It was not written: it would leave the folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(content["content"]))


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _summary(result: dict[str, Any]) -> None:
    """One line: run, execution, status, wall time, peak memory, cost, tier, ledger index."""
    usage, bill, ledger = result["resource_usage"] or {}, result["billing_info"] or {}, result.get("ledger")
    index = "spooled" if ledger is None else ledger["index"]
    error = result["error"]
    # A program that ended by itself has said why; what ended it from outside is ours to say.
    if error is not None and result["output"]["return_code"] not in range(128):
        note(f"{error['error_type']}: {error['message']}")
    note(
        f"thane: {result['run_id']} {result['id']} {result['status']} "
        f"{result['duration_ms']} ms, {usage.get('peak_memory_mb', 0)} MB, "
        f"${bill.get('cost_usd', '0')}, {(result['isolation'] or {}).get('tier', '-')} , ledger {index}".replace(" ,", ",")
    )


def _exit_code(result: dict[str, Any]) -> int:
    """The program's own, where it ended by itself."""
    status, output = result["status"], result["output"] or {}
    if status == "timeout":
        return TIMED_OUT
    if status == "cancelled":
        return CANCELLED
    code = int(output.get("return_code", FAILED))
    return code if 0 <= code <= 255 and (status == "completed" or code != 0) else FAILED
