"""The network, and every other kind of socket."""

from __future__ import annotations

from tests.hostile.rows import (
    Expectations,
    NotShown,
    Program,
    Shown,
    denied,
    ends,
    everywhere,
    nothing,
    stopped,
)

_EMPTY = denied("ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL|EHOSTUNREACH", t1="EPERM")


def _net(name: str, aim: str, source: str, expect: Expectations = _EMPTY, **more: object) -> Program:
    bare = more.pop("bare", Shown())
    return Program(name, "network", aim, "import socket\n" + source, expect, bare, **more)  # type: ignore[arg-type]


NETWORK = (
    _net(
        "tcp-to-the-loopback",
        "reach a service on the host's loopback",
        "socket.create_connection(('127.0.0.1', H['port']), 5)\nfound(True)",
    ),
    _net(
        "tcp-to-the-host",
        "reach a service on the host's address",
        "socket.create_connection((H['address'], H['any_port']), 5)\nfound(True)",
    ),
    _net(
        "udp-to-the-host",
        "send a datagram to the host",
        "sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "sending.sendto(b'x', (H['address'], H['udp_port']))\nfound(H['address'] != '127.0.0.1')",
    ),
    _net(
        "udp-to-the-loopback",
        "send a datagram to the host's loopback",
        "sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "sending.sendto(b'x', ('127.0.0.1', H['udp_port']))\nend('SENT', 0)",
        # Into its own empty loopback: the canary says that nothing came to the host's.
        everywhere(ends("SENT\n"), t1=stopped("DENIED EPERM"), t3=ends("SENT\n")),
        bare=Shown("touches"),
    ),
    _net(
        "broadcast",
        "send to everybody on the host's network",
        "sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "sending.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)\n"
        "sending.sendto(b'x', ('255.255.255.255', H['udp_port']))\nfound(True)",
        bare=NotShown("the stand-in has no network to broadcast to, and the host's is not ours"),
    ),
    _net(
        "tcp-to-the-world",
        "reach a host of the world",
        "socket.create_connection(('192.0.2.1', 443), 5)\nfound(True)",
        bare=NotShown("it would leave the machine; the address is one for examples"),
    ),
    _net(
        "cloud-metadata",
        "ask the cloud's metadata service for credentials",
        "socket.create_connection(('169.254.169.254', 80), 5)\nfound(True)",
        bare=NotShown("it would ask the machine's own cloud"),
    ),
    _net(
        "names-by-the-resolver",
        "resolve a name, and so carry data out in it",
        "try: socket.getaddrinfo('secret.example.com', 80)\n"
        "except socket.gaierror: found(False)\nfound(True)",
        nothing(),
        bare=NotShown("it would leave the machine"),
    ),
    _net(
        "names-by-hand",
        "ask the host's resolver by a datagram of its own",
        "asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nasking.settimeout(0.3)\n"
        "asking.connect(('127.0.0.53', 53))\n"
        "asking.send(b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7example\\3com\\0\\0\\1\\0\\1')\n"
        "found(asking.recv(512))",
        bare=NotShown("it would leave the machine by the host's resolver"),
    ),
    _net(
        "tcp-by-version-6",
        "reach the host by version 6 of the protocol",
        "asking = socket.socket(socket.AF_INET6)\nasking.settimeout(5)\n"
        "asking.connect(('::ffff:127.0.0.1', H['port']))\nfound(True)",
        bare=Shown(may_lack=("EAFNOSUPPORT",)),
    ),
    _net(
        "listen-for-the-host",
        "open a port of the host",
        "open_ = socket.socket(); open_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "open_.bind(('0.0.0.0', H['free_port'])); open_.listen(); open_.settimeout(0.7)\n"
        "try: open_.accept()\nexcept TimeoutError: found(False)\nfound(True)",
        nothing("DENIED EPERM"),
        visited=True,
    ),
    _net(
        "raw-packets",
        "make packets of its own",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)\nfound(True)",
        denied("EPERM"),
        bare=Shown(root_only=True),
    ),
    _net(
        "ping",
        "send pings",
        "asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)\n"
        "asking.sendto(b'\\x08\\0\\0\\0\\0\\0\\0\\0', (H['address'], 0))\nfound(True)",
        denied("EACCES|ENETUNREACH|EPERM", t1="EPERM"),
        bare=Shown(may_lack=("EACCES",)),
    ),
    _net(
        "listen-to-packets",
        "listen to the packets of the host",
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))\nfound(True)",
        denied("EAFNOSUPPORT|EPERM", t1="EPERM"),
        bare=Shown(root_only=True, may_lack=("EAFNOSUPPORT",)),
    ),
    _net(
        "netlink",
        "speak to the kernel's network configuration",
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\nfound(True)",
        denied("EAFNOSUPPORT", t1="EPERM"),
    ),
    _net(
        "netlink-pair",
        "get a netlink socket by another call",
        "call('socketpair', 16, 3, 0, (ctypes.c_int * 2)())\nfound(True)",
        denied("EAFNOSUPPORT"),
        bare=NotShown("the kernel makes pairs of Unix sockets only"),
    ),
    _net(
        "vsock",
        "reach the machine's own host (vsock)",
        "socket.socket(40, socket.SOCK_STREAM)\nfound(True)",
        denied("EAFNOSUPPORT", t1="EPERM"),
        bare=Shown(may_lack=("EAFNOSUPPORT",)),
    ),
    _net(
        "kernel-cryptography",
        "reach the kernel's cryptography (AF_ALG), a way to many defects",
        "socket.socket(38, socket.SOCK_SEQPACKET)\nfound(True)",
        denied("EAFNOSUPPORT", t1="EPERM"),
        bare=Shown(may_lack=("EAFNOSUPPORT",)),
    ),
    _net(
        "all-other-families",
        "make a socket of any other family",
        """
made = []
for family in range(3, 64):
    if family == socket.AF_INET6: continue
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try: socket.socket(family, kind).close(); made.append(family)
        except OSError: pass
found(made)
""",
        nothing(),
    ),
    _net(
        "abstract-socket",
        "reach an abstract socket of the host",
        "asking = socket.socket(socket.AF_UNIX)\nasking.connect('\\0' + H['abstract'])\nfound(True)",
        denied("ECONNREFUSED", t1="EPERM"),
    ),
    _net(
        "unix-socket",
        "reach a Unix socket of the host (a database, Docker, the session bus)",
        "asking = socket.socket(socket.AF_UNIX)\nasking.connect(H['socket'])\nfound(True)",
        denied("ENOENT", t1="EPERM"),
    ),
    _net(
        "unix-datagram",
        "write to the host's log",
        "sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "sending.connect('/dev/log')\nfound(True)",
        denied("ENOENT", t1="EPERM"),
        bare=NotShown("it would write to the machine's own log, where it has one"),
    ),
    *(
        _net(
            f"datagram-by-a-pair-of-{name}",
            f"reach a Unix socket of the host by one of a pair of sockets ({name})",
            f"sending, _ = socket.socketpair(socket.AF_UNIX, socket.{kind})\n"
            f"sending.sendto(b'x', H['datagrams'])\nfound(True)",
            denied("ENOENT", t1="EPERM"),
        )
        for name, kind in (("datagrams", "SOCK_DGRAM"), ("raw-sockets", "SOCK_RAW"))
    ),
    _net(
        "abstract-datagram-by-a-pair",
        "reach an abstract socket of the host by one of a pair of sockets",
        "sending, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "sending.sendto(b'x', '\\0datagrams-' + H['abstract'])\nfound(True)",
        denied("ECONNREFUSED", t1="EPERM"),
    ),
    _net(
        "connect-a-pair",
        "reach a Unix socket of the host by connecting one of a pair again",
        "asking, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "asking.connect(H['datagrams']); asking.send(b'x')\nfound(True)",
        denied("ENOENT", t1="EPERM"),
    ),
    _net(
        "send-by-a-stream",
        "reach a Unix socket of the host by a connected stream that names another address",
        """
sent = 0
for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
    asking, other = socket.socketpair(socket.AF_UNIX, kind)
    other.setblocking(False)
    for address in (H["datagrams"], H["socket"], "\\0" + H["abstract"]):
        try: asking.sendto(b"x", address); sent += not other.recv(8)
        except OSError: pass
        try: asking.connect(address); sent += 1
        except OSError: pass
found(sent)
""",
        nothing(),
        bare=NotShown("the kernel itself lets no connected stream go elsewhere"),
    ),
    _net(
        "interfaces-of-the-host",
        "learn the host's interfaces and connections",
        "found([n for n in os.listdir('/sys/class/net') if n != 'lo'] or\n"
        "      len(read('/proc/net/tcp').splitlines()) > 1)",
        denied("ENOENT", t1="EACCES"),
        bare=Shown(),
    ),
)
