"""Every limit of the snapshot, reached on purpose."""

import socket
import threading

import pytest

from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Hold,
    Proxy,
    dial,
    echo,
    field,
    host,
    ok,
    one_service,
    read_all,
    read_head,
    requests,
    until,
)
from tulle.wire.snapshot import HostEndpoint, Limits, Protocol


def open_door(proxy: Proxy, port: int, limits: Limits, protocol: Protocol = Protocol.HTTP) -> int:
    door = proxy.door()
    proxy.put(one_service({door: protocol}, (host(port),), limits=limits))
    return door


def held_to(proxy: Proxy, port: int, limits: Limits) -> Client:
    """A caller that came before these limits did: they hold from its next octet on, however long it takes to say it."""
    door = open_door(proxy, port, Limits())
    client = Client(door)
    until(lambda: proxy.get("/status")["connections"] == 1, "it is accepted")
    proxy.put(one_service({door: Protocol.HTTP}, (host(port),), generation=2, limits=limits))
    return client


def mute(sock: socket.socket) -> None:
    """Takes everything, says nothing."""
    read_all(sock)


def test_a_head_that_takes_too_long_is_answered_408(proxy: Proxy, backends: Backends) -> None:
    with Client(open_door(proxy, backends.serve(echo), Limits(head_timeout=0.2))) as client:
        client.send(b"GET / HTTP/1.1\r\nhost")
        status, head, _ = client.read()
        assert (status, field(head, "x-tulle-reason")) == (408, "request-timeout")
        assert client.is_closed()


def test_an_endpoint_that_does_not_answer_in_time_is_answered_504(proxy: Proxy, backends: Backends) -> None:
    with Client(open_door(proxy, backends.serve(mute), Limits(request_timeout=0.2))) as client:
        status, head, _ = client.get()
        assert (status, field(head, "x-tulle-reason")) == (504, "upstream-timeout")


def test_a_body_that_stops_coming_is_answered_408(proxy: Proxy, backends: Backends) -> None:
    with held_to(proxy, backends.serve(mute), Limits(idle_timeout=0.2)) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        status, head, _ = client.read()
        assert (status, field(head, "x-tulle-reason")) == (408, "request-timeout")


def test_an_idle_keep_alive_connection_is_closed(proxy: Proxy, backends: Backends) -> None:
    with held_to(proxy, backends.serve(echo), Limits(idle_timeout=0.2)) as client:
        assert client.get()[0] == 200
        assert client.is_closed()


