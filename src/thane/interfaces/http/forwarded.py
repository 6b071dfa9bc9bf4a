"""What a trusted proxy says of its client: address, scheme, host. Of anyone else nothing is believed.

One header is believed, the one that the proxy is known to write (`http.forwarded_header`): a
proxy that writes X-Forwarded-For passes on whatever `Forwarded` a client has made up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from thane.interfaces.http.asgi import Scope

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
Dialect = Literal["x-forwarded", "forwarded"]

_PAIR: Final = re.compile(r'\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^",;=\s]*))\s*', re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?\Z|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?\Z", re.ASCII)


class Client(NamedTuple):
    """Who asks, as far as is known; `host` as it was asked for, `scheme` of the first connection."""

    address: str | None
    scheme: str
    host: str


class Proxies(NamedTuple):
    """The proxies that are believed, and the header that they write."""

    networks: Networks = ()
    dialect: Dialect = "x-forwarded"

    def trusts(self, address: str) -> bool:
        """Whether an address is that of a proxy."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.networks if network.version == found.version)

    def client_ip(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """The client's address: the first that no proxy of ours has, going from the right."""
        client = scope.get("client")
        if not client:
            return None
        address: str = client[0]
        if not self.networks or not self.trusts(address):
            return address
        for hop in reversed(self._hops(headers)):
            found = _address(hop.get("for", ""))
            if found is None:
                break
            address = found
            if not self.trusts(address):
                break
        return address

    def client(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Client:
        """The client with scheme and host. `headers` has host and the forwarding ones."""
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        host = headers.get(b"host", b"").decode("latin-1").lower()
        direct = scope.get("client")
        if self.networks and direct and self.trusts(direct[0]):
            hops = self._hops(headers)
            last = hops[-1] if hops else {}
            if last.get("proto", "").lower() in ("http", "https"):
                scheme = last["proto"].lower()
            if _HOST.match(last.get("host", "")):
                host = last["host"].lower()
        return Client(self.client_ip(scope, headers), scheme, host)

    def _hops(self, headers: Mapping[bytes, bytes]) -> list[dict[str, str]]:
        """What each proxy has said, the nearest last; empty where one of them makes no sense."""
        if self.dialect == "forwarded":
            return _forwarded(headers.get(b"forwarded", b"").decode("latin-1"))
        said = {
            name: [part.strip() for part in headers.get(header, b"").decode("latin-1").split(",")]
            for name, header in (
                ("for", b"x-forwarded-for"), ("proto", b"x-forwarded-proto"), ("host", b"x-forwarded-host"),
            )
            if header in headers
        }  # fmt: skip
        hops = [{"for": address} for address in said.get("for", [])] or [{}]
        for name in ("proto", "host"):
            if name in said:
                hops[-1][name] = said[name][-1]
        return hops


def _forwarded(text: str) -> list[dict[str, str]]:
    """RFC 7239. Elements are separated by commas, pairs by semicolons, values may be quoted."""
    hops: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            return []
        hops[-1][found[1].lower()] = found[2] if found[2] is not None else found[3]
        at = found.end()
        if at < len(text):
            if text[at] not in ",;":
                return []
            if text[at] == ",":
                hops.append({})
            at += 1
    return hops


def _address(text: str) -> str | None:
    """`192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; None for a name or `unknown`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
