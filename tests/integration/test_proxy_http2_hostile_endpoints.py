"""Endpoints that attack the proxy: callers get an answer, other endpoints are served all along, memory is bounded and nothing is left behind."""

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from tests.support.h2_peer import Bystander, Peer, get, post
from tests.support.h2_script import literal_block, octets_of
from tests.support.proxy_harness import DEADLINE, Backends, Proxy, backend_process, host, one_service, until
from tulle.http.h2.frames import (
    ENABLE_PUSH,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    REFUSED_STREAM,
    frame,
    goaway_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from tulle.wire.snapshot import Backend, Limits, Match, PathMatch, Protocol, Route, WeightedBackend

GROWTH = 6 << 20
"""Octets by which a proxy may grow under any one endpoint."""
OK = literal_block([(b":status", b"200")])
EARLY = literal_block([(b":status", b"103")])
REQUESTS = range(1, 41, 2)


@dataclass(frozen=True, slots=True)
class Hostile:
    name: str
    answers: Callable[[int], Iterator[bytes]]
    """What is sent in reaction to a request on this stream."""
    reasons: frozenset[str]
    """With what the caller is answered, every time; empty: with what the endpoint says."""
    settings: tuple[tuple[int, int], ...] = ()
    reads: bool = True
    ends: str = ""
    """The GOAWAY that the endpoint gets."""


def once(make: Callable[[int], bytes]) -> Callable[[int], Iterator[bytes]]:
    return lambda stream_id: iter((make(stream_id),))


def ever(make: Callable[[int], bytes]) -> Callable[[int], Iterator[bytes]]:
    return lambda stream_id: (make(stream_id) for _ in count())


def flood(script: str) -> Callable[[int], Iterator[bytes]]:
    return lambda stream_id: (octets_of(script) for _ in count())


def answer(stream_id: int, block: bytes, *, done: bool = False) -> bytes:
    return frame(HEADERS, 0x5 if done else 0x4, stream_id, block)


def data(stream_id: int, payload: bytes, *, done: bool = False) -> bytes:
    return frame(0, 1 if done else 0, stream_id, payload)


def bomb(stream_id: int) -> bytes:
    entry = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"a" * 4_000
    return answer(stream_id, OK + entry + b"\xbe" * 12_000, done=True)


PROTOCOL = frozenset(("upstream-protocol",))
RESET = frozenset(("upstream-reset",))
LATE = frozenset(("upstream-timeout",))
CALM = "ENHANCE_YOUR_CALM"

HOSTILE = (
    Hostile("interim answers without end", ever(lambda n: answer(n, EARLY)), PROTOCOL),
    Hostile("PUSH_PROMISE", once(lambda n: frame(5, 4, n, b"\0\0\0\x02" + OK)), PROTOCOL, ends="PROTOCOL_ERROR"),
    Hostile(
        "SETTINGS that turn push on",
        once(lambda _: settings_frame([(ENABLE_PUSH, 1)])),
        PROTOCOL,
        ends="PROTOCOL_ERROR",
    ),
    Hostile(
        "no stream may be opened",
        once(lambda n: reset_frame(n, REFUSED_STREAM)),
        RESET | {"connect-failed"},
        ((MAX_CONCURRENT_STREAMS, 0),),
    ),
    Hostile("every stream is refused", once(lambda n: reset_frame(n, REFUSED_STREAM)), RESET),
    Hostile("every stream is reset", once(lambda n: reset_frame(n, 2)), RESET),
    Hostile("every connection goes away", once(lambda _: goaway_frame(0, 0)), RESET),
    Hostile("PING flood", flood("100 x (PING 0 8*00)"), PROTOCOL, ends=CALM),
    Hostile("SETTINGS flood", flood("100 x (SETTINGS 0 #000300000064)"), PROTOCOL, ends=CALM),
    Hostile("PRIORITY flood", flood("100 x (PRIORITY 1 #0000000010)"), PROTOCOL, ends=CALM),
    Hostile("empty DATA", lambda n: iter([answer(n, OK), *[data(n, b"")] * 5_000]), frozenset(), ends=CALM),
    Hostile(
        "CONTINUATION flood",
        lambda n: iter([frame(HEADERS, 0, n, OK), *[frame(9, 0, n, b"\0" * 900)] * 50]),
        PROTOCOL,
        ends=CALM,
    ),
    Hostile("header bomb", once(bomb), PROTOCOL, ends=CALM),
    Hostile("window overflow", once(lambda _: window_frame(0, 0x7FFFFFFF)), PROTOCOL, ends="FLOW_CONTROL_ERROR"),
    Hostile("an answer to what nobody asked", once(lambda _: answer(99_999, OK)), PROTOCOL, ends="PROTOCOL_ERROR"),
    Hostile("an answer on a stream of its own", once(lambda _: answer(2, OK)), PROTOCOL, ends="PROTOCOL_ERROR"),
    Hostile("an upper-case field", once(lambda n: answer(n, OK + literal_block([(b"X", b"1")]))), PROTOCOL),
    Hostile("a connection field", once(lambda n: answer(n, OK + literal_block([(b"connection", b"close")]))), PROTOCOL),
    Hostile("a line break in a value", once(lambda n: answer(n, OK + literal_block([(b"x", b"1\r\ny: 2")]))), PROTOCOL),
    Hostile("a status of two digits", once(lambda n: answer(n, literal_block([(b":status", b"99")]))), PROTOCOL),
    Hostile("switching protocols", once(lambda n: answer(n, literal_block([(b":status", b"101")]))), PROTOCOL),
    Hostile(
        "HTTP/1.1", once(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), PROTOCOL, ends="FRAME_SIZE_ERROR"
    ),
    Hostile("silence", once(lambda _: b""), LATE),
    Hostile("half a head", once(lambda n: answer(n, OK)[:-1]), LATE | PROTOCOL),
    Hostile("nothing is read and nothing said", once(lambda _: b""), LATE, reads=False),
    Hostile("windows of zero", once(lambda _: b""), LATE, ((INITIAL_WINDOW_SIZE, 0),)),
)


class Scene:
    """A proxy behind one door: `/evil` goes to the hostile endpoint, everything else to a sound one."""

    def __init__(self, proxy: Proxy, backends: Backends, hostile: Hostile, sound: int) -> None:
        self.ends: list[str] = []
        self.connections = 0
        self._hostile = hostile
        self.door = proxy.door()
        port = backends.serve(self._serve)
        backend = Backend(name="evil", service="default/orders", protocol=Protocol.HTTP2, endpoints=(host(port),))
        routes = (
            Route(
                name="default/evil",
                matches=(Match(path=PathMatch(value="/evil")),),
                backends=(WeightedBackend(backend="evil"),),
            ),
            Route(name="default/orders", backends=(WeightedBackend(backend="default/orders:9000"),)),
        )
        patience = 1.0 if hostile.reasons & LATE else 20.0
        limits = Limits(idle_timeout=3.0, head_timeout=0.6, request_timeout=patience, pool_idle_timeout=1.0)
        doors = {self.door: Protocol.HTTP}
        proxy.put(
            one_service(doors, (host(sound),), limits=limits, speaks=Protocol.HTTP, routes=routes, backends=(backend,))
        )

    def _serve(self, sock: socket.socket) -> None:
        hostile = self._hostile
        self.connections += 1
        peer = Peer.endpoint(sock, hostile.settings, reads=hostile.reads)
        served: set[int] = set()
        while hostile.reads and not peer.is_over:
            asked = [
                seen.stream_id for seen in list(peer.frames) if seen.kind == HEADERS and seen.stream_id not in served
            ]
            for stream_id in asked:
                served.add(stream_id)
                for octets in hostile.answers(stream_id):
                    if peer.is_over or peer.fate or peer.reset_code(stream_id) or not peer.send(octets):
                        break
            if not asked:
                select.select([], [], [], 0.01)
        if not hostile.reads:
            poller = select.poll()
            poller.register(sock, select.POLLRDHUP)
            poller.poll(DEADLINE * 1_000)
        self.ends.append(peer.fate)


def reason_of(caller: Peer, stream_id: int) -> str:
    body = caller.body(stream_id)
    return body.split(b": ")[1].decode() if body.startswith(b"tulle: ") else ""


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_a_hostile_endpoint_harms_nobody_else(proxy: Proxy, backends: Backends, hostile: Hostile) -> None:
    with contextlib.ExitStack() as stack:
        scene = Scene(proxy, backends, hostile, stack.enter_context(backend_process("v1")))
        bystander = stack.enter_context(Bystander(scene.door))
        assert bystander.is_served()
        before = proxy.resident_bytes()
        with Peer.caller(scene.door) as caller:
            caller.send(
                b"".join(
                    get(n, b"/evil") if n % 4 == 1 else post(n, b"/evil") + data(n, bytes(9_000), done=True)
                    for n in REQUESTS
                )
            )

            def all_ended() -> bool:
                assert bystander.is_served()
                return all(caller.answers(n) or caller.reset_code(n) for n in REQUESTS)

            until(all_ended, "every request is answered or reset")

            found = {reason_of(caller, n) for n in REQUESTS}
            if hostile.reasons:
                assert found <= hostile.reasons | {"upstream-reset"}, found
                assert found & hostile.reasons
        assert bystander.is_served()
        assert proxy.resident_bytes() - before < GROWTH
        bystander.close()

        def is_quiet() -> bool:
            status = proxy.get("/status")
            return not (status["requests_in_flight"] or status["connections"]) and len(scene.ends) == scene.connections

        assert scene.connections <= len(REQUESTS) * 2
        until(is_quiet, "nothing is left, and the endpoint's connections are closed")
        if hostile.ends:
            assert hostile.ends in scene.ends
        metrics = proxy.metrics()
        assert metrics.sum("tulle_defects_total") == 0
        assert metrics.sum("tulle_buffered_bytes") == 0
        assert metrics.sum("tulle_request_duration_seconds_count") == metrics.sum("tulle_requests_total")
