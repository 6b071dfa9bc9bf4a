"""The HTTP edge out of the settings: the application, its server, and as many open files as it needs."""

from __future__ import annotations

import ipaddress
import logging
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from thane.bootstrap.monitoring import metrics
from thane.interfaces.http.admission import Admission
from thane.interfaces.http.app import HttpApp
from thane.interfaces.http.forwarded import Proxies
from thane.interfaces.http.health import Check
from thane.kernel.errors import SettingsError
from thane.kernel.operations.pipeline import Pipeline
from thane.kernel.settings_schema import Settings
from thane.kernel.telemetry import Telemetry

if TYPE_CHECKING:
    from thane.interfaces.http.server import HttpServer
    from thane.interfaces.http.tls import Tls

log = logging.getLogger(__name__)

# What the store, executions and clients that are being refused need beside the connections.
OTHER_FILES: Final = 1024
LEAST_CONNECTIONS: Final = 64


def proxies(settings: Settings) -> Proxies:
    """The proxies whose word about the client is taken; the settings' check has read them once."""
    http = settings.http
    found = tuple(ipaddress.ip_network(text, strict=False) for text in http.trusted_proxies)
    return Proxies(found, http.forwarded_header)


def make_app(
    pipeline: Pipeline, settings: Settings, telemetry: Telemetry, health: Mapping[str, Check]
) -> HttpApp:
    """The application over a pipeline."""
    http = settings.http
    return HttpApp(
        pipeline,
        max_body_bytes=http.max_body_bytes,
        max_file_bytes=http.max_file_bytes,
        proxies=proxies(settings),
        origins=http.cors_origins,
        admission=Admission(
            at_work=http.max_requests, waiting=http.max_queue, buffered_bytes=http.max_buffered_bytes
        ),
        health=health,
        metrics=(lambda: metrics(telemetry)) if settings.monitoring.metrics_enabled else None,
        metrics_path=settings.monitoring.prometheus_endpoint,
        counted=telemetry.http_request,
    )


def make_server(app: HttpApp, settings: Settings, drain_seconds: int, tls: Tls | None = None) -> HttpServer:
    """A server of the application; what one connection may take is as the settings say."""
    from thane.interfaces.http.connection import Bounds
    from thane.interfaces.http.server import HttpServer

    http = settings.http
    bounds = Bounds(
        connections=http.max_connections,
        head_bytes=http.max_header_bytes,
        head_seconds=http.header_timeout_secs,
        body_seconds=http.body_timeout_secs,
        send_seconds=http.send_timeout_secs,
        idle_seconds=http.idle_timeout_secs,
    )
    return HttpServer(app, drain_seconds=drain_seconds, bounds=bounds, tls=tls)


def tls_of(settings: Settings) -> Tls | None:
    """The certificate of the settings; None without one. SettingsError for one that cannot be used."""
    http = settings.http
    if not http.tls_cert:
        return None
    from thane.interfaces.http.tls import Tls

    return Tls(Path(http.tls_cert), Path(http.tls_key))


def read_again(tls: Tls) -> None:
    """SIGHUP: the files were replaced. What is wrong with them is said, and the old ones stay."""
    try:
        tls.reload()
    except SettingsError as fault:
        log.error("the certificate stays as it was: %s %s", fault.message, fault.hint)  # noqa: TRY400
    else:
        log.warning("the certificate was read again")


def with_room(settings: Settings) -> Settings:
    """The settings with as many connections as open files are allowed for."""
    allowed = allowed_connections(settings.http.max_connections)
    http = msgspec.structs.replace(settings.http, max_connections=allowed)
    return msgspec.structs.replace(settings, http=http)


def allowed_connections(wanted: int) -> int:
    """Raise this process's limit of open files as far as `wanted` connections need it, and it may be.

    Returns how many connections it leaves room for; says so in the log where that is fewer.
    SettingsError where next to none are left.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < needed:
        room = hard - OTHER_FILES
        cure = f"Allow {needed} with `ulimit -n {needed}`, or `LimitNOFILE={needed}` in a systemd unit"
        if room < LEAST_CONNECTIONS:
            raise SettingsError(
                f"this process may open {hard} files, which leaves no room for connections", hint=f"{cure}."
            )
        log.warning(
            "http.max_connections is %d, but this process may open %d files: %d connections are let in. "
            "%s, or set http.max_connections lower.", wanted, hard, room, cure,
        )  # fmt: skip
        wanted, needed = room, hard
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return wanted
