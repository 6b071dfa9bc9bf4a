"""What can go wrong with sandboxes and executions."""

from __future__ import annotations

from thane.kernel.errors import AlreadyExists, IllegalState, Invalid, NotFound


class SandboxTerminated(IllegalState):
    """Nothing can be run in it any more."""

    code = "sandbox_terminated"
    title = "The sandbox is terminated"
    default_hint = "Create a new sandbox: POST /api/v1/sandboxes."


class LimitsOutOfRange(Invalid):
    """The limits asked for are below what a program needs or beyond what the host or the settings allow."""

    code = "limits_out_of_range"
    title = "Limits out of range"
    default_hint = "Choose limits within the bounds named in `errors`."


class ContextNotFound(NotFound):
    """The sandbox has no context of that name."""

    code = "context_not_found"
    title = "Context not found"
    default_hint = "List contexts: GET /api/v1/sandboxes/{sandbox_id}/contexts."


class ContextExists(AlreadyExists):
    """The sandbox has a context of that name already."""

    code = "context_exists"
    title = "Context exists already"
    default_hint = "Run in it, restart it, or choose another name."


class SandboxFileNotFound(NotFound):
    """The living sandbox has no such file."""

    code = "sandbox_file_not_found"
    title = "No such file in the sandbox"
    default_hint = "List files: GET /api/v1/sandboxes/{sandbox_id}/files."


class ExecutionNotFound(NotFound):
    """The seeds' name for an execution that is not there."""

    code = "execution_not_found"
    title = "Execution not found"
    default_hint = "List executions: GET /api/v1/executions."


class FileNotProduced(NotFound):
    """The execution has no such file, or it is kept no longer."""

    code = "file_not_produced"
    title = "No such file"
    default_hint = "`output.files` of the execution lists what it produced; files are kept for a day."
