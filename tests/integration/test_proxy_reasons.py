"""Every reason of the enum is given by something that can happen, with its status, and counted."""

import signal
import socket
from collections.abc import Callable

import msgspec
import pytest

from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    dial,
    echo,
    host,
    one_service,
    only,
    read_all,
    read_head,
    until,
)
from tests.support.relay_bench import Bench, broken_dial
from tools.ports import free_port
from tulle.wire.reason import Reason
from tulle.wire.snapshot import (
    AttachedEndpoint,
    Caller,
    Limits,
    PodEndpoint,
    Protocol,
    Route,
    Snapshot,
    WeightedBackend,
)

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
SHORT = 0.2

Provoke = Callable[[Proxy, Backends], bytes]
"""Makes it happen; returns the head of the answer."""


def answer_to(octets: bytes, snapshot: Callable[[int, Backends], Snapshot]) -> Provoke:
    """One connection by a door, with these octets."""

    def provoke(proxy: Proxy, backends: Backends) -> bytes:
        door = proxy.door()
        proxy.put(snapshot(door, backends))
        with dial(door) as sock:
            sock.sendall(octets)
            return read_head(sock)[0]

    return provoke


def plain(door: int, backends: Backends) -> Snapshot:
    return one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),))


def behind(handler: Callable[[socket.socket], None], limits: Limits | None = None) -> Callable[..., Snapshot]:
    """An endpoint that serves like this."""

    def snapshot(door: int, backends: Backends) -> Snapshot:
        return one_service({door: Protocol.HTTP}, (host(backends.serve(handler)),), limits=limits)

    return snapshot


def silent(sock: socket.socket) -> None:
    read_all(sock)


def leaves(sock: socket.socket) -> None:
    read_head(sock)


def babbles(sock: socket.socket) -> None:
    read_head(sock)
    sock.sendall(b"220 mail ready\r\n\r\n")


def http2_without_connect(sock: socket.socket) -> None:
    """Speaks HTTP/2, and announces nothing."""
    sock.sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    read_all(sock)


