"""A proxy on the box's own loopback, a service that `web` and `root` may call, and what the kernel says of a connection."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Self

from tests.support.attached import Actor, leave_with_reset
from tests.support.proxy_harness import Backends, Proxy, until
from tulle.kit.netlink import open_sock_diag
from tulle.kit.sock_diag import Owner, SockDiag, place_of
from tulle.proxy.attest import WAIT_SECONDS
from tulle.wire.snapshot import (
    Action,
    AttachedEndpoint,
    Backend,
    Caller,
    HostEndpoint,
    Limits,
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

ADDRESS = "127.80.0.1"
MAPPED = f"::ffff:{ADDRESS}"
LOOPBACK_TO = {MAPPED: "::ffff:127.0.0.1", "::1": "::1"}
"""Whence a caller dials that speaks IPv6."""
REQUEST = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n"
Endpoint = AttachedEndpoint | HostEndpoint


class AttachedMesh:
    """One service, `default/orders`, at a virtual address of the box. `web` and `root` may call it, nobody else."""

    def __init__(self, proxy: Proxy, backends: Backends) -> None:
        self.proxy = proxy
        self.backends = backends
        self.port = proxy.host(ADDRESS)
        self._opened = open_sock_diag()
        self.diag = SockDiag(self._opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def serve(
        self,
        endpoint: Endpoint,
        *,
        generation: int = 1,
        protocol: Protocol = Protocol.DETECT,
        allow: tuple[str, ...] = ("web", "root"),
        anonymous: bool = False,
        speaks: Protocol = Protocol.DETECT,
        limits: Limits | None = None,
    ) -> None:
        """Puts the service in force, and accepts."""
        backend = Backend(
            name="default/orders:9000", service="default/orders", version="v1", endpoints=(endpoint,), protocol=speaks
        )
        shares = (WeightedBackend(backend=backend.name),)
        port = ServicePort(
            port=self.port,
            target_port=9000,
            protocol=protocol,
            routes=(Route(name="default/orders", backends=shares),),
            backends=shares,
        )
        principals = tuple(f"shop.local/ns/default/sa/{name}" for name in allow)
        rule = Rule() if anonymous else Rule(sources=(Source(principals=principals),))
        policy = Policy(name="default/orders", action=Action.ALLOW, rules=(rule,))
        service = Service(name="default/orders", address=ADDRESS, ports=(port,), policies=(policy.name,))
        self.proxy.put(
            Snapshot(
                generation=generation,
                mesh="shop",
                trust_domain="shop.local",
                callers=tuple(_caller(name) for name in ("web", "root", "jobs")),
                services=(service,),
                backends=(backend,),
                policies=(policy,),
                limits=limits or Limits(),
            )
        )
        self.proxy.hand_over("synced", "")

    def forward6(self) -> int:
        """Opens the forward proxy's listener of IPv6, and returns its port: the only way in by that family."""
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            self.proxy.hand_over("forward", "[::1]:15001", listener)
            return int(listener.getsockname()[1])

    def seen_by_kernel(self, theirs: tuple[str, int], ours: tuple[str, int] | None = None) -> Owner:
        """What one who believes the kernel's first word would believe of the caller at this address, who dialled `ours`."""
        found = self.diag.connection(place_of(*theirs), place_of(*(ours or (ADDRESS, self.port))))
        assert found is not None
        return found

    def served(self, source: str) -> float:
        """Requests of this caller that were answered 200."""
        return self.proxy.metrics().sum("tulle_requests_total", source=source, response_class="2xx")

    def denied(self, source: str = "anonymous") -> float:
        """Requests of this caller that were refused."""
        return self.proxy.metrics().sum("tulle_denied_total", source=source)

    def until_denied(self, times: int = 1) -> None:
        """Waits until so many anonymous requests were refused, and makes sure that nobody else's were taken for those."""
        until(lambda: self.denied() == times, f"{times} anonymous requests are refused")
        assert self.proxy.metrics().sum("tulle_denied_total") == times

    def hear(self, kind: str) -> None:
        """Waits for a word of the proxy to the supervisor."""
        self.proxy.control.settimeout(20)
        while json.loads(self.proxy.control.recv(4096))["kind"] != kind:
            pass

    def overhear(self) -> list[str]:
        """What the proxy has said that nobody heard yet."""
        self.proxy.control.setblocking(False)
        heard = []
        try:
            while True:
                heard.append(json.loads(self.proxy.control.recv(4096))["kind"])
        except BlockingIOError:
            self.proxy.control.setblocking(True)
            return heard

    def ask(self, actor: Actor, **how: Any) -> int:
        """The status that this process gets."""
        return int(actor.run(get, (ADDRESS, self.port), **how))


