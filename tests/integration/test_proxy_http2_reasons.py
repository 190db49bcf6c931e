"""Every reason reaches a caller over HTTP/2: as a status of HTTP, and to a gRPC call as one of gRPC."""

import socket
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest
from h2.events import Event, RequestReceived, StreamEnded
from hpack import Decoder

from tests.support.h2_ends import Caller, Endpoint, Talk, answers
from tests.support.h2_peer import Peer, get
from tests.support.h2_script import literal_block
from tests.support.h2_tunnels import dial_h2
from tests.support.proxy_harness import Backends, Proxy, host, one_service, only, until
from tests.support.relay_bench import Bench, broken_dial
from tulle.http.h2.frames import HEADERS
from tulle.wire import snapshot as wire
from tulle.wire.reason import Reason
from tulle.wire.snapshot import AttachedEndpoint, Limits, PodEndpoint, Protocol, Route, Snapshot, WeightedBackend

SHORT = 0.5


class Kind(NamedTuple):
    """How a caller asks."""

    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()

    def ask(self, caller: Caller, path: str = "/", *fields: tuple[str, str], body: bytes | None = b"") -> int:
        """A request of this kind."""
        method = self.method if body is not None else "POST"
        return caller.ask(path, *self.fields, *fields, method=method, body=body)


HTTP = Kind()
GRPC = Kind("POST", (("content-type", "application/grpc"), ("te", "trailers")))

Provoke = Callable[[Proxy, Backends, Kind], dict[str, str]]
"""Makes it happen; returns the fields of the answer."""
Serve = Callable[[int, Backends], Snapshot]