def no_extended_connect(proxy: Proxy, backends: Backends) -> bytes:
    door = proxy.door()
    snapshot = behind(http2_without_connect)(door, backends)
    (backend,) = snapshot.backends
    proxy.put(msgspec.structs.replace(snapshot, backends=(msgspec.structs.replace(backend, protocol=Protocol.HTTP2),)))
    with dial(door) as sock:
        sock.sendall(GET[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n")
        sock.sendall(b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n")
        return read_head(sock)[0]


def calls_denied(proxy: Proxy, backends: Backends) -> bytes:
    """By a listener at the service's own address, as in a pod without redirect."""
    proxy.door()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock:
        address, port = listener.getsockname()
        snapshot = one_service({0: Protocol.HTTP}, (host(backends.serve(echo)),))
        (service,) = snapshot.services
        ports = (msgspec.structs.replace(service.ports[0], port=port),)
        caller = Caller(
            "default/web", "shop.local/ns/default/sa/web", "default", "default/web", calls=("default/other",)
        )
        service = msgspec.structs.replace(service, address=address, ports=ports)
        proxy.put(msgspec.structs.replace(snapshot, services=(service,), doors=(), callers=(caller,)))
        proxy.hand_over("address", f"default/web@{address}:{port}", listener)
        sock.connect((address, port))
        sock.sendall(GET)
        return read_head(sock)[0]


def no_service(proxy: Proxy, backends: Backends) -> bytes:
    door = proxy.door()
    proxy.put(plain(door, backends))
    with Client(door) as client:
        assert client.get()[0] == 200
        proxy.put(one_service({}, (), generation=2))
        return client.get()[1]


def overloaded(proxy: Proxy, backends: Backends) -> bytes:
    door = proxy.door()
    proxy.put(behind(silent, Limits(requests_in_flight=1))(door, backends))
    with dial(door) as first, dial(door) as second:
        first.sendall(GET)
        until(lambda: bool(proxy.get("/status")["requests_in_flight"] == 1), "one is served")
        second.sendall(GET)
        return read_head(second)[0]


def draining(proxy: Proxy, backends: Backends) -> bytes:
    door = proxy.door()
    proxy.put(behind(silent, Limits(drain_timeout=SHORT))(door, backends))
    with dial(door) as sock:
        sock.sendall(GET)
        until(lambda: bool(proxy.get("/status")["requests_in_flight"] == 1), "it is served")
        proxy.process.send_signal(signal.SIGTERM)
        return read_head(sock)[0]


def internal(proxy: Proxy, backends: Backends) -> bytes:
    """No defect of a sound proxy is known: one is built in."""
    bench = Bench(Protocol.HTTP, broken_dial)
    with bench.caller() as sock:
        sock.sendall(GET)
        bench.until(lambda: bool(bench.told) and not bench.relay.counters.in_flight)
        head, _ = read_head(sock)
    bench.until(lambda: not bench.register.connections)
    return head


def origin_form(proxy: Proxy, backends: Backends) -> bytes:
    """A forward proxy taken for a service."""
    proxy.put(one_service({}, ()))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.hand_over("forward", "127.0.0.1:15001", listener)
        with dial(int(listener.getsockname()[1])) as sock:
            sock.sendall(GET)
            return read_head(sock)[0]


def no_backend(door: int, backends: Backends) -> Snapshot:
    shares = (WeightedBackend(backend="default/orders:9000", weight=0),)
    return one_service({door: Protocol.HTTP}, (), routes=(Route(name="default/none", backends=shares),))


ONLY_GRPC = {Reason.DEADLINE_EXCEEDED}
"""Over HTTP/2 all can be met, and are, in test_proxy_http2_reasons.py."""

PROVOKE: dict[Reason, Provoke] = {
    Reason.DENIED: answer_to(
        GET, lambda door, backends: one_service({door: Protocol.HTTP}, (), policies=(only("POST"),))
    ),
    Reason.CALLS_DENIED: calls_denied,
    Reason.NO_ROUTE: answer_to(GET, lambda door, backends: one_service({door: Protocol.HTTP}, (), routes=())),
    Reason.NO_SERVICE: no_service,
    Reason.NO_BACKEND: answer_to(GET, no_backend),
    Reason.NO_HEALTHY_ENDPOINT: answer_to(
        GET, lambda door, backends: one_service({door: Protocol.HTTP}, (PodEndpoint("default/late", 1),))
    ),
    Reason.CONNECT_FAILED: answer_to(
        GET, lambda door, backends: one_service({door: Protocol.HTTP}, (host(free_port()),))
    ),
    Reason.SQUATTED: answer_to(
        GET,
        lambda door, backends: one_service(
            {door: Protocol.HTTP}, (AttachedEndpoint(workload="default/shop", port=backends.serve(echo)),)
        ),
    ),
    Reason.UPSTREAM_TIMEOUT: answer_to(GET, behind(silent, Limits(request_timeout=SHORT))),
    Reason.UPSTREAM_RESET: answer_to(GET, behind(leaves)),
    Reason.UPSTREAM_PROTOCOL: answer_to(GET, behind(babbles)),
    Reason.NO_EXTENDED_CONNECT: no_extended_connect,
    Reason.BAD_REQUEST: answer_to(b"GET / HTTP/1.1\r\n\r\n", plain),
    Reason.ORIGIN_FORM: origin_form,
    Reason.HEAD_TOO_LARGE: answer_to(GET[:-2] + b"x: %b\r\n\r\n" % bytes(0x10000).replace(b"\0", b"x"), plain),
    Reason.TARGET_TOO_LONG: answer_to(b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % (b"x" * 0x4000), plain),
    Reason.REQUEST_TIMEOUT: answer_to(GET[:-2], behind(echo, Limits(head_timeout=SHORT))),
    Reason.UNSUPPORTED: answer_to(b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", plain),
    Reason.OVERLOADED: overloaded,
    Reason.DRAINING: draining,
    Reason.INTERNAL: internal,
}


@pytest.mark.parametrize("reason", [one for one in Reason if one not in ONLY_GRPC], ids=lambda reason: reason.code)
def test_a_reason_is_given(proxy: Proxy, backends: Backends, reason: Reason) -> None:
    """A reason that nothing provokes has no place in the enum: this fails for one that is missing above."""
    head = PROVOKE[reason](proxy, backends)

    assert head.startswith(b"HTTP/1.1 %d " % reason.status), head
    assert b"\r\nx-tulle-reason: %b\r\n" % reason.code.encode() in head
    assert b"\r\nx-request-id: " in head
    if reason is Reason.SQUATTED:
        assert "is held by another" in proxy.complaints()
        proxy.log.truncate(0)
    if reason not in (Reason.INTERNAL, Reason.DRAINING):
        assert proxy.metrics().sum("tulle_answers_total", reason=reason.code) == 1
        until(lambda: proxy.metrics().sum("tulle_requests_in_flight") <= 1, "nothing is left of it")
