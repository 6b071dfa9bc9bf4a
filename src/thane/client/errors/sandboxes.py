"""Errors of sandboxes.

Made by `just sdk`; do not edit.
"""

from __future__ import annotations

from thane.client.errors.common import AlreadyExists, IllegalState, Invalid, NotFound


class ContextExists(AlreadyExists):
    """The sandbox has a context of that name already."""

    code = "context_exists"


class ContextNotFound(NotFound):
    """The sandbox has no context of that name."""

    code = "context_not_found"


class ExecutionNotFound(NotFound):
    """The seeds' name for an execution that is not there."""

    code = "execution_not_found"


class FileNotProduced(NotFound):
    """The execution has no such file, or it is kept no longer."""

    code = "file_not_produced"


class LimitsOutOfRange(Invalid):
    """The limits asked for are below what a program needs or beyond what the host or the settings allow."""

    code = "limits_out_of_range"


class SandboxFileNotFound(NotFound):
    """The living sandbox has no such file."""

    code = "sandbox_file_not_found"


class SandboxTerminated(IllegalState):
    """Nothing can be run in it any more."""

    code = "sandbox_terminated"
