"""Settings that are known and checked, but change nothing in this version: the one table of them.

Nobody is to believe that a setting works which does not: whoever gives one of these another
value than its default is told so by `thane config check` and in the log. A key goes out of
the table in the commit that gives it its effect. Nothing here reads or refuses anything.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from thane.kernel.settings_schema import SETTINGS, Settings

_SQLITE = "the embedded store has no connections to pool"
_IMMUDB = "checkpoints are not copied to immudb by this version"

WITHOUT_EFFECT: Final[dict[str, str]] = {
    "database.replicas": "this version reads from the one store",
    "database.max_connections": _SQLITE,
    "database.min_connections": _SQLITE,
    "database.acquire_timeout_secs": _SQLITE,
    "database.idle_timeout_secs": _SQLITE,
    "database.max_lifetime_secs": _SQLITE,
    "database.query_timeout_secs": "long statements of the embedded store are not broken off",
    "redis.url": "this version keeps everything in the process",
    "security.jwt_secret": "this version signs no access tokens; API keys need none",
    "immudb.enabled": _IMMUDB,
    "immudb.addr": _IMMUDB,
    "immudb.user": _IMMUDB,
    "immudb.password": _IMMUDB,
    "immudb.database": _IMMUDB,
    "billing.prices": "only executions are billed by this version, by compute units",
    "retention.function_log_days": "this version has no functions",
    "monitoring.health_check_interval": "/health checks its parts whenever it is asked",
}


class Idle(NamedTuple):
    """A setting that was given and does nothing."""

    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.key} has no effect in this version: {self.why}"


def idle(settings: Settings) -> list[Idle]:
    """What of the settings was changed from its default and does nothing, in the order of declaration."""
    return [
        Idle(key, WITHOUT_EFFECT[key])
        for key, setting in SETTINGS.items()
        if key in WITHOUT_EFFECT and value_of(settings, key) != setting.default
    ]


def value_of(settings: Settings, key: str) -> Any:
    """The value of `section.name`."""
    section, name = key.split(".", 1)
    return getattr(getattr(settings, section), name)
