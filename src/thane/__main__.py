"""The console script: the command line, with bootstrap's launcher behind it."""

from __future__ import annotations

import sys

from thane.interfaces.cli.main import cli


class _Lazy:
    """The launcher, made at its first use: help and usage errors need none of the program."""

    def __getattr__(self, name: str) -> object:
        from thane.bootstrap.launcher import ProgramLauncher

        return getattr(ProgramLauncher(), name)


def main() -> None:
    """Entry point of `thane`."""
    try:
        cli(obj=_Lazy(), prog_name="thane")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from thane.interfaces.cli.output import refuse_error
        from thane.kernel.errors import ThaneError

        if isinstance(error, ThaneError):
            refuse_error(error)
        raise


if __name__ == "__main__":
    main()
