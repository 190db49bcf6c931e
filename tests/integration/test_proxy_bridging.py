"""Bridging between HTTP/1.1 and HTTP/2 through a real proxy: spoilt heads reach an endpoint as exactly one request each, or not at all."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.bridging import OURS, Pairs, bodies, heads, message
from tests.support.h1_reading import read_requests
from tests.support.h1_wire import mutated
from tests.support.h2_peer import Peer, get
from tests.support.h2_script import literal_block
from tests.support.judge import Judge
from tests.support.proxy_harness import Backends, Client, Proxy, dial, host, one_service, read_all
from tulle.http.h1 import Limits as HeadLimits
from tulle.wire.snapshot import Limits, Protocol

AS_SERVED = HeadLimits(Limits().header_bytes, Limits().header_count, Limits().target_bytes)
"""What the proxy takes for a head; the codec alone takes fewer fields."""


@pytest.fixture
def judge() -> Judge:
    return Judge()


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def serve(proxy: Proxy, backends: Backends, judge: Judge, speaks: Protocol) -> int:
    door = proxy.door()
    port = backends.serve(judge.h1 if speaks is Protocol.HTTP else judge.h2)
    limits = Limits(head_timeout=0.3, idle_timeout=0.6, request_timeout=20)
    proxy.put(one_service({door: Protocol.HTTP}, (host(port),), limits=limits, speaks=speaks))
    return door


@pytest.mark.parametrize("speaks", [Protocol.HTTP, Protocol.HTTP2])
def test_spoilt_requests_over_http2_smuggle_nothing(
    proxy: Proxy, backends: Backends, judge: Judge, speaks: Protocol
) -> None:
    door = serve(proxy, backends, judge, speaks)

    numbers = count()

    @FUZZ
    @given(
        heads.filter(lambda pairs: (b"cookie", b"") not in pairs), bodies
    )  # h2 joins them, and takes offence at the blank
    def smuggles_nothing(pairs: Pairs, body: list[bytes]) -> None:
        mark = (b"x-mark", b"%d" % next(numbers))
        with Peer.caller(door) as caller:
            caller.send(message([*pairs, mark], body, []) + get(3, b"/last", literal_block([mark])))
            caller.wait(lambda: caller.answers(3) or caller.is_over, "the last is answered, or all refused")
            seen = judge.take()
            assert all(b"x-mark" in dict(one[2]) for one in seen)
            last = [one for one in seen if one[0] == b"/last" and mark in one[2]]
            others = [one for one in seen if one[0] != b"/last" and mark in one[2]]
            assert len(last) <= 1
            assert len(others) <= 1
            if others:
                caller.wait(lambda: caller.is_over or caller.answers(1) or bool(caller.reset_code(1)), "an end")
                assert others[0][1] == b"".join(body)
                for name, value in others[0][2]:
                    assert name[:1] == b":" or name in OURS | {b"cookie"} or (name, value) in [*pairs, mark]

    smuggles_nothing()
    assert proxy.metrics().sum("tulle_defects_total") == 0


@pytest.mark.parametrize("speaks", [Protocol.HTTP, Protocol.HTTP2])
def test_spoilt_requests_over_http1_smuggle_nothing(
    proxy: Proxy, backends: Backends, judge: Judge, speaks: Protocol
) -> None:
    door = serve(proxy, backends, judge, speaks)

    @FUZZ
    @given(mutated().filter(lambda wire: not wire.startswith(b"HTTP/")))
    def smuggles_nothing(wire: bytes) -> None:
        wire += b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        read = [one.payload for one in read_requests([wire], AS_SERVED).messages]
        with dial(door) as sock:
            sock.sendall(wire)
            read_all(sock)
        seen = judge.take()
        assert len(seen) <= len(read)
        for _, body, _ in seen:
            read.remove(body)

    smuggles_nothing()
    assert proxy.metrics().sum("tulle_defects_total") == 0


def test_an_answer_without_a_body_over_http2_leaves_the_connection_usable(
    proxy: Proxy, backends: Backends, judge: Judge
) -> None:
    door = serve(proxy, backends, judge, Protocol.HTTP2)
    with Client(door) as client:
        for _ in range(3):
            status, head, body = client.get("/a")
            assert (status, body) == (200, b"")
            assert b"content-length: 0" in head
    assert len(judge.take()) == 3


def test_a_colon_in_a_line_does_not_make_another_name(proxy: Proxy, backends: Backends, judge: Judge) -> None:
    door = serve(proxy, backends, judge, Protocol.HTTP2)
    with Client(door) as client:
        client.get("/a", "x:y: 1")
    assert (b"x", b"y: 1") in judge.take()[0][2]
