"""What a proxy says of its client: believed from proxies only, and only in the header that they write."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from thane.interfaces.http.forwarded import Proxies

OURS = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
PROXY: dict[str, Any] = {"client": ("10.0.0.1", 1), "scheme": "http"}
STRANGER: dict[str, Any] = {"client": ("192.0.2.1", 1), "scheme": "http"}


def headers(**given: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in given.items()}


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('for="198.51.100.7:4711"', "198.51.100.7"),
        ('For="[2001:db9::17]:4711";proto=https', "2001:db9::17"),
        ("for=203.0.113.9, for=198.51.100.7", "198.51.100.7"),
        ("for=198.51.100.7, for=10.2.2.2", "198.51.100.7"),
        ('for="198.51.100.7";by=10.0.0.1 , for=10.2.2.2;host=x', "198.51.100.7"),
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden", "10.0.0.1"),
        ("for=198.51.100.7, nonsense", "10.0.0.1"),
        ('for="198.51.100.7', "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_client_of_a_forwarded_header(said: str, address: str) -> None:
    proxies = Proxies(OURS, "forwarded")
    assert proxies.client_ip(PROXY, headers(forwarded=said)) == address
    assert proxies.client_ip(STRANGER, headers(forwarded=said)) == "192.0.2.1"
    assert Proxies().client_ip(PROXY, headers(forwarded=said)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.9, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
        ("2001:db9::17", "2001:db9::17"),
        ("[2001:db9::17]:80, 2001:db8::1", "2001:db9::17"),
        ("nonsense", "10.0.0.1"),
    ],
)
def test_the_client_of_x_forwarded_for(said: str, address: str) -> None:
    assert Proxies(OURS).client_ip(PROXY, headers(x_forwarded_for=said)) == address
    assert Proxies(OURS).client_ip(STRANGER, headers(x_forwarded_for=said)) == "192.0.2.1"


def test_a_header_that_the_proxy_does_not_write_is_its_clients_invention() -> None:
    made_up = headers(forwarded="for=203.0.113.9;proto=https;host=a", x_forwarded_for="198.51.100.7")
    assert Proxies(OURS).client(PROXY, made_up)[:2] == ("198.51.100.7", "http")
    made_up = headers(x_forwarded_for="203.0.113.9", x_forwarded_proto="https", forwarded="for=198.51.100.7")
    assert Proxies(OURS, "forwarded").client(PROXY, made_up)[:2] == ("198.51.100.7", "http")


def test_scheme_and_host_are_the_nearest_proxys_word() -> None:
    said = headers(
        host="inside:80", x_forwarded_proto="http, https", x_forwarded_host="a.example, B.example:8443"
    )
    assert Proxies(OURS).client(PROXY, said)[1:] == ("https", "b.example:8443")
    assert Proxies(OURS).client(STRANGER, said)[1:] == ("http", "inside:80")
    said = headers(host="inside", forwarded='for=1.2.3.4;proto=HTTPS;host="a.example"')
    assert Proxies(OURS, "forwarded").client(PROXY, said)[1:] == ("https", "a.example")
    said = headers(host="inside", x_forwarded_proto="gopher", x_forwarded_host="a b")
    assert Proxies(OURS).client(PROXY, said)[1:] == ("http", "inside")
    assert Proxies(OURS).client({**PROXY, "scheme": "wss"}, headers(host="x")).scheme == "https"
    assert Proxies(OURS).client({"client": None}, headers(host="x")) == (None, "http", "x")
    assert not Proxies(OURS).trusts("no address")
