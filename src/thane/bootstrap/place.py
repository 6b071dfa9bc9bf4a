"""What the settings ask for that this version may not be able to give: the store's place, and its keys.

Refused here, before anything is opened, with what to write instead. A store of another
engine must never be taken for an empty one beside it.
"""

from __future__ import annotations

import base64
from binascii import Error as Base64Error
from pathlib import Path
from urllib.parse import unquote, urlsplit

from thane.adapters.disk import DataFolder
from thane.kernel.errors import Fault, SettingsError
from thane.kernel.sealing.keyring import KeyFolder
from thane.kernel.settings_schema import Secret, Settings, mask_url

KEY_BYTES = 32
# Engines of the design that come later, by the schemes their URLs begin with.
LATER = {
    "postgresql": "PostgreSQL",
    "postgres": "PostgreSQL",
    "cockroachdb": "CockroachDB",
    "surrealkv": "SurrealDB",
    "mem": "SurrealDB",
    "surrealdb": "SurrealDB",
    "surrealdb+ws": "SurrealDB",
    "surrealdb+wss": "SurrealDB",
}
_FORM = "sqlite:///store.db lies in the data folder, sqlite:////srv/thane/store.db where it says"


def refuse_impossible(settings: Settings) -> None:
    """SettingsError for what this version cannot do, whichever data folder it is asked of."""
    _sqlite_path(settings.database.url)
    master_key(settings.security.encryption_key)
    metrics = settings.monitoring.prometheus_endpoint
    if metrics in ("/health", "/openapi.json") or f"{metrics}/".startswith("/api/"):
        raise _refused(
            "monitoring.prometheus_endpoint",
            f"monitoring.prometheus_endpoint is {metrics}, where Thane answers something else",
            "Leave it at /metrics, or choose a path of its own.",
        )


def data_folder(path: Path, settings: Settings) -> DataFolder:
    """The folder, with its store where `database.url` says. SettingsError."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise SettingsError(
            f"the data folder's name {shown} is not valid UTF-8, which SQLite needs",
            hint="Choose another folder, with --data DIR or THANE_DATA.",
        ) from None
    named = _sqlite_path(settings.database.url)
    folder = DataFolder(path)
    if named is None:
        return folder
    store = folder.path / named
    if store.parent != folder.path and not store.parent.is_dir():
        raise _refused(
            "database.url",
            f"database.url puts the store into {store.parent}, which is no folder",
            f"Make the folder, or name another file: {_FORM}.",
        )
    return DataFolder(path, store=store)


def open_keys(folder: DataFolder, settings: Settings, ledger_name: str) -> KeyFolder:
    """The key folder; made at first use, with the master key of the settings if they have one.

    SettingsError if they name a master key and the folder holds others.
    """
    master = master_key(settings.security.encryption_key)
    keys = KeyFolder.open_or_create(folder.keys, ledger_name=ledger_name, master=master)
    if master is not None and not keys.holds_master(master):
        raise _refused(
            "security.encryption_key",
            f"security.encryption_key is not among the master keys in {folder.keys}",
            "Give the key this folder was made with, or leave the setting empty: the folder has its own.",
        )
    return keys


def master_key(setting: Secret) -> bytes | None:
    """The 32 bytes that the setting holds in hex or base64; None if it is empty. SettingsError."""
    text = setting.reveal().strip()
    if not text:
        return None
    for read in (bytes.fromhex, _base64):
        try:
            found = read(text)
        except ValueError:
            continue
        if len(found) == KEY_BYTES:
            return found
    raise _refused(
        "security.encryption_key",
        f"security.encryption_key is no key: expected {KEY_BYTES} bytes in hex or base64",
        f"Make one with: openssl rand -hex {KEY_BYTES}",
    )


def _base64(text: str) -> bytes:
    """Standard or URL-safe, with or without padding. ValueError."""
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except Base64Error as fault:
        raise ValueError(str(fault)) from fault


def _sqlite_path(url: str) -> str | None:
    """The path in `sqlite:///path`, taken from the data folder; None for an empty URL. SettingsError."""
    if not url:
        return None
    shown, (scheme, _, _) = mask_url(url), url.partition("://")
    if scheme in LATER:
        raise _refused(
            "database.url",
            f"database.url is {shown}: {LATER[scheme]} is not built into this version, which has SQLite only",
            f"Leave database.url empty, or name a file: {_FORM}.",
        )
    if scheme != "sqlite":
        known = ", ".join(("sqlite", *LATER))
        raise _refused(
            "database.url",
            f"database.url is {shown}: it begins with no scheme that Thane knows ({known})",
            f"Leave database.url empty, or name a file: {_FORM}.",
        )
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or parts.query or parts.fragment or path in ("", ":memory:") or path.endswith("/"):
        raise _refused(
            "database.url", f"database.url is {shown}, which names no file", f"Write it so: {_FORM}."
        )
    return path


def _refused(key: str, message: str, hint: str) -> SettingsError:
    fault = Fault("/" + key.replace(".", "/"), "wrong_value", message)
    return SettingsError(message, hint=hint, faults=(fault,))
