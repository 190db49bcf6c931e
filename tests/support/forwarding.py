"""A box with a forward proxy, and what it may lead to: some services of a mesh, as the supervisor and the agent would tell them.

The test's own user is recognised as whichever workload it says.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self

from tests.support.attached import leave_with_reset
from tests.support.h2_tunnels import H2Link, Tunnel
from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    dial,
    echo,
    field,
    host,
    until,
)
from tulle.wire.snapshot import (
    Action,
    Backend,
    Caller,
    HostEndpoint,
    Limits,
    Mode,
    Operation,
    Policy,
    Protocol,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    Source,
    WeightedBackend,
)

WEB, STRANGER, NOBODY = "default/web", "other/stranger", ""
ORDERS, OPEN, OTHER, POSTGRES, DOWN = "127.80.0.1", "127.80.0.2", "127.80.0.3", "127.80.0.4", "127.80.0.5"
HTTP, TCP, HTTP2 = 81, 82, 83
"""Ports of orders; 80 is detected."""


def principal(pod: str) -> str:
    """Who a workload is."""
    namespace, _, name = pod.partition("/")
    return f"shop.local/ns/{namespace}/sa/{name}"


FROM_WEB = Source(principals=(principal(WEB),))
POLICIES = (
    Policy(
        name="default/orders",
        action=Action.ALLOW,
        rules=(
            Rule(sources=(FROM_WEB,), operations=(Operation(methods=("GET", "POST"), paths=("/orders/*",)),)),
            Rule(sources=(FROM_WEB,), operations=(Operation(ports=(9082,)),)),
        ),
    ),
    Policy(name="default/anybody", action=Action.ALLOW, rules=(Rule(),)),
    Policy(name="other/attested", action=Action.ALLOW, rules=(Rule(sources=(Source(principals=("*",)),)),)),
    Policy(name="default/postgres", action=Action.ALLOW, rules=(Rule(sources=(FROM_WEB,)),)),
)


def snapshot(
    endpoint: int, *, generation: int = 1, mode: Mode = Mode.ENFORCE, limits: Limits | None = None
) -> Snapshot:
    """The mesh: `endpoint` is where everything that is up listens."""
    backends: list[Backend] = []
    services: list[Service] = []

    def add(name: str, address: str, ports: dict[int, Protocol], policy: str, places: tuple[HostEndpoint, ...]) -> None:
        declared = []
        for port, protocol in ports.items():
            speaks = Protocol.HTTP if protocol is Protocol.HTTP else Protocol.DETECT
            backend = Backend(
                name=f"{name}:{9000 + port}", service=name, version="v1", protocol=speaks, endpoints=places
            )
            backends.append(backend)
            shares = (WeightedBackend(backend=backend.name),)
            routes = (Route(name=name, backends=shares),)
            declared.append(
                ServicePort(port=port, target_port=9000 + port, protocol=protocol, routes=routes, backends=shares)
            )
        services.append(Service(name=name, address=address, ports=tuple(declared), policies=(policy,)))

    up = (host(endpoint),)
    every = {80: Protocol.DETECT, HTTP: Protocol.HTTP, TCP: Protocol.TCP, HTTP2: Protocol.HTTP2}
    add("default/orders", ORDERS, every, "default/orders", up)
    add("default/open", OPEN, {80: Protocol.HTTP, HTTP: Protocol.DETECT, TCP: Protocol.TCP}, "default/anybody", up)
    add("other/orders", OTHER, {80: Protocol.HTTP}, "other/attested", up)
    add("default/postgres", POSTGRES, {5432: Protocol.TCP}, "default/postgres", up)
    add("default/down", DOWN, {80: Protocol.HTTP, TCP: Protocol.TCP}, "default/anybody", ())
    callers = tuple(
        Caller(pod=pod, principal=principal(pod), namespace=pod.partition("/")[0], service=pod)
        for pod in (WEB, STRANGER)
    )
    return Snapshot(
        generation=generation,
        mesh="shop",
        trust_domain="shop.local",
        mode=mode,
        services=tuple(services),
        backends=tuple(backends),
        policies=POLICIES,
        callers=callers,
        limits=limits if limits is not None else Limits(),
    )


class Opened:
    """What CONNECT was answered, and the octets behind it."""

    def __init__(
        self, status: int, reason: str, sock: socket.socket, tunnel: Tunnel | None = None, link: H2Link | None = None
    ) -> None:
        self.status = status
        self.reason = reason
        self.sock = sock
        self.tunnel = tunnel
        """Over HTTP/2."""
        self.link = link

    def is_reset(self) -> bool:
        """Waits for the end of the octets; whether it was a reset."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            return True
        tunnel = self.tunnel
        return tunnel is not None and not tunnel.peer_done

    def break_off(self) -> None:
        """The caller leaves with a reset."""
        if self.link is not None and self.tunnel is not None:
            self.link.reset(self.tunnel)
        else:
            leave_with_reset(self.sock)


