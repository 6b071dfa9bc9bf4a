"""Every setting: its name, type, default, bounds and description. The one place for all five.

The names follow the five seed designs where those name one. Nothing here reads a file or
the environment (`settings.py` does), and nothing prints a secret: a `Secret` has to be
revealed by name, and the password of a URL is masked in every `repr`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MASK = "***"
MIB = 1 << 20

# Greedy to the last @: a password with an unescaped / or @ must not show, whatever else is hidden with it.
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^/?#@:\s]*:)\S*@", re.IGNORECASE)
_QUERY_SECRET = re.compile(
    r"(?P<head>[?&][^=&#\s]*(?:pass|secret|token|key)[^=&#\s]*=)[^&#\s]+", re.IGNORECASE
)


class Secret:
    """Text that no `repr`, `str`, format or log shows. `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"'{MASK}'" if self._value else "''"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def mask_url(text: str) -> str:
    """A URL without its password and without query values that look like one."""
    return _QUERY_SECRET.sub(rf"\g<head>{MASK}", _URL_PASSWORD.sub(rf"\g<head>{MASK}@", text))


def masked(value: Any) -> Any:
    """What may be shown of a setting's value."""
    if isinstance(value, Secret):
        return MASK if value else ""
    if isinstance(value, str):
        return mask_url(value) if "://" in value else value
    if isinstance(value, tuple | list):
        return tuple(masked(item) for item in value)
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    return value


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings. Its `repr` masks secrets."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={masked(getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({shown})"


def doc(description: str, **bounds: Any) -> Meta:
    """What a setting is for, and its bounds."""
    return Meta(description=description, **bounds)


Words = tuple[str, ...]
Count = Annotated[int, Meta(ge=0)]


class Database(Section, frozen=True, kw_only=True):
    """The main store."""

    url: Annotated[
        str, doc("URL of the main store, with credentials; empty is SQLite in the data folder.")
    ] = ""
    replicas: Annotated[Words, doc("URLs of read replicas of the main store.")] = ()
    max_connections: Annotated[int, doc("Most connections of the pool.", ge=1, le=10_000)] = 16
    min_connections: Annotated[int, doc("Connections kept open when idle.", ge=0, le=10_000)] = 2
    acquire_timeout_secs: Annotated[int, doc("Most seconds to wait for a connection.", ge=1)] = 30
    idle_timeout_secs: Annotated[int, doc("Seconds until an idle connection is closed.", ge=1)] = 600
    max_lifetime_secs: Annotated[int, doc("Seconds until a connection is replaced.", ge=1)] = 1800
    query_timeout_secs: Annotated[int, doc("Most seconds of one statement.", ge=1)] = 60
    auto_migrate: Annotated[bool, doc("Bring the schema up to date at start; false refuses an old one.")] = (
        True
    )
    durability: Annotated[
        Literal["normal", "full"],
        doc("`full` syncs each commit to disk; `normal` may lose the last ones in a power cut."),
    ] = "normal"


class Http(Section, frozen=True, kw_only=True):
    """The HTTP server."""

    host: Annotated[str, doc("Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, doc("Port to listen on; 0 lets the system choose.", ge=0, le=65_535)] = 8090
    tls_cert: Annotated[str, doc("PEM file of the certificate and its chain; empty speaks plain HTTP.")] = ""
    tls_key: Annotated[str, doc("PEM file of the certificate's key; SIGHUP has both read again.")] = ""
    max_header_bytes: Annotated[
        int, doc("Longest head of a request, in bytes; each header counts 32 more.", ge=1024)
    ] = 65_536
    max_body_bytes: Annotated[int, doc("Longest request body, in bytes.", ge=1024)] = MIB
    max_file_bytes: Annotated[
        int,
        doc("Longest file that is put into a sandbox as a body of its own, in bytes.", ge=1024, le=1 << 29),
    ] = 64 * MIB
    max_buffered_bytes: Annotated[
        int, doc("Bytes of bodies and of answers not taken that are held at one time; then 503.", ge=1024)
    ] = 64 * MIB
    max_connections: Annotated[
        int, doc("Connections at one time; then 503. As many files must be allowed to be open.", ge=1)
    ] = 12_000
    max_requests: Annotated[int, doc("Requests worked on at one time, without executions.", ge=1)] = 256
    max_queue: Annotated[int, doc("Requests that may wait for their turn; then 503.", ge=0)] = 4096
    header_timeout_secs: Annotated[int, doc("Seconds in which the head of a request must arrive.", ge=1)] = 10
    body_timeout_secs: Annotated[int, doc("Seconds in which the body must arrive.", ge=1)] = 60
    send_timeout_secs: Annotated[
        int, doc("Seconds after which a client that takes nothing of its answer is cut off.", ge=1)
    ] = 30
    idle_timeout_secs: Annotated[int, doc("Seconds until an idle connection is closed.", ge=1)] = 30
    drain_timeout_secs: Annotated[int, doc("Seconds that open requests may still take at a stop.", ge=0)] = 20
    trusted_proxies: Annotated[
        Words, doc("Addresses or networks (CIDR) of proxies that are believed about their clients.")
    ] = ()
    forwarded_header: Annotated[
        Literal["x-forwarded", "forwarded"],
        doc("What those proxies write: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239)."),
    ] = "x-forwarded"
    cors_origins: Annotated[
        Words, doc("Origins whose pages may call from a browser, as https://app.example; * is every one.")
    ] = ()


class Cache(Section, frozen=True, kw_only=True):
    """The cache of computed answers and identities."""

    enabled: Annotated[bool, doc("Keep answers in memory, and in Redis where there is one.")] = True
    max_entries: Annotated[int, doc("Most entries kept in memory.", ge=0)] = 10_000
    max_ttl_secs: Annotated[int, doc("Most seconds that an entry stays in memory.", ge=1)] = 60


class Redis(Section, frozen=True, kw_only=True):
    """Redis or Valkey, for several server processes."""

    url: Annotated[str, doc("URL of Redis; empty keeps everything in the process.")] = ""


class Security(Section, frozen=True, kw_only=True):
    """Keys that come from outside."""

    encryption_key: Annotated[
        Secret, doc("First master key of the key ring; empty makes one at first start.")
    ] = Secret()
    jwt_secret: Annotated[Secret, doc("Key that signs access tokens; empty makes one at first start.")] = (
        Secret()
    )


class Immudb(Section, frozen=True, kw_only=True):
    """A copy of the ledger's checkpoints in immudb; off unless enabled."""

    enabled: Annotated[bool, doc("Copy signed checkpoints to immudb.")] = False
    addr: Annotated[str, doc("Address of immudb, host:port.")] = "127.0.0.1:3322"
    user: Annotated[str, doc("User at immudb.")] = ""
    password: Annotated[Secret, doc("Password at immudb.")] = Secret()
    database: Annotated[str, doc("Database at immudb.")] = "defaultdb"


class Isolation(Section, frozen=True, kw_only=True):
    """Where code runs, and what it may use when its sandbox says nothing."""

    socket: Annotated[str, doc("Socket of the isolation program; empty starts one.")] = ""
    minimum_tier: Annotated[
        Literal["T0", "T1", "T2-", "T2", "T3"],
        doc("Weakest isolation under which code may run; `thane doctor` shows what there is."),
    ] = "T1"
    slots: Annotated[int, doc("Executions at one time; 0 means one for each core.", ge=0, le=4096)] = 0
    max_queue: Annotated[int, doc("Executions that may wait for a slot; then 503.", ge=0)] = 1000
    tenant_slots: Annotated[
        int, doc("Executions of one tenant at one time; 0 means as many as there are slots.", ge=0, le=4096)
    ] = 0
    project_slots: Annotated[
        int, doc("Executions of one project at one time; 0 means as many as there are slots.", ge=0, le=4096)
    ] = 0
    sample_ms: Annotated[
        int, doc("Milliseconds between samples of what running code uses.", ge=50, le=3_600_000)
    ] = 1000
    alert_percent: Annotated[
        int,
        doc("Memory use, in per cent of its limit, above which a sandbox's alert goes off.", ge=1, le=100),
    ] = 90
    sandbox_idle_secs: Annotated[
        int,
        doc("Seconds that a sandbox keeps files and variables while nothing runs in it; 0: for ever.", ge=0),
    ] = 3600
    memory_mb: Annotated[int, doc("Default memory of a sandbox, in MiB.", ge=16)] = 256
    cpu_cores: Annotated[Decimal, doc("Default CPU of a sandbox, in cores; may be a fraction.", gt=0)] = (
        Decimal(1)
    )
    disk_mb: Annotated[int, doc("Default disk of a sandbox, in MiB.", ge=1)] = 64
    timeout_secs: Annotated[int, doc("Default wall time of an execution, in seconds.", ge=1)] = 30
    max_memory_mb: Annotated[
        int, doc("Most memory that may be asked for, in MiB; 0 is the host's.", ge=0)
    ] = 0
    max_cpu_cores: Annotated[Decimal, doc("Most cores that may be asked for; 0 is the host's.", ge=0)] = (
        Decimal(0)
    )
    max_disk_mb: Annotated[int, doc("Most disk that may be asked for, in MiB.", ge=1)] = 10_240
    max_timeout_secs: Annotated[int, doc("Longest wall time that may be asked for, in seconds.", ge=1)] = 3600


Price = Annotated[Decimal, Meta(ge=0)]


class Billing(Section, frozen=True, kw_only=True):
    """What things cost.

    One compute unit is one second of CPU time; holding `compute_unit_memory_mb` MiB for one
    second of wall time is another. So
    units = CPU seconds + wall seconds × peak MiB ÷ compute_unit_memory_mb.
    """

    currency: Annotated[Literal["USD"], doc("Currency of every amount.")] = "USD"
    compute_unit_usd: Annotated[
        Decimal,
        doc("USD for one compute unit: a CPU second, or compute_unit_memory_mb MiB for a second.", ge=0),
    ] = Decimal("0.000014")
    compute_unit_memory_mb: Annotated[int, doc("MiB of peak memory that make one unit a second.", ge=1)] = 256
    prices: Annotated[
        dict[str, Price], doc("USD for one event of a type, such as {file_stored = 0.0001}.")
    ] = {}


class Ledger(Section, frozen=True, kw_only=True):
    """The provable log."""

    origin: Annotated[
        str,
        doc(
            "Name of this log in checkpoints, as log.example.org/thane; empty makes one.",
            pattern=r"^[^\s+]*$",
        ),
    ] = ""
    sign_interval_ms: Annotated[int, doc("Milliseconds between signed checkpoints.", ge=10, le=3_600_000)] = (
        1000
    )


class Retention(Section, frozen=True, kw_only=True):
    """How long things are kept; 0 keeps them for ever."""

    access_days: Annotated[Count, doc("Days that rows of the access log are kept.")] = 90
    output_days: Annotated[Count, doc("Days that output is kept after an execution.")] = 1
    metrics_days: Annotated[Count, doc("Days that samples of resource use are kept.")] = 30
    function_log_days: Annotated[Count, doc("Days that logs of function executions are kept.")] = 30
    history_days: Annotated[Count, doc("Days that superseded versions and sealed details stay readable.")] = 0
    idempotency_hours: Annotated[int, doc("Hours that an Idempotency-Key is remembered.", ge=1)] = 24


class Log(Section, frozen=True, kw_only=True):
    """What the server writes to stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], doc("Least level that is written.")] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "json", "text"], doc("`auto` is text on a terminal and JSON elsewhere.")
    ] = "auto"


class Monitoring(Section, frozen=True, kw_only=True):
    """What can be watched from outside."""

    metrics_enabled: Annotated[bool, doc("Serve metrics in Prometheus' text format.")] = True
    prometheus_endpoint: Annotated[str, doc("Path of the metrics.", pattern=r"^/[A-Za-z0-9/_.-]+$")] = (
        "/metrics"
    )
    health_check_interval: Annotated[
        int, doc("Seconds between two checks of the parts that /health reports.", ge=1)
    ] = 30


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, by section."""

    database: Database = Database()
    http: Http = Http()
    cache: Cache = Cache()
    redis: Redis = Redis()
    security: Security = Security()
    immudb: Immudb = Immudb()
    isolation: Isolation = Isolation()
    billing: Billing = Billing()
    ledger: Ledger = Ledger()
    retention: Retention = Retention()
    log: Log = Log()
    monitoring: Monitoring = Monitoring()


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key: `section.name`, its type with bounds, default and description."""

    key: str
    section: str
    name: str
    type: Any
    default: Any
    description: str

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return f"THANE_{self.section}_{self.name}".upper()


def _declared() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for section in msgspec.structs.fields(Settings):
        for field in msgspec.structs.fields(section.type):
            metas = [m for m in getattr(field.type, "__metadata__", ()) if isinstance(m, Meta)]
            description = next((m.description for m in metas if m.description), None)
            if not description:
                raise TypeError(f"{section.name}.{field.name} has no description")
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            key = f"{section.name}.{field.name}"
            found[key] = Setting(
                key=key,
                section=section.name,
                name=field.name,
                type=field.type,
                default=default,
                description=description,
            )
    return found


SETTINGS: dict[str, Setting] = _declared()
SECTIONS: tuple[str, ...] = Settings.__struct_fields__

# Keys of the seed designs that are called otherwise here, or are not to be set at all:
# whoever brings an old file along is told where the value went.
MOVED: dict[str, str] = {
    "database.host": "it is a part of database.url",
    "database.port": "it is a part of database.url",
    "database.namespace": "it is a part of database.url; tenants are rows",
    "database.database": "it is a part of database.url",
    "database.username": "it is a part of database.url, by ${VAR}",
    "database.password": "it is a part of database.url, by ${VAR}",
    "database.connection_timeout": "it is called database.acquire_timeout_secs",
    "database.query_timeout": "it is called database.query_timeout_secs",
    "cache.ttl_seconds": "each kind of entry has its own; cache.max_ttl_secs bounds those in memory",
    "cache.redis_url": "it is called redis.url",
    "security.encryption_enabled": "personal data is always sealed",
    "security.audit_logging": "the audit cannot be switched off",
    "performance.connection_pool_size": "it is called database.max_connections",
    "performance.read_replica_count": "list the URLs in database.replicas",
    "performance.query_timeout_ms": "it is called database.query_timeout_secs",
    "cluster.enabled": "name the cluster in database.url and database.replicas",
    "cluster.nodes": "name the cluster in database.url and database.replicas",
}
