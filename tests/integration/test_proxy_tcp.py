"""Opaque TCP through the proxy: half-close, who speaks first, resets, detection."""

import contextlib
import socket
import struct

import pytest

from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Proxy,
    dial,
    echo,
    host,
    ok,
    one_service,
    only,
    read_all,
    stopped,
    until,
)
from tests.support.proxy_harness import requests as requests_of
from tulle.wire.snapshot import Limits, Protocol

PATIENT = Limits(detect_timeout=DEADLINE)
"""Of a proxy that waits until its caller has spoken, however late this test does."""


def reverse(sock: socket.socket) -> None:
    """Reads to the end, answers all of it backwards."""
    sock.sendall(read_all(sock)[::-1])


def greet(sock: socket.socket) -> None:
    """Speaks first."""
    sock.sendall(b"220 ready\r\n")
    sock.sendall(sock.recv(100).upper())


def test_a_half_closed_stream_still_brings_its_answer(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(reverse)),)))
    sent = bytes(range(256)) * 4096
    with dial(door) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == sent[::-1]
    until(lambda: proxy.metrics().sum("tulle_tcp_connections_total", response_class="closed") == 1, "it is counted")
    metrics = proxy.metrics()
    assert metrics.sum("tulle_request_bytes_total", protocol="tcp") == len(sent)
    assert metrics.sum("tulle_response_bytes_total", protocol="tcp") == len(sent)
    assert metrics.sum("tulle_connections_open") == 0


def test_an_endpoint_that_shuts_first_still_gets_the_rest(proxy: Proxy, backends: Backends) -> None:
    got: list[bytes] = []

    def shut_first(sock: socket.socket) -> None:
        sock.sendall(b"all I say")
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(shut_first)),)))
    with dial(door) as sock:
        assert read_all(sock) == b"all I say"
        sock.sendall(b"late")
        sock.shutdown(socket.SHUT_WR)
        until(lambda: got == [b"late"], "the rest arrives")


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.DETECT])
def test_a_server_may_speak_first(proxy: Proxy, backends: Backends, protocol: Protocol) -> None:
    door = proxy.door()
    proxy.put(one_service({door: protocol}, (host(backends.serve(greet)),)))
    with dial(door) as sock:
        assert sock.recv(100) == b"220 ready\r\n"
        sock.sendall(b"helo me")
        assert sock.recv(100) == b"HELO ME"


def test_connections_that_came_at_once_are_all_accepted(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(greet)),)))
    for amount in (1, 1, 100, 1, 40):
        with contextlib.ExitStack() as open_ones:
            with stopped(proxy):
                socks = [open_ones.enter_context(dial(door)) for _ in range(amount)]
            for sock in socks:
                assert sock.recv(100) == b"220 ready\r\n"


@pytest.mark.parametrize(
    ("first", "protocol"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "tcp"),
        (b"SSH-2.0-x\r\n", "tcp"),
        (b"get key\r\n", "tcp"),
        (b"PING\r\n", "tcp"),
        (b"GET key\r\n", "tcp"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "http"),
        (b"PROPFIND /a HTTP/1.1\r\nhost: a\r\n\r\n", "http"),
    ],
)
def test_first_octets_tell_the_protocol(proxy: Proxy, backends: Backends, first: bytes, protocol: str) -> None:
    def say(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(ok(b"seen"))

    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(say)),), limits=PATIENT))
    with dial(door) as sock:
        sock.sendall(first)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        assert proxy.metrics().sum("tulle_connections_total", protocol=protocol) == 1


@pytest.mark.parametrize("beginning", [b"P", b"PRI * HTTP/2.0\r\n\r\nS", b"PUT", b"X-ODD /a", b"\0"])
def test_where_http_is_declared_whatever_begins_is_a_request(
    proxy: Proxy, backends: Backends, beginning: bytes
) -> None:
    """Even where it might have become the preface of HTTP/2: a caller that leaves is counted."""
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),)))
    with dial(door) as sock:
        sock.sendall(beginning)
        sock.shutdown(socket.SHUT_WR)
        read_all(sock)
    until(lambda: proxy.get("/connections") == [], "it is over")
    metrics = proxy.metrics()
    assert metrics.sum("tulle_connections_total", protocol="http") == 1
    assert metrics.sum("tulle_requests_total", protocol="http") == 1


def test_a_request_that_comes_octet_by_octet_is_detected(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(echo)),), limits=PATIENT))
    with Client(door) as client:
        for octet in b"GET / HTTP/1.1\r\nhost: a\r\n\r\n":
            client.send(bytes((octet,)))
        assert client.read()[0] == 200


def test_what_is_denied_is_reset(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoint = (host(backends.serve(reverse)),)
    proxy.put(one_service({door: Protocol.TCP}, endpoint, policies=(only("GET"),)))
    with pytest.raises(ConnectionResetError), dial(door) as sock:  # perhaps before it is told that it is connected
        sock.sendall(b"hello")
        sock.recv(1)
        sock.recv(1)
    assert proxy.metrics().sum("tulle_denied_total", reason="denied") == 1
    assert backends.connections == 0


def test_a_reset_passes_through_both_ways(proxy: Proxy, backends: Backends) -> None:
    lost: list[bool] = []

    def wait(sock: socket.socket) -> None:
        try:
            while sock.recv(100):
                pass
        except ConnectionResetError:
            lost.append(True)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(wait)),)))
    with dial(door) as sock:
        sock.sendall(b"hello")
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 1, "both sides are there")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: lost == [True], "the endpoint learns it")
    assert proxy.metrics().sum("tulle_tcp_connections_total", response_class="reset") == 1


def test_a_slow_reader_holds_up_its_source_and_not_the_proxy(proxy: Proxy, backends: Backends) -> None:
    amount = 64 << 20
    piece = bytes(1 << 20)

    def pour(sock: socket.socket) -> None:
        for _ in range(amount // len(piece)):
            sock.sendall(piece)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.TCP}, (host(backends.serve(pour)),)))
    with dial(door) as sock:
        before = proxy.resident_bytes()
        sock.recv(1)
        until(lambda: proxy.metrics().sum("tulle_connections_open") == 1, "it flows")
        assert proxy.resident_bytes() - before < 4 << 20
        assert len(read_all(sock)) == amount - 1


def test_an_idle_connection_is_closed(proxy: Proxy, backends: Backends) -> None:
    def greet_and_wait(sock: socket.socket) -> None:
        sock.sendall(b"220 ready\r\n")
        read_all(sock)

    door = proxy.door()
    endpoints = (host(backends.serve(greet_and_wait)),)
    proxy.put(one_service({door: Protocol.TCP}, endpoints))
    with dial(door) as sock:
        assert sock.recv(100) == b"220 ready\r\n"
        proxy.put(one_service({door: Protocol.TCP}, endpoints, generation=2, limits=Limits(idle_timeout=0.3)))
        sock.sendall(b"x")  # from here on it holds
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def test_http_after_http_on_a_detected_connection(proxy: Proxy, backends: Backends) -> None:
    def answer(sock: socket.socket) -> None:
        for head, _ in requests_of(sock):
            sock.sendall(ok(head))

    door = proxy.door()
    proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(answer)),), limits=PATIENT))
    with Client(door) as client:
        for _ in range(3):
            assert client.get()[0] == 200