def test_an_answer_that_stops_is_cut_short(proxy: Proxy, backends: Backends) -> None:
    def stop(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        read_all(sock)

    with held_to(proxy, backends.serve(stop), Limits(idle_timeout=0.2)) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert read_all(client.sock).endswith(b"half")


def test_an_endpoint_that_cannot_be_reached_in_time_is_given_up(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        door = open_door(proxy, full.getsockname()[1], Limits(connect_timeout=0.2))
        with Client(door) as client:
            status, head, _ = client.get()
            assert (status, field(head, "x-tulle-reason")) == (503, "connect-failed")
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize(
    ("limits", "octets", "status"),
    [
        (Limits(header_bytes=500), b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 500 + b"\r\n\r\n", 431),
        (Limits(header_count=5), b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 6 + b"\r\n", 431),
        (Limits(target_bytes=50), b"GET /" + b"x" * 60 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
    ],
)
def test_heads_are_held_to_their_sizes(
    proxy: Proxy, backends: Backends, limits: Limits, octets: bytes, status: int
) -> None:
    with Client(open_door(proxy, backends.serve(echo), limits)) as client:
        client.send(octets)
        assert client.read()[0] == status


def test_heads_of_answers_are_held_to_their_sizes(proxy: Proxy, backends: Backends) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(ok(b"", b"x: " + b"y" * 600))

    with Client(open_door(proxy, backends.serve(answer), Limits(header_bytes=500))) as client:
        status, head, _ = client.get()
        assert (status, field(head, "x-tulle-reason")) == (502, "upstream-protocol")


@pytest.mark.parametrize(
    ("limits", "cause"), [(Limits(connections=3), "limit"), (Limits(connections_per_caller=3), "caller-limit")]
)
def test_connections_beyond_the_limit_are_closed(proxy: Proxy, backends: Backends, limits: Limits, cause: str) -> None:
    door = open_door(proxy, backends.serve(echo), limits)
    clients = [Client(door) for _ in range(3)]
    assert [client.get()[0] for client in clients] == [200, 200, 200]
    with dial(door) as sock:
        assert read_all(sock) == b""
    assert proxy.metrics().sum("tulle_connections_refused_total", cause=cause) == 1
    for client in clients:
        client.sock.close()
    until(lambda: proxy.get("/status")["connections"] == 0, "they are gone")
    with Client(door) as client:
        assert client.get()[0] == 200


def test_requests_beyond_the_limit_are_answered_503(proxy: Proxy, backends: Backends) -> None:
    hold = Hold()
    door = open_door(proxy, backends.serve(hold), Limits(requests_in_flight=2))
    waiting = [Client(door) for _ in range(2)]
    for client in waiting:
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    until(lambda: proxy.get("/status")["requests_in_flight"] == 2, "two are served")
    with Client(door) as client:
        status, head, _ = client.get()
        assert (status, field(head, "x-tulle-reason")) == (503, "overloaded")
    hold.let_go()
    for client in waiting:
        assert client.read()[0] == 200
        client.sock.close()


def test_a_kept_connection_is_closed_when_it_is_not_used(proxy: Proxy, backends: Backends) -> None:
    limits = Limits(pool_idle_timeout=0.2)
    with Client(open_door(proxy, backends.serve(echo), limits)) as client:
        assert client.get()[0] == 200
        until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 0, "it is closed")
        assert client.get()[0] == 200


def test_no_more_connections_are_kept_than_the_pool_holds(proxy: Proxy, backends: Backends) -> None:
    """For long; while all are needed again and again, none is dialled a second time."""
    gate = threading.Barrier(6)

    def meet(sock: socket.socket) -> None:
        for _ in requests(sock):
            gate.wait(DEADLINE)
            sock.sendall(ok(b""))

    door = open_door(proxy, backends.serve(meet), Limits(pool_size=2, head_timeout=0.5))
    clients = [Client(door) for _ in range(6)]
    for _ in range(10):
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        for client in clients:
            assert client.read()[0] == 200
    assert backends.connections == 6
    for client in clients:
        client.sock.close()
    until(lambda: proxy.metrics().sum("tulle_upstream_connections_open") == 2, "the others are closed")


def test_a_caller_that_pipelines_without_end_is_read_no_further(proxy: Proxy, backends: Backends) -> None:
    door = open_door(proxy, backends.serve(mute), Limits(buffered_bytes=65536))
    with dial(door) as sock:
        sock.setblocking(False)
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < 64 << 20:
                sent += sock.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 1000)
        assert sent < 64 << 20


def test_a_silent_connection_counts_as_opaque_after_the_detection_deadline(proxy: Proxy, backends: Backends) -> None:
    door = open_door(proxy, backends.serve(mute), Limits(detect_timeout=0.05), Protocol.DETECT)
    with dial(door):
        until(lambda: proxy.metrics().sum("tulle_connections_open", protocol="tcp") == 1, "it is opaque")
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "it is closed")


def test_an_endpoint_that_is_named_by_nothing_fails_as_a_connect_failure(proxy: Proxy) -> None:
    door = proxy.door()
    endpoint = HostEndpoint(workload="default/x", host="no-such-name.invalid", port=1)
    proxy.put(one_service({door: Protocol.HTTP}, (endpoint,)))
    with Client(door) as client:
        assert client.get()[0] == 503
