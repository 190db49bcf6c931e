"""Bodies are streamed: whatever their size and however slow their reader, the proxy's memory stays."""

import socket

import pytest

from tests.support.proxy_harness import Backends, Client, Proxy, dial, host, ok, one_service, read_all, read_head, until
from tulle.wire.snapshot import Protocol

MB = 1 << 20
GB = 1 << 30
PIECE = bytes(MB)


def pour(sock: socket.socket) -> None:
    """GET /N: N octets."""
    head, _ = read_head(sock)
    amount = int(head.split(b" ")[1][1:])
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % amount)
    for _ in range(amount // MB):
        sock.sendall(PIECE)


def swallow(sock: socket.socket) -> None:
    """Reads a body, answers with its length."""
    head, rest = read_head(sock)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    got = len(rest)
    room = bytearray(MB)
    while got < length:
        got += sock.recv_into(room)
    sock.sendall(ok(b"%d" % got))


def count_body(sock: socket.socket, amount: int) -> int:
    room = bytearray(MB)
    _, rest = read_head(sock)
    got = len(rest)
    while got < amount and (read := sock.recv_into(room)):
        got += read
    return got


def test_a_gigabyte_each_way_leaves_the_proxys_memory_alone(proxy: Proxy, backends: Backends) -> None:
    down, up = proxy.door(), proxy.door()
    proxy.put(one_service({down: Protocol.HTTP, up: Protocol.HTTP}, (host(backends.serve(pour)),)))
    with dial(down) as sock:
        sock.sendall(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % MB)
        assert count_body(sock, MB) == MB
    before = proxy.resident_bytes()
    with dial(down) as sock:
        sock.sendall(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % GB)
        assert count_body(sock, GB) == GB
    proxy.put(one_service({up: Protocol.HTTP}, (host(backends.serve(swallow)),), generation=2))
    with Client(up) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % GB)
        for _ in range(GB // MB):
            client.send(PIECE)
        assert client.read()[2] == b"%d" % GB
    assert proxy.resident_bytes() - before < 4 * MB
    metrics = proxy.metrics()
    assert metrics.sum("tulle_response_bytes_total") == GB + MB + len(str(GB))
    assert metrics.sum("tulle_request_bytes_total") == GB


def test_slow_readers_hold_up_their_sources_and_not_the_proxy(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(pour)),)))
    before = proxy.resident_bytes()
    slow = [dial(door) for _ in range(20)]
    for sock in slow:
        sock.sendall(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % (64 * MB))
        read_head(sock)
    with dial(door) as sock:
        sock.sendall(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % MB)
        assert count_body(sock, MB) == MB
    assert proxy.resident_bytes() - before < 8 * MB
    for sock in slow:
        sock.close()
    until(lambda: proxy.metrics().sum("tulle_requests_total", response_class="aborted") == 20, "all are counted")
    assert proxy.metrics().sum("tulle_upstream_connections_open") == 0


def test_a_slow_endpoint_holds_up_its_caller_and_not_the_proxy(proxy: Proxy, backends: Backends) -> None:
    amount = 64 * MB

    def stop(sock: socket.socket) -> None:
        read_head(sock)
        stopped.append(sock.dup())

    stopped: list[socket.socket] = []
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(stop)),)))
    before = proxy.resident_bytes()
    with Client(door) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % amount)
        until(lambda: len(stopped) == 1, "the endpoint has the head")
        client.sock.setblocking(False)
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < amount:
                sent += client.sock.send(PIECE)
        assert proxy.resident_bytes() - before < 4 * MB
        client.sock.setblocking(True)
        client.sock.settimeout(20)
        with stopped[0] as sock:
            sock.settimeout(20)
            got = 0
            room = bytearray(MB)
            while got < sent:
                got += sock.recv_into(room)
            sock.sendall(ok(b"enough"))
        assert client.read()[0] == 200


def test_a_body_of_many_small_chunks_arrives_whole(proxy: Proxy, backends: Backends) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        sock.sendall(b"".join(b"%x\r\n%b\r\n" % (n % 50 + 1, bytes(n % 50 + 1)) for n in range(5000)) + b"0\r\n\r\n")

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(answer)),)))
    with Client(door) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert len(client.read()[2]) == sum(n % 50 + 1 for n in range(5000))
        assert read_all(client.sock) == b""
