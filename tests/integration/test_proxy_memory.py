"""What waits for slow readers is bounded for the whole process, whoever they are."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.support.h2_peer import Bystander, Peer, get
from tests.support.proxy_harness import DEADLINE, Proxy, backend_process, host, one_service
from tulle.http.h2.frames import INITIAL_WINDOW_SIZE
from tulle.wire.snapshot import Limits, Protocol

BUDGET = 4 << 20
SLACK = 4 << 20
"""Octets of what is no buffer: heads, streams, exchanges, connections."""
STREAMS = range(1, 201, 2)


@pytest.fixture
def door(proxy: Proxy) -> Iterator[int]:
    """Leads to a backend of HTTP/1.1."""
    door = proxy.door()
    proxy.doors[door].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    limits = Limits(buffered_total=BUDGET, idle_timeout=60.0)
    with backend_process("v1") as backend:
        proxy.put(one_service({door: Protocol.HTTP}, (host(backend),), limits=limits, speaks=Protocol.HTTP))
        yield door


def buffered(proxy: Proxy) -> float:
    return proxy.metrics().sum("tulle_buffered_bytes")


def test_500_streams_that_nobody_reads_hold_no_more_than_the_process_may(proxy: Proxy, door: int) -> None:
    bystander = Bystander(door)
    assert bystander.is_served()
    before = proxy.resident_bytes()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer.caller(door, ((INITIAL_WINDOW_SIZE, 0),))) for _ in range(5)]
        for peer in peers:
            peer.send(b"".join(get(n, b"/big") for n in STREAMS))
        for peer in peers:
            peer.wait(lambda peer=peer: all(peer.has_head(n) for n in STREAMS), "every stream has an answer's head")  # type: ignore[misc]

        assert BUDGET / 2 < buffered(proxy) <= BUDGET
        assert proxy.resident_bytes() - before < BUDGET + SLACK
    proxy.until(lambda: buffered(proxy) == 0, "nothing waits any more")
    assert bystander.is_served()
    bystander.close()


def test_500_connections_that_nobody_reads_hold_no_more_than_the_process_may(proxy: Proxy, door: int) -> None:
    bystander = Bystander(door)
    assert bystander.is_served()
    before = proxy.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(DEADLINE)
            sock.connect(("127.0.0.1", door))
            sock.sendall(b"GET /big HTTP/1.1\r\nhost: a\r\n\r\n")
            assert sock.recv(8) == b"HTTP/1.1"

        assert BUDGET / 2 < buffered(proxy) <= 2 * BUDGET
        assert proxy.resident_bytes() - before < 2 * BUDGET + SLACK
    proxy.until(lambda: buffered(proxy) == 0, "nothing waits any more")
    assert bystander.is_served()
    bystander.close()
