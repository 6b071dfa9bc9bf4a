"""The data folder: whose it is, who may look into it, where its keys are, who owns it now."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from shlex import quote
from typing import Final

from thane.adapters.disk import DataFolder
from thane.kernel.ports.machine import Finding, Grade

AREA: Final = "data folder"
# Without them the store's ledger cannot be continued, nor its sealed parts read.
NEEDED: Final = ("ledger.key", "index.key", "current", "signer-state")


def folder(place: DataFolder) -> list[Finding]:
    """Look at a data folder; one that is not there yet is fine."""
    if not place.path.exists():
        return [_finding("place", Grade.OK, f"{place.path} is made at the first use")]
    if not place.path.is_dir():
        remedy = "thane run --data DIR, with another DIR"
        return [_finding("place", Grade.FAILURE, f"{place.path} is not a folder", remedy)]
    made = [_owner(place), _modes(place)]
    if place.exists:
        made += [_keys(place), _spool(place)]
    return made


def _owner(place: DataFolder) -> Finding:
    uid, me = place.path.stat().st_uid, os.geteuid()
    if uid not in (me, 0) or (uid == 0 and me != 0):
        detail = f"{place.path} belongs to {_user(uid)}, and this is {_user(me)}"
        return _finding("place", Grade.FAILURE, detail, f"sudo chown -R {_user(me)} {quote(str(place.path))}")
    owner = place.owner()
    held = "nobody uses it now" if owner is None else f"process {owner.pid} owns it now"
    return _finding("place", Grade.OK, f"{place.path}; {held}")


def _modes(place: DataFolder) -> Finding:
    """What others may read: of the folder nothing, and of its keys nothing even if the folder is opened."""
    open_ = [p for p in (place.path, place.keys, *_below(place.keys)) if _others(p)]
    if place.store.parent != place.path and _others(place.store):
        open_.append(place.store)
    if open_:
        names = ", ".join(str(p) for p in open_[:4]) + (" …" if len(open_) > 4 else "")
        remedy = "chmod go= " + " ".join(quote(str(p)) for p in open_[:8])
        return _finding("modes", Grade.FAILURE, f"others may look into {names}", remedy)
    return _finding("modes", Grade.OK, "only its owner may look into it")


def _keys(place: DataFolder) -> Finding:
    missing = [name for name in NEEDED if not (place.keys / name).exists()]
    if missing:
        detail = f"{', '.join(missing)} missing in {place.keys}: the store cannot be continued without"
        remedy = f"cp -a BACKUP/keys/. {quote(str(place.keys))}/"
        return _finding("keys", Grade.FAILURE, detail, remedy)
    detail = f"all there, apart from the store, in {place.keys}; keep a copy where no copy of the store lies"
    return _finding("keys", Grade.OK, detail)


def _spool(place: DataFolder) -> Finding:
    waiting = sum(1 for p in place.spool.glob("*") if p.is_file()) if place.spool.is_dir() else 0
    if waiting:
        detail = f"{waiting} outcomes wait to be recorded, since the store could not take them"
        return _finding("spool", Grade.WARNING, detail, "thane serve")
    return _finding("spool", Grade.OK, "no outcome waits to be recorded")


def _below(keys: Path) -> list[Path]:
    try:
        return sorted(keys.rglob("*"))
    except OSError:
        return []


def _others(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077) and not path.is_symlink()
    except OSError:
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _finding(check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=AREA, check=check, grade=grade, detail=detail, remedy=remedy)
