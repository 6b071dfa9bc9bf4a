"""`python -m tools.sdk`: bring the generated part of the client up to date."""

from __future__ import annotations

import sys

from tools.sdk.made import FOLDERS, MARK, made
from tools.written import write


def main() -> int:
    """Writes what differs and says what that was."""
    changed = write(made(), FOLDERS, ".py", MARK)
    print("\n".join(changed) if changed else "the client is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
