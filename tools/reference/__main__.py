"""`python -m tools.reference`: bring docs/reference up to date.

Exit code 1 if something says nothing of itself.
"""

from __future__ import annotations

import sys

from tools.reference.pages import FOLDERS, MARK, pages, undocumented
from tools.written import write


def main() -> int:
    """Writes what differs and says what that was."""
    changed = write(pages(), FOLDERS, ".md", MARK)
    print("\n".join(changed) if changed else "the reference is up to date")
    silent = undocumented()
    print("".join(f"undocumented: {name}\n" for name in silent), end="", file=sys.stderr)
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
