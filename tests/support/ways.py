"""Every way by which a request's octets come to the proxy, in front of one service and an endpoint that judges what comes of them."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Final, Self

from tests.support.attached_path import listening
from tests.support.h2_tunnels import H2Link
from tests.support.judge import Judge
from tests.support.proxy_harness import ALLOW_ALL, DEADLINE, Backends, Proxy, dial, host, read_head
from tulle.wire.snapshot import (
    Backend,
    Caller,
    Door,
    Limits,
    Protocol,
    Route,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
)

ADDRESS: Final = "127.80.7.7"
SERVICE: Final = "example/shop"
"""So `shop.example`, which the tables say, is one of its names."""
WEB: Final = "default/web"
TO_HTTP2: Final = 8002
"""The port whose endpoint speaks HTTP/2; 80 has one that speaks HTTP/1.1, and so has every other."""
DETECTED: Final = 8003

WAYS: Final = (
    "door",
    "door, to HTTP/2",
    "door, detected",
    "pod",
    "attached",
    "within CONNECT",
    "within CONNECT, detected",
    "within CONNECT over HTTP/2",
    "path",
    "forward",
)

Connect = Callable[[], contextlib.AbstractContextManager[socket.socket]]


class Ways:
    """A proxy with a listener of every kind."""

    def __init__(self, limits: Limits) -> None:
        self._stack = contextlib.ExitStack()
        self.judge = Judge()
        backends = Backends()
        self._stack.callback(backends.close)
        self.proxy = self._stack.enter_context(Proxy())
        self._doors = {port: self.proxy.door() for port in (80, TO_HTTP2, DETECTED)}
        self._attached = self.proxy.host(ADDRESS)
        self._pod = self._listen("address", ADDRESS, lambda port: f"{WEB}@{ADDRESS}:{port}")
        self._forward = self._listen("forward", "127.0.0.1", lambda _port: "127.0.0.1:15001")
        self._path = self._stack.enter_context(listening(self.proxy))
        self.proxy.tell("attached", WEB, os.getuid())
        self.proxy.put(self._snapshot(limits, backends.serve(self.judge.h1), backends.serve(self.judge.h2)))
        self.proxy.hand_over("synced", "")
        connects: tuple[Connect, ...] = (
            lambda: dial(self._doors[80]),
            lambda: dial(self._doors[TO_HTTP2]),
            lambda: dial(self._doors[DETECTED]),
            lambda: dial_address(ADDRESS, self._pod),
            lambda: dial_address(ADDRESS, self._attached),
            lambda: self._connect_by_http1(80),
            lambda: self._connect_by_http1(DETECTED),
            lambda: self._connect_by_http2(80),
            lambda: dial_path(self._path),
            lambda: dial(self._forward),
        )
        self.by_name = dict(zip(WAYS, connects, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _connect_by_http1(self, port: int) -> Iterator[socket.socket]:
        with dial(self._forward) as sock:
            sock.sendall(f"CONNECT {ADDRESS}:{port} HTTP/1.1\r\nhost: {ADDRESS}:{port}\r\n\r\n".encode())
            head, rest = read_head(sock)
            assert (head[:12], rest) == (b"HTTP/1.1 200", b"")
            yield sock

    @contextlib.contextmanager
    def _connect_by_http2(self, port: int) -> Iterator[socket.socket]:
        with H2Link(dial(self._forward), is_client=True) as link:
            link.start()
            tunnel = link.ask({":method": "CONNECT", ":authority": f"{ADDRESS}:{port}"})
            assert link.answered(tunnel)[":status"] == "200"
            yield tunnel.sock

    def _listen(self, kind: str, address: str, name: Callable[[int], str]) -> int:
        listener = self._stack.enter_context(socket.create_server((address, 0), backlog=1024))
        port = int(listener.getsockname()[1])
        self.proxy.hand_over(kind, name(port), listener)
        return port

    def _snapshot(self, limits: Limits, http1: int, http2: int) -> Snapshot:
        backends = {
            speaks: Backend(
                name=f"{SERVICE}:{speaks}",
                service=SERVICE,
                version="v1",
                protocol=speaks,
                endpoints=(host(port, "example/shop-v1"),),
            )
            for speaks, port in ((Protocol.HTTP, http1), (Protocol.HTTP2, http2))
        }
        declared = {80: Protocol.HTTP, self._attached: Protocol.HTTP, self._pod: Protocol.HTTP}
        declared |= {TO_HTTP2: Protocol.HTTP2, DETECTED: Protocol.DETECT}
        ports = []
        for port, protocol in declared.items():
            speaks = Protocol.HTTP2 if port == TO_HTTP2 else Protocol.HTTP
            shares = (WeightedBackend(backend=backends[speaks].name),)
            routes = (Route(name=f"{SERVICE}:{port}", backends=shares),)
            ports.append(ServicePort(port=port, target_port=9000, protocol=protocol, routes=routes, backends=shares))
        service = Service(name=SERVICE, address=ADDRESS, ports=tuple(ports), policies=(ALLOW_ALL.name,))
        return Snapshot(
            generation=1,
            mesh="shop",
            trust_domain="shop.local",
            services=(service,),
            backends=tuple(backends.values()),
            policies=(ALLOW_ALL,),
            callers=(Caller(pod=WEB, principal="shop.local/ns/default/sa/web", namespace="default", service=WEB),),
            doors=tuple(Door(port=door, service=SERVICE, service_port=port) for port, door in self._doors.items()),
            limits=limits,
        )


def dial_address(address: str, port: int) -> socket.socket:
    """A connection to a virtual address."""
    sock = socket.create_connection((address, port), timeout=DEADLINE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def dial_path(path: str) -> socket.socket:
    """A connection to the forward proxy's path."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    sock.connect(path)
    return sock