class Town:
    """A proxy with a forward listener of each family in front of one endpoint."""

    def __init__(self, serve: Callable[[socket.socket], None] = echo, limits: Limits | None = None) -> None:
        self._stack = contextlib.ExitStack()
        self.backends = Backends()
        self._stack.callback(self.backends.close)
        self.endpoint = self.backends.serve(serve)
        self.proxy = self._stack.enter_context(Proxy())
        self.port = self._listen(socket.AF_INET, "127.0.0.1", "127.0.0.1:15001")
        self.port6 = self._listen(socket.AF_INET6, "::1", "[::1]:15001")
        self.caller = NOBODY
        self.generation = 0
        self._limits = limits
        self.put()
        self.proxy.hand_over("synced", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._stack.__exit__(None, None, None)

    def put(self, mode: Mode = Mode.ENFORCE) -> None:
        """Puts the mesh in force."""
        self.generation += 1
        self.proxy.put(snapshot(self.endpoint, generation=self.generation, mode=mode, limits=self._limits))

    def become(self, workload: str) -> None:
        """The test's user is this one from now on."""
        if workload == self.caller:
            return
        if self.caller:
            self.proxy.tell("detached", self.caller)
        if workload:
            self.proxy.tell("attached", workload, os.getuid())
        self.caller = workload

    @contextlib.contextmanager
    def connect(self, way: str, authority: str) -> Iterator["Opened"]:
        """A CONNECT over `h1` or `h2`, once it is answered."""
        if way == "h1":
            with dial(self.port) as sock:
                sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode())
                yield Opened(*verdict(read_only_head(sock)), sock)
            return
        with self.link() as link:
            tunnel = link.ask({":method": "CONNECT", ":authority": authority})
            answer = link.answered(tunnel)
            yield Opened(int(answer[":status"]), answer.get("x-tulle-reason", ""), tunnel.sock, tunnel, link)

    def link(self) -> H2Link:
        """A connection that speaks HTTP/2, running."""
        link = H2Link(dial(self.port), is_client=True)
        link.start()
        return link

    def asked(self, octets: bytes) -> tuple[int, str]:
        """What a request is answered: status and reason."""
        with Client(self.port) as client:
            client.send(octets)
            return verdict(client.read()[1])

    def _listen(self, family: socket.AddressFamily, address: str, name: str) -> int:
        listener = self._stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.bind((address, 0))
        listener.listen(1024)
        self.proxy.hand_over("forward", name, listener)
        return int(listener.getsockname()[1])


def read_only_head(sock: socket.socket) -> bytes:
    """A head, and nothing that is behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        octet = sock.recv(1)
        assert octet, head
        head += octet
    return head


def verdict(head: bytes) -> tuple[int, str]:
    """Status and reason of an answer."""
    return int(head.split(b" ")[1]), field(head, "x-tulle-reason") or ""


def greet_first(sock: socket.socket) -> None:
    """Speaks before it is spoken to, then echoes octets until the caller's half ends, and says so."""
    sock.sendall(b"220 ready\r\n")
    while octets := sock.recv(65536):
        sock.sendall(octets)
    sock.sendall(b"bye\r\n")


class Held:
    """An endpoint that keeps each connection for the test."""

    def __init__(self) -> None:
        self.socks: list[socket.socket] = []
        self._over = threading.Event()

    def __call__(self, sock: socket.socket) -> None:
        self.socks.append(sock)
        self._over.wait()

    def taken(self) -> socket.socket:
        """The first connection, once it is there."""
        until(lambda: bool(self.socks), "a connection of the proxy")
        return self.socks[0]

    def let_go(self) -> None:
        """Closes all."""
        self._over.set()
