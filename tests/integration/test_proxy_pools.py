"""Kept connections to endpoints: nothing that came unasked answers a request, and an end seen in time costs none."""

import contextlib
import socket
import threading

import pytest

from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Proxy,
    host,
    ok,
    one_service,
    requests,
    stopped,
    until,
)
from tulle.wire.snapshot import Protocol

HONEST = b"honest"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody"


class Meddler:
    """Answers honestly; on its first connection, when told to, does what it should not, and goes on."""

    def __init__(self, unasked: bytes) -> None:
        self.unasked = unasked
        """Sent after the first answer; empty: it closes."""
        self.go = threading.Event()
        self.done = threading.Event()
        self.bodies: list[bytes] = []
        self._is_first = True

    def __call__(self, sock: socket.socket) -> None:
        is_first, self._is_first = self._is_first, False
        for _, body in requests(sock):
            self.bodies.append(body)
            sock.sendall(ok(HONEST))
            if is_first:
                is_first = False
                assert self.go.wait(DEADLINE)
                if not self.unasked:
                    sock.shutdown(socket.SHUT_RDWR)
                    self.done.set()
                    return
                sock.sendall(self.unasked)
                self.done.set()


@pytest.mark.parametrize("request_octets", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("unasked", [ok(b"smuggled"), b"x", b""], ids=["an answer", "an octet", "the end"])
def test_what_came_unasked_answers_nobody(
    proxy: Proxy, backends: Backends, unasked: bytes, request_octets: bytes
) -> None:
    meddler = Meddler(unasked)
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(meddler)),)))
    with Client(door) as first, Client(door) as second:
        assert first.get()[2] == HONEST
        until(lambda: bool(proxy.get("/status")["connections"] == 2), "both are accepted")
        with stopped(proxy):
            second.send(request_octets)
            meddler.go.set()
            assert meddler.done.wait(DEADLINE)
        status, _, body = second.read()
        assert (status, body) == (200, HONEST)
        assert first.get()[2] == HONEST
    assert backends.connections >= 2
    metrics = proxy.metrics()
    assert metrics.sum("tulle_retries_total") == 0
    assert metrics.sum("tulle_requests_total", response_class="2xx") == 3


def test_what_came_unasked_in_a_crowd_answers_nobody(proxy: Proxy, backends: Backends) -> None:
    """More is ready than one turn takes: the endpoint's octets are not among it."""
    meddler = Meddler(ok(b"smuggled"))
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(meddler)),)))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(door)) for _ in range(300)]
        proxy.until(lambda: bool(proxy.get("/status")["connections"] == 300), "all are accepted")
        assert clients[0].get()[2] == HONEST
        with stopped(proxy):
            for client in clients:
                client.send(GET)
            meddler.go.set()
            assert meddler.done.wait(DEADLINE)
        assert {client.read()[2] for client in clients} == {HONEST}


def test_a_body_that_follows_an_answer_to_head_is_no_answer(proxy: Proxy, backends: Backends) -> None:
    """A server with the commonest fault: the caller's next request goes elsewhere before the body comes."""

    def serve(sock: socket.socket) -> None:
        was_head = False
        for head, _ in requests(sock):
            if was_head:
                sock.sendall(ok(b"smuggled"))
            was_head = head.startswith(b"HEAD")
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n" + (b"" if was_head else HONEST))

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(serve)),)))
    with Client(door) as client:
        client.send(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n" + GET)
        assert client.read("HEAD")[0] == 200
        assert client.read()[2] == HONEST


def test_an_unused_connection_that_ended_is_a_stale_one(proxy: Proxy, backends: Backends) -> None:
    """Dialled for a caller that left, kept, closed by the endpoint: the next request must not pay."""
    meddler = Meddler(b"")
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(meddler)),)))
    with Client(door) as client:
        assert client.get()[2] == HONEST
        meddler.go.set()
        assert meddler.done.wait(DEADLINE)
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 0, "the ended connection is dropped")
        client.send(POST)
        assert client.read()[2] == HONEST
    assert meddler.bodies == [b"", b"body"]