def _caller(name: str) -> Caller:
    return Caller(
        pod=f"default/{name}",
        principal=f"shop.local/ns/default/sa/{name}",
        namespace="default",
        service=f"default/{name}",
    )


State = dict[str, Any]


def get(state: State, address: tuple[str, int], request: bytes = REQUEST) -> int:
    """One request on a connection of its own; the status."""
    with socket.create_connection(address, timeout=20) as sock:
        return status_of(sock, request)


def connect(
    state: State, name: str, address: tuple[str, int], source: int = 0, octets: bytes = b"", device: bytes = b""
) -> tuple[str, int]:
    """Connects and keeps the socket under a name; returns its own address."""
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    sock.settimeout(20)
    state[name] = sock
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    if source:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK_TO.get(address[0], "127.0.0.1"), source))
    sock.connect(address)
    if octets:
        sock.sendall(octets)
    host, port, *_ = sock.getsockname()
    return host, port


def make(state: State, name: str, protocol: int = 0) -> None:
    """A socket, not connected yet."""
    state[name] = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    state[name].settimeout(20)


def dial(state: State, name: str, address: tuple[str, int]) -> None:
    """Connects one that was made."""
    state[name].connect(address)


def ask(state: State, name: str, request: bytes = REQUEST) -> int:
    """The status of a request on a kept connection; 0 where it is over."""
    try:
        return status_of(state[name], request)
    except ConnectionError:
        return 0


def close(state: State, name: str) -> None:
    """In order."""
    state.pop(name).close()


def reset(state: State, name: str) -> None:
    """Not in order."""
    leave_with_reset(state.pop(name))


def status_of(sock: socket.socket, request: bytes) -> int:
    """What is answered to a request; 0 where nothing is."""
    sock.sendall(request)
    answer = sock.recv(65536)
    return int(answer.split()[1]) if answer else 0


def receive_octets(state: State, name: str) -> bytes:
    """What comes; `reset` where the connection broke."""
    try:
        return bytes(state[name].recv(100))
    except ConnectionResetError:
        return b"reset"


def become(state: State, uid: int) -> None:
    """Another user from now on."""
    os.setresuid(uid, uid, uid)


class TooLate(Exception):
    """Whoever waited may have been judged before it was said who it is: what came of it proves nothing."""


def be_in_time(began: float) -> None:
    """Raises TooLate when somebody who waits since then for the supervisor's look may wait no more."""
    if time.monotonic() - began > WAIT_SECONDS:
        raise TooLate


def in_time(attempt: Callable[[], None], anew: Callable[[], None] = lambda: None) -> None:
    """Makes an attempt, and another, behind `anew`, where this box was too late for one."""
    for _ in range(20):
        with contextlib.suppress(TooLate):
            attempt()
            return
        anew()
    raise AssertionError("this box never looks while anybody waits")


def address_of(snapshot: bytes, service: str) -> str:
    """Where a service is dialled, as a snapshot says."""
    (found,) = [one for one in json.loads(snapshot)["services"] if one["name"] == service]
    return str(found["address"])