def answer_to(
    serve: Serve, path: str = "/", *fields: tuple[str, str], body: bytes | None = b""
) -> Callable[[Proxy, Backends, Kind], dict[str, str]]:
    """One request by a door."""

    def provoke(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
        door = proxy.door()
        proxy.put(serve(door, backends))
        with Caller(door) as caller:
            return caller.end(kind.ask(caller, path, *fields, body=body))

    return provoke


def without_endpoints(**about: object) -> Serve:
    """A service that nobody serves, and what else is special about it."""
    return lambda door, backends: one_service({door: Protocol.HTTP}, (), **about)  # type: ignore[arg-type]


def behind(react: Callable[[Talk, Event], bool | None], limits: Limits | None = None) -> Serve:
    """An endpoint that reacts like this."""

    def serve(door: int, backends: Backends) -> Snapshot:
        endpoints = (host(backends.serve(Endpoint(react))),)
        return one_service({door: Protocol.HTTP}, endpoints, limits=limits)

    return serve


def silent(talk: Talk, event: Event) -> None:
    """Says nothing."""


def leaves(talk: Talk, event: Event) -> bool:
    """Until it is asked."""
    return not isinstance(event, StreamEnded)


def babbles(talk: Talk, event: Event) -> None:
    if isinstance(event, RequestReceived):
        talk.sock.sendall(b"220 mail ready\r\n\r\n")


def refuses(door: int, backends: Backends) -> Snapshot:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    return one_service({door: Protocol.HTTP}, (host(port),))


def calls_denied(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    """By a listener at the service's own address, as in a pod without redirect."""
    proxy.door()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address, port = listener.getsockname()
        snapshot = behind(answers)(0, backends)
        (service,) = snapshot.services
        ports = (msgspec.structs.replace(service.ports[0], port=port),)
        service = msgspec.structs.replace(service, address=address, ports=ports)
        identity = ("default/web", "shop.local/ns/default/sa/web", "default", "default/web")
        web = wire.Caller(*identity, calls=("default/other",))
        proxy.put(msgspec.structs.replace(snapshot, services=(service,), doors=(), callers=(web,)))
        proxy.hand_over("address", f"default/web@{address}:{port}", listener)
        with Caller(port) as caller:
            return caller.end(kind.ask(caller))


def no_service(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    door = proxy.door()
    proxy.put(behind(answers)(door, backends))
    with Caller(door) as caller:
        assert caller.end(kind.ask(caller))[":status"] == "200"
        proxy.put(one_service({}, (), generation=2))
        return caller.end(kind.ask(caller))


def no_extended_connect(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    door = proxy.door()
    proxy.put(behind(silent)(door, backends))
    with dial_h2(door) as link:
        return link.answered(link.open())


def unsupported(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    door = proxy.door()
    proxy.put(behind(answers)(door, backends))
    with Caller(door) as caller:
        with caller.saying() as h2:
            h2.config.validate_outbound_headers = False
            h2.send_headers(1, [(":method", "CONNECT"), (":authority", "a:1"), *kind.fields])
        return caller.end(1)


def overloaded(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    door = proxy.door()
    proxy.put(behind(silent, Limits(requests_in_flight=1))(door, backends))
    with Caller(door) as caller:
        kind.ask(caller)
        until(lambda: bool(proxy.get("/status")["requests_in_flight"] == 1), "one is served")
        return caller.end(kind.ask(caller))


def draining(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    """PyPI's `h2` takes a GOAWAY for the end: the frames are read here."""
    door = proxy.door()
    proxy.put(behind(silent, Limits(drain_timeout=SHORT))(door, backends))
    with Peer.caller(door) as caller:
        caller.send(get(1, b"/", literal_block([(name.encode(), value.encode()) for name, value in kind.fields])))
        until(lambda: bool(proxy.get("/status")["requests_in_flight"] == 1), "it is served")
        proxy.process.terminate()
        caller.wait(lambda: caller.answers(1), "the answer")
        (head,) = [seen for seen in caller.frames if seen.kind == HEADERS]
        return {str(name): str(value) for name, value in Decoder().decode(head.payload)}


def internal(proxy: Proxy, backends: Backends, kind: Kind) -> dict[str, str]:
    """No defect of a sound proxy is known: one is built in."""
    bench = Bench(Protocol.HTTP, broken_dial)
    with Caller(bench.caller()) as caller:
        stream = kind.ask(caller)
        bench.until(lambda: bool(bench.told and caller.of(stream, StreamEnded)))
        found = caller.end(stream)
    bench.until(lambda: not bench.register.connections)
    return found


NO_WEIGHT = (Route(name="default/none", backends=(WeightedBackend(backend="default/orders:9000", weight=0),)),)
SMALL = Limits(header_bytes=4_000, target_bytes=1_000)

PROVOKE: dict[Reason, Provoke] = {
    Reason.DENIED: answer_to(without_endpoints(policies=(only("PUT"),))),
    Reason.CALLS_DENIED: calls_denied,
    Reason.NO_ROUTE: answer_to(without_endpoints(routes=())),
    Reason.NO_SERVICE: no_service,
    Reason.NO_BACKEND: answer_to(without_endpoints(routes=NO_WEIGHT)),
    Reason.NO_HEALTHY_ENDPOINT: answer_to(
        lambda door, backends: one_service({door: Protocol.HTTP}, (PodEndpoint("default/late", 1),))
    ),
    Reason.CONNECT_FAILED: answer_to(refuses),
    Reason.SQUATTED: answer_to(
        lambda door, backends: one_service(
            {door: Protocol.HTTP}, (AttachedEndpoint(workload="default/shop", port=backends.serve(Endpoint(answers))),)
        )
    ),
    Reason.UPSTREAM_TIMEOUT: answer_to(behind(silent, Limits(request_timeout=SHORT))),
    Reason.UPSTREAM_RESET: answer_to(behind(leaves)),
    Reason.UPSTREAM_PROTOCOL: answer_to(behind(babbles)),
    Reason.NO_EXTENDED_CONNECT: no_extended_connect,
    Reason.BAD_REQUEST: answer_to(behind(answers), "/%zz"),
    Reason.HEAD_TOO_LARGE: answer_to(behind(answers, SMALL), "/", ("x", "v" * 4_000)),
    Reason.TARGET_TOO_LONG: answer_to(behind(answers, SMALL), "/" + "v" * 1_000),
    Reason.DEADLINE_EXCEEDED: answer_to(behind(silent), "/", ("grpc-timeout", "200m")),
    Reason.REQUEST_TIMEOUT: answer_to(behind(silent, Limits(idle_timeout=SHORT)), body=None),
    Reason.UNSUPPORTED: unsupported,
    Reason.OVERLOADED: overloaded,
    Reason.DRAINING: draining,
    Reason.INTERNAL: internal,
}

CASES = [
    pytest.param(reason, kind, id=f"{reason.code}-{name}")
    for reason in Reason
    for name, kind in (("http", HTTP), ("grpc", GRPC))
    if reason is not Reason.ORIGIN_FORM
    and (reason, kind) not in ((Reason.DEADLINE_EXCEEDED, HTTP), (Reason.NO_EXTENDED_CONNECT, GRPC))
]
"""Only gRPC has deadlines, and none of its calls becomes a tunnel; every request of HTTP/2 names its host."""


@pytest.mark.parametrize(("reason", "kind"), CASES)
def test_a_reason_is_given(proxy: Proxy, backends: Backends, reason: Reason, kind: Kind) -> None:
    """A reason that nothing provokes has no place in the enum: this fails for one that is missing above."""
    found = PROVOKE[reason](proxy, backends, kind)

    assert found["x-tulle-reason"] == reason.code
    assert found["x-request-id"]
    if reason is Reason.SQUATTED:
        assert "is held by another" in proxy.complaints()
        proxy.log.truncate(0)
    if kind is GRPC:
        assert (found[":status"], found["grpc-status"]) == ("200", str(reason.grpc_status))
        assert found["grpc-message"].startswith(f"tulle: {reason.code}: ")
    else:
        assert found[":status"] == str(reason.status)
        assert "grpc-status" not in found
    if reason not in (Reason.INTERNAL, Reason.DRAINING):
        metrics = proxy.metrics()
        assert metrics.sum("tulle_answers_total", reason=reason.code) == 1
        assert metrics.sum("tulle_grpc_responses_total", grpc_status="OK") <= 1
        until(lambda: proxy.metrics().sum("tulle_requests_in_flight") == 0, "nothing is left of it")
