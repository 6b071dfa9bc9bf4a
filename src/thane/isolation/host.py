"""What the program has found out about its machine and made ready, once, at its start.

A plain record that the other modules read. It is filled by `__main__` and never changed
after, except for the tier that the probe chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from thane.isolation.cgroups import Groups
from thane.isolation.interpreter import Interpreter, Visible, look
from thane.isolation.stage import Stage


@dataclass
class Host:
    stage: Stage
    interpreter: Interpreter
    shown: dict[str, str]  # host path → path that a jail's uid can reach
    groups: Groups | None
    groups_missing: str  # why there are none
    uid_base: int | None  # first uid of this program's; None: jails run as the program's own user
    uids: int  # how many there are: the first is the zygote's, one each for the jails
    processors: list[int] = field(default_factory=list)
    force_tier: str | None = None  # tests only: use this tier or none
    runsc: str | None = None  # gVisor, if it is installed
    visible: Visible = field(init=False)
    confinement: tuple[list[str], list[str]] = ([], [])  # what tier T1 may read, and only list

    def __post_init__(self) -> None:
        self.visible = look(self.interpreter)

    def uid(self, slot: int) -> int | None:
        return None if self.uid_base is None else self.uid_base + 1 + slot
