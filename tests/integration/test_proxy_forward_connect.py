"""CONNECT to the forward proxy, over both HTTPs: what follows is a connection like one that dialled the address, and judged like it."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.attached import leave_with_reset
from tests.support.forwarding import NOBODY, OPEN, STRANGER, WEB, Held, Town, greet_first
from tests.support.h2_tunnels import H2Link
from tests.support.proxy_harness import Client, dial, read_all, read_head, until
from tulle.wire.snapshot import Limits, Mode

WAYS = pytest.mark.parametrize("way", ["h1", "h2"])


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Town() as made:
        yield made


@pytest.fixture(scope="module")
def mail() -> Iterator[Town]:
    with Town(greet_first) as made:
        yield made


@pytest.fixture(autouse=True)
def web(town: Town, mail: Town) -> None:
    town.become(WEB)
    mail.become(WEB)


def get(path: str, host: str = "orders") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


@WAYS
@pytest.mark.parametrize("authority", ["orders:80", "orders:81", "Orders.default.svc:80", "127.80.0.1:81"])
def test_requests_within_are_judged_one_by_one(town: Town, way: str, authority: str) -> None:
    with town.connect(way, authority) as opened:
        assert opened.status == 200
        client = Client(opened.sock)
        for path, status in (("/orders/1", 200), ("/secret", 403), ("/orders/2", 200), ("/orders/../secret", 403)):
            client.send(get(path))
            assert client.read()[0] == status, path
        client.send(b"DELETE /orders/1 HTTP/1.1\r\nhost: orders\r\n\r\n")
        assert client.read()[0] == 403


@WAYS
@pytest.mark.parametrize("authority", ["orders:80", "orders:81"])
def test_http2_within_is_judged_stream_by_stream(town: Town, way: str, authority: str) -> None:
    with town.connect(way, authority) as opened, H2Link(opened.sock.dup(), is_client=True) as inner:
        inner.start()
        pseudo = {":method": "GET", ":scheme": "http", ":authority": "orders"}
        allowed = inner.ask(pseudo | {":path": "/orders/1"}, ends=True)
        denied = inner.ask(pseudo | {":path": "/secret"}, ends=True)
        assert inner.answered(denied)[":status"] == "403"
        if authority == "orders:81":  # its endpoint speaks HTTP/1.1 alone, which is known for that port
            assert inner.answered(allowed)[":status"] == "200"


@WAYS
def test_other_protocols_are_no_way_round_rules_for_requests(mail: Town, way: str) -> None:
    """The port is detected, and its policy allows some requests: octets that are no request are not let through."""
    before = mail.backends.connections
    with mail.connect(way, "orders:80") as opened:
        assert opened.status == 200
        opened.sock.sendall(b"\x16\x03\x01\x02\x00 no request at all\r\n")
        assert opened.is_reset()
    assert mail.backends.connections == before
    with mail.connect(way, "orders:81") as opened:
        opened.sock.sendall(b"\x16\x03\x01\x02\x00 no request at all\r\n\r\n")
        assert read_head(opened.sock)[0].startswith(b"HTTP/1.1 400 ")
    assert mail.backends.connections == before


@WAYS
@pytest.mark.parametrize("authority", ["orders:82", "open:82", "open:81", "postgres:5432"])
def test_octets_go_both_ways_with_both_ends(mail: Town, way: str, authority: str) -> None:
    """A detected port is opaque TCP when its caller waits for a greeting."""
    with mail.connect(way, authority) as opened:
        assert opened.status == 200
        assert opened.sock.recv(100) == b"220 ready\r\n"
        opened.sock.sendall(b"hello")
        assert opened.sock.recv(100) == b"hello"
        opened.sock.shutdown(socket.SHUT_WR)
        assert read_all(opened.sock) == b"bye\r\n"


@WAYS
@pytest.mark.parametrize(
    ("caller", "authority", "answer"),
    [
        (WEB, "orders:82", (200, "")),
        (STRANGER, "orders.default:82", (403, "denied")),
        (STRANGER, "orders.default:80", (403, "denied")),
        (STRANGER, "orders.default:81", (403, "denied")),
        (STRANGER, "postgres.default:5432", (403, "denied")),
        (STRANGER, "orders:80", (200, "")),
        (NOBODY, "orders:80", (403, "denied")),
        (NOBODY, "orders:82", (403, "denied")),
        (NOBODY, "orders.other:80", (403, "denied")),
        (NOBODY, "open:82", (200, "")),
        (NOBODY, "open:80", (200, "")),
        (WEB, "down:82", (503, "no-healthy-endpoint")),
        (WEB, "down:80", (200, "")),
        (WEB, "nowhere:82", (404, "no-service")),
        (WEB, "orders:9082", (404, "no-service")),
        (WEB, "127.0.0.1:22", (404, "no-service")),
        (NOBODY, "nowhere:82", (404, "no-service")),
    ],
)
def test_refused_where_nothing_could_be_said(
    mail: Town, way: str, caller: str, authority: str, answer: tuple[int, str]
) -> None:
    mail.become(caller)
    before, seen = mail.proxy.metrics(), mail.backends.connections

    with mail.connect(way, authority) as opened:
        assert (opened.status, opened.reason) == answer
        if opened.status != 200 and way == "h1":
            read_all(opened.sock)
        if opened.status == 200 and authority.endswith(":82"):
            assert opened.sock.recv(100) == b"220 ready\r\n"  # so it is among the endpoint's connections

    after = mail.proxy.metrics()
    counted = {reason: after.sum("tulle_answers_total", reason=reason) for reason in ("denied", "no-service")}
    for reason, count in counted.items():
        assert count - before.sum("tulle_answers_total", reason=reason) == (answer[1] == reason)
    assert after.sum("tulle_denied_total") - before.sum("tulle_denied_total") == (answer[1] == "denied")
    if answer[0] != 200:
        assert mail.backends.connections == seen


@pytest.mark.parametrize(
    "fields",
    [
        "content-length: 5\r\n",
        "content-length: 0\r\n",
        "transfer-encoding: chunked\r\n",
        "host: orders:82\r\n",
        "expect: nothing\r\n",
    ],
)
def test_connect_with_a_body_is_refused_and_what_follows_not_read(mail: Town, fields: str) -> None:
    before = mail.backends.connections
    with dial(mail.port) as sock:
        sock.sendall(f"CONNECT orders:82 HTTP/1.1\r\nhost: orders:82\r\n{fields}\r\n".encode() + get("http://open/"))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert mail.backends.connections == before


def test_what_follows_a_refused_connect_is_not_read(town: Town) -> None:
    before = town.backends.connections
    with dial(town.port) as sock:
        sock.sendall(b"CONNECT nowhere:80 HTTP/1.1\r\nhost: nowhere:80\r\n\r\n" + get("http://open/"))
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert town.backends.connections == before


@pytest.mark.parametrize("authority", ["orders:80", "orders:81"])
def test_octets_that_come_with_the_head_are_the_first_of_the_tunnel(town: Town, authority: str) -> None:
    with dial(town.port) as sock:
        head = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode()
        sock.sendall(head + get("/orders/1") + get("/secret") + get("/orders/3"))
        first, rest = read_head(sock)
        client = Client(sock)
        client._rest = rest
        assert first == b"HTTP/1.1 200 Connection Established\r\n\r\n"
        assert [client.read()[0] for _ in range(3)] == [200, 403, 200]


def test_octets_of_tcp_that_come_with_the_head_are_not_lost(mail: Town) -> None:
    with dial(mail.port) as sock:
        sock.sendall(b"CONNECT orders:82 HTTP/1.1\r\nhost: orders:82\r\n\r\nearly bird")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"\r\n\r\n220 ready\r\nearly birdbye\r\n")


def test_tunnel_follows_requests_on_one_connection(town: Town) -> None:
    with Client(town.port) as client:
        client.send(get("http://open/1") + b"CONNECT orders:80 HTTP/1.1\r\nhost: a\r\n\r\n" + get("/secret"))
        assert client.read()[0] == 200
        client_head, client._rest = read_head(client.sock, client._rest)
        assert client_head.startswith(b"HTTP/1.1 200 Connection Established")
        assert client.read()[0] == 403
        assert [one["destination"] for one in town.proxy.get("/connections")] == ["default/orders"]


@WAYS
def test_no_proxy_within_a_tunnel(town: Town, way: str) -> None:
    with town.connect(way, "open:80") as opened:
        client = Client(opened.sock)
        client.send(b"CONNECT orders:82 HTTP/1.1\r\nhost: orders:82\r\n\r\n")
        assert client.read()[0] == 501
    with town.connect(way, "open:80") as opened:
        client = Client(opened.sock)
        before = town.proxy.metrics().sum("tulle_requests_total", destination="default/open")
        client.send(get("http://orders/secret"))
        assert client.read()[0] == 200, "of the service whose tunnel it is"
        assert town.proxy.metrics().sum("tulle_requests_total", destination="default/open") == before + 1


@WAYS
def test_tunnel_is_a_connection_of_its_caller(mail: Town, way: str) -> None:
    before = mail.proxy.metrics()
    with mail.connect(way, "orders:82") as opened:
        assert opened.sock.recv(100) == b"220 ready\r\n"
        found = [one for one in mail.proxy.get("/connections") if one["protocol"] == "tcp"]
        assert [(one["source"], one["destination"], one["by"]) for one in found] == [(WEB, "default/orders", WEB)]
        opened.sock.shutdown(socket.SHUT_WR)
        read_all(opened.sock)
    until(lambda: not mail.proxy.get("/connections"), "all are gone")
    after = mail.proxy.metrics()
    labels = {"source": WEB, "destination": "default/orders", "response_class": "closed"}
    assert after.sum("tulle_tcp_connections_total", **labels) == before.sum("tulle_tcp_connections_total", **labels) + 1
    assert after.sum("tulle_connections_open") == 0


@WAYS
def test_new_policy_cuts_tunnels_that_it_would_refuse(mail: Town, way: str) -> None:
    with mail.connect(way, "orders:82") as opened:
        assert opened.sock.recv(100) == b"220 ready\r\n"
        mail.become(NOBODY)
        assert opened.is_reset()


@WAYS
def test_shadow_opens_what_it_would_refuse_and_counts_it(mail: Town, way: str) -> None:
    mail.become(STRANGER)
    mail.put(Mode.SHADOW)
    try:
        before = mail.proxy.metrics()
        with mail.connect(way, "orders.default:82") as opened:
            assert opened.status == 200
            assert opened.sock.recv(100) == b"220 ready\r\n"
        after = mail.proxy.metrics()
        labels = {"source": STRANGER, "destination": "default/orders"}
        assert after.sum("tulle_shadow_denied_total", **labels) == before.sum("tulle_shadow_denied_total", **labels) + 1
    finally:
        mail.put()


@WAYS
def test_reset_of_the_endpoint_reaches_the_caller(way: str) -> None:
    held = Held()
    with Town(held) as town:
        town.become(WEB)
        with town.connect(way, "orders:82") as opened:
            leave_with_reset(held.taken())
            assert opened.is_reset()
        held.let_go()


@WAYS
def test_reset_of_the_caller_reaches_the_endpoint(way: str) -> None:
    held = Held()
    with Town(held) as town:
        town.become(WEB)
        with town.connect(way, "orders:82") as opened:
            endpoint = held.taken()
            opened.sock.sendall(b"x")
            assert endpoint.recv(1) == b"x"
            opened.break_off()
            with pytest.raises(ConnectionResetError):
                endpoint.recv(1)
        held.let_go()
        until(lambda: not town.proxy.get("/connections"), "the caller's connection is gone")


def send_all(sock: socket.socket, block: bytes, times: int) -> None:
    for _ in range(times):
        sock.sendall(block)


@WAYS
def test_large_transfers_arrive_whole_and_bounded(way: str) -> None:
    """What one side does not read is not read from the other; the proxy holds little of it."""
    size = 24 << 20
    block = os.urandom(1 << 20)
    may_read = threading.Event()

    def serve(sock: socket.socket) -> None:
        may_read.wait(20)
        got = 0
        while octets := sock.recv(1 << 16):
            got += len(octets)
        send_all(sock, block, size >> 20)
        sock.sendall(b"%d" % got)

    with Town(serve) as town:
        town.become(WEB)
        resident = town.proxy.resident_bytes()
        with town.connect(way, "orders:82") as opened:
            sender = threading.Thread(target=send_all, args=(opened.sock, block, size >> 20))
            sender.start()
            until(lambda: bool(town.proxy.get("/connections")), "it is there")
            may_read.set()
            sender.join()
            opened.sock.shutdown(socket.SHUT_WR)
            came = bytearray()
            while octets := opened.sock.recv(1 << 16):
                came += octets
            assert len(came) == size + len(str(size))
            assert came[:size] == block * (size >> 20)
            assert came[size:] == str(size).encode()
        assert town.proxy.resident_bytes() - resident < 8 << 20


def test_tunnels_over_http2_count_against_the_limit_of_connections() -> None:
    with Town(greet_first, limits=Limits(connections_per_caller=3)) as town:
        town.become(WEB)
        with town.link() as link:
            ask = {":method": "CONNECT", ":authority": "orders:82"}
            answers = [link.answered(link.ask(ask)) for _ in range(3)]
        assert [one[":status"] for one in answers] == ["200", "200", "503"]
        assert answers[2]["x-tulle-reason"] == "overloaded"


def test_end_of_the_http2_connection_ends_its_tunnels() -> None:
    held = Held()
    with Town(held) as town:
        town.become(WEB)
        with town.link() as link:
            link.answered(link.ask({":method": "CONNECT", ":authority": "orders:82"}))
            endpoint = held.taken()
        with pytest.raises(ConnectionResetError):
            endpoint.recv(1)
        until(lambda: not town.proxy.get("/connections"), "both connections are gone")
        held.let_go()


def test_silent_tunnel_of_an_ended_connection_does_not_stay(mail: Town) -> None:
    """The endpoint ends all; the stream ends too, though its caller never does."""
    with mail.link() as link:
        tunnel = link.ask({":method": "CONNECT", ":authority": f"{OPEN}:80"})
        assert link.answered(tunnel)[":status"] == "200"
        tunnel.sock.sendall(b"no request\r\n\r\n")
        assert b"400" in read_all(tunnel.sock)
        until(lambda: tunnel.reset_code is not None or tunnel.peer_done, "the stream's end")
        until(lambda: len(mail.proxy.get("/connections")) == 1, "the inner connection is gone")


def test_tunnel_whose_caller_reads_nothing_ends_in_time() -> None:
    """The endpoint has said all and left; what waits for the caller's window does not wait for ever."""

    def serve(sock: socket.socket) -> None:
        send_all(sock, bytes(1 << 16), 16)

    with Town(serve, limits=Limits(idle_timeout=0.5)) as town:
        town.become(WEB)
        with town.link() as link:
            tunnel = link.ask({":method": "CONNECT", ":authority": "orders:82"})
            assert link.answered(tunnel)[":status"] == "200"
            until(lambda: tunnel.reset_code is not None, "its end")
            assert not tunnel.peer_done
            assert town.proxy.metrics().sum("tulle_buffered_bytes") == 0


@WAYS
def test_tcp_is_connected_before_connect_is_answered(way: str) -> None:
    """Whoever cannot be reached is no tunnel that breaks, but an answer that says why."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = int(server.getsockname()[1])
    with Town() as town:
        town.endpoint = closed
        town.put()
        town.become(WEB)
        with town.connect(way, "orders:82") as opened:
            assert (opened.status, opened.reason) == (503, "connect-failed")
            if way == "h1":
                assert read_all(opened.sock).startswith(b"tulle: connect-failed: ")
        until(lambda: not town.proxy.get("/connections"), "nothing is left of it")
        metrics = town.proxy.metrics()
        assert metrics.sum("tulle_answers_total", source=WEB, reason="connect-failed") == 1
        assert metrics.sum("tulle_tcp_connections_total", source=WEB, response_class="reset") == 1
        assert town.proxy.get("/refusals")[-1]["reason"] == "connect-failed"


@WAYS
def test_endpoint_may_speak_before_connect_is_answered_to(mail: Town, way: str) -> None:
    """Its octets come behind the answer, never before it."""
    for _ in range(20):
        with mail.connect(way, "orders:82") as opened:
            assert opened.status == 200
            assert opened.sock.recv(100) == b"220 ready\r\n"
