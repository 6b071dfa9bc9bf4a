"""Port to the installer of packages: onto disk, by the server, without running any of them.

Where they are imported is `thane.kernel.ports.isolation`'s affair (`Template`): in jails only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Packages(Protocol):
    """Installed packages by content: the same resolved set is one folder, made once and never changed."""

    async def install(self, requirements: tuple[str, ...]) -> Path:
        """The folder with these packages and what they need, for the jails' interpreter.

        Each requirement is a name with extras and versions (`pandas`, `httpx[http2]>=0.27,<1`): no
        address, no path, no option. Wheels only, as building one runs its author's code here. Raises
        Invalid if they cannot be had together, Unavailable if there is no installer.
        """
