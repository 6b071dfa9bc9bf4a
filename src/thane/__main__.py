"""The console script: the command line, with bootstrap's launcher behind it."""

from __future__ import annotations

import os
import sys
import traceback

import click

from thane.interfaces.cli.main import cli


class _Lazy:
    """The launcher, made at its first use: help and usage errors need none of the program."""

    def __getattr__(self, name: str) -> object:
        from thane.bootstrap.launcher import ProgramLauncher

        return getattr(ProgramLauncher(), name)


def main() -> None:
    """Entry point of `thane`. However it ends, the last line says what to do next."""
    try:
        # Not click's own way to end: it tells the next step before the error, and of ours nothing.
        code = cli(obj=_Lazy(), prog_name="thane", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        sys.exit(asked.exit_code)
    except click.ClickException as error:
        from thane.interfaces.cli.output import refuse_usage

        refuse_usage(error)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        # Nobody reads on, as with `| head`. The interpreter must not complain of the pipe when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last that can say what to do
        from thane.interfaces.cli.output import REFUSED, refuse, refuse_error
        from thane.kernel.errors import ThaneError

        if isinstance(error, ThaneError):
            refuse_error(error)
        traceback.print_exc()
        refuse(
            f"this is a fault of Thane itself: {type(error).__name__}",
            "Report it with the lines above; `thane doctor` shows whether this machine has a part in it.",
            REFUSED,
        )
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
