"""Upgrades that fail, are not asked for, or are not what they seem: nothing goes past the proxy's judgement. Octets are sent as they are."""

import socket
import threading
from dataclasses import dataclass, field

import pytest

from tests.support.h2_tunnels import H2Endpoint, dial_h2
from tests.support.proxy_harness import (
    DEADLINE,
    Backends,
    Client,
    Proxy,
    dial,
    host,
    one_service,
    only,
    read_all,
    read_head,
    until,
)
from tulle.wire.snapshot import Protocol

KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
ACCEPT = b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
"""The pair of RFC 6455, 1.3."""
ASK = b"GET /chat HTTP/1.1\r\nhost: orders\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: websocket\r\n"
HANDSHAKE = ASK + UPGRADE + KEY + b"sec-websocket-version: 13\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
SWITCHED = SWITCH + UPGRADE + ACCEPT + b"\r\n"
FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"
SECRET = b"GET /secret HTTP/1.1\r\nhost: orders\r\n\r\n"


@dataclass
class Scripted:
    """An endpoint that answers the first head of each connection so, and remembers all that comes."""

    answer: bytes
    heads: list[bytes] = field(default_factory=list)
    rests: list[bytes] = field(default_factory=list)
    """What came behind each head, until the connection's end."""
    then: bytes = b""
    """Said once something came behind the head."""

    def __call__(self, sock: socket.socket) -> None:
        head, rest = read_head(sock)
        self.heads.append(head.lower())
        sock.sendall(self.answer)
        try:
            while octets := sock.recv(65536):
                rest += octets
                if self.then:
                    sock.sendall(self.then)
                    self.then = b""
        except OSError:
            pass
        self.rests.append(rest)


def before(proxy: Proxy, backends: Backends, endpoint: Scripted) -> int:
    """A door to it; /secret is denied."""
    door = proxy.door()
    allowed = only("GET", "POST", paths=("/chat",))
    at = host(backends.serve(endpoint))
    proxy.put(one_service({door: Protocol.HTTP}, (at,), policies=(allowed,), speaks=Protocol.HTTP))
    return door


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH + b"\r\n",
        SWITCH + b"upgrade: websocket\r\n" + ACCEPT + b"\r\n",
        SWITCH + b"connection: upgrade\r\n" + ACCEPT + b"\r\n",
        SWITCH + UPGRADE + b"\r\n",
        SWITCH + UPGRADE + b"sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        SWITCH + UPGRADE + ACCEPT + ACCEPT + b"\r\n",
        SWITCH + b"connection: upgrade\r\nupgrade: h2c\r\n" + ACCEPT + b"\r\n",
        SWITCH + b"connection: upgrade\r\nupgrade: websocket, h2c\r\n" + ACCEPT + b"\r\n",
        SWITCH + b"connection: upgrade\r\nupgrade: websocket/13\r\n" + ACCEPT + b"\r\n",
        SWITCH + UPGRADE + ACCEPT + b"content-length: 5\r\n\r\nhello",
        SWITCH + UPGRADE + ACCEPT + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=[
        "bare",
        "named-not",
        "said-not",
        "no-proof",
        "other-proof",
        "two-proofs",
        "h2c",
        "both",
        "version",
        "length",
        "chunked",
    ],
)
def test_a_101_that_proves_no_change_is_answered_502(proxy: Proxy, backends: Backends, answer: bytes) -> None:
    endpoint = Scripted(answer)
    with Client(before(proxy, backends, endpoint)) as client:
        client.send(HANDSHAKE)
        status, head, _ = client.read()
        assert (status, b"x-tulle-reason: upstream-protocol" in head) == (502, True)
        client.send(SECRET)
        assert client.read()[0] == 403
    until(lambda: endpoint.rests == [b""], "nothing came behind the head")


NOT_ASKED = {
    "plain": ASK + b"\r\n",
    "upgrade without connection": ASK + b"upgrade: websocket\r\n" + KEY + b"\r\n",
    "connection without upgrade": ASK + b"connection: upgrade\r\n" + KEY + b"\r\n",
    "HTTP/1.0": HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no key": ASK + UPGRADE + b"\r\n",
    "short key": ASK + UPGRADE + b"sec-websocket-key: dGhlIHNhbXBsZQ==\r\n\r\n",
    "no base64": ASK + UPGRADE + b"sec-websocket-key: !!!!!!!!!!!!!!!!!!!!!!==\r\n\r\n",
    "two keys": ASK + UPGRADE + KEY + KEY + b"\r\n",
    "POST": HANDSHAKE.replace(b"GET", b"POST"),
    "a body": HANDSHAKE[:-2] + b"content-length: 3\r\n\r\nabc",
    "chunks": HANDSHAKE[:-2] + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "h2c": ASK
    + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "H2C": ASK + b"connection: Upgrade\r\nupgrade: H2C\r\n\r\n",
    "h2c, unnamed settings": ASK + b"connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    "HTTP/2.0": ASK + b"connection: upgrade\r\nupgrade: HTTP/2.0\r\n\r\n",
    "TLS": ASK + b"connection: upgrade\r\nupgrade: TLS/1.0, h2c\r\n\r\n",
    "no token": ASK + b"connection: upgrade\r\nupgrade: web socket, other\r\n\r\n",
    "nothing": ASK + b"connection: upgrade\r\nupgrade: ,\r\n\r\n",
}


@pytest.mark.parametrize("octets", NOT_ASKED.values(), ids=NOT_ASKED.keys())
def test_what_asks_for_nothing_is_served_in_http(proxy: Proxy, backends: Backends, octets: bytes) -> None:
    endpoint = Scripted(FINE)
    with Client(before(proxy, backends, endpoint)) as client:
        client.send(octets)
        assert client.read()[::2] == (200, b"fine")
    (head,) = endpoint.heads
    for name in (b"upgrade", b"http2-settings"):
        assert b"\r\n" + name not in head
        assert b"connection: " + name not in head


@pytest.mark.parametrize("octets", NOT_ASKED.values(), ids=NOT_ASKED.keys())
def test_a_101_that_nobody_asked_for_is_answered_502(proxy: Proxy, backends: Backends, octets: bytes) -> None:
    endpoint = Scripted(SWITCHED)
    with Client(before(proxy, backends, endpoint)) as client:
        client.send(octets)
        assert client.read()[0] == 502


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        (b"websocket, h2c", b"websocket"),
        (b"h2c, WebSocket", b"websocket"),
        (b"other", b"other"),
        (b"h2c, other/1, HTTP/2.0, more", b"other/1, more"),
    ],
)
def test_an_endpoint_is_asked_for_what_may_be(proxy: Proxy, backends: Backends, offered: bytes, asked: bytes) -> None:
    endpoint = Scripted(FINE)
    with Client(before(proxy, backends, endpoint)) as client:
        client.send(
            ASK + b"connection: upgrade, x-private\r\nx-private: 1\r\nupgrade: " + offered + b"\r\n" + KEY + b"\r\n"
        )
        assert client.read()[0] == 200
    (head,) = endpoint.heads
    assert b"\r\nconnection: upgrade\r\nupgrade: " + asked + b"\r\n" in head
    assert head.count(b"upgrade:") == 1
    assert b"x-private" not in head


@pytest.mark.parametrize(
    "answer", [FINE, FINE.replace(b"200 OK", b"426 Upgrade Required"), FINE.replace(b"200", b"500")]
)
def test_what_follows_a_failed_upgrade_is_judged(proxy: Proxy, backends: Backends, answer: bytes) -> None:
    """The classic: a proxy that tunnels blindly would hand the second request on unread."""
    endpoint = Scripted(answer)
    with Client(before(proxy, backends, endpoint)) as client:
        client.send(HANDSHAKE + SECRET)
        assert client.read()[0] == int(answer[9:12])
        assert client.read()[0] == 403
        client.send(HANDSHAKE)
        assert client.read()[0] == int(answer[9:12])
    until(lambda: endpoint.rests == [b"", b""], "each had a connection of its own, and nothing behind the head")
    assert proxy.metrics().sum("tulle_requests_total", protocol="http") == 3


def test_what_comes_before_the_101_ends_the_connection(proxy: Proxy, backends: Backends) -> None:
    endpoint = Scripted(SWITCHED)
    with dial(before(proxy, backends, endpoint)) as sock:
        sock.sendall(HANDSHAKE + SECRET)
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    until(lambda: endpoint.rests == [b""], "nothing came behind the head")


def test_a_tunnel_is_octets_even_where_they_look_like_http(proxy: Proxy, backends: Backends) -> None:
    """A second 101, and requests within: they are the other protocol's."""
    endpoint = Scripted(SWITCHED + SWITCHED, then=FINE)
    with dial(before(proxy, backends, endpoint)) as sock:
        sock.sendall(HANDSHAKE)
        head, rest = read_head(sock)
        assert head.startswith(SWITCH + UPGRADE)
        while len(rest) < len(SWITCHED):
            rest += sock.recv(65536)
        sock.sendall(SECRET)
        while len(rest) < len(SWITCHED + FINE):
            rest += sock.recv(65536)
        assert rest == SWITCHED + FINE
    until(lambda: endpoint.rests == [SECRET], "the octets went on as they were")


def test_interim_answers_come_before_the_101(proxy: Proxy, backends: Backends) -> None:
    endpoint = Scripted(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + SWITCHED)
    with dial(before(proxy, backends, endpoint)) as sock:
        sock.sendall(HANDSHAKE)
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 103")
        assert read_head(sock, rest)[0].startswith(SWITCH)


@pytest.mark.parametrize("first", ["caller", "endpoint"])
def test_either_half_of_another_protocol_ends_by_itself(proxy: Proxy, backends: Backends, first: str) -> None:
    got: list[bytes] = []
    may_end = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(SWITCH + b"connection: upgrade\r\nupgrade: Reverse/1\r\n\r\n")
        if first == "endpoint":
            sock.sendall(b"all I say")
            sock.shutdown(socket.SHUT_WR)
            got.append(read_all(sock))
        else:
            got.append(read_all(sock))
            sock.sendall(b"all I say")
        may_end.wait(DEADLINE)

    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(serve)),)))
    with dial(door) as sock:
        sock.sendall(ASK + b"connection: upgrade\r\nupgrade: reverse/1\r\n\r\n")
        head, rest = read_head(sock)
        assert b"upgrade: reverse/1\r\n" in head
        (connection,) = proxy.get("/connections")
        assert connection["protocol"] == "upgrade"
        if first == "endpoint":
            assert rest + read_all(sock) == b"all I say"
        sock.sendall(b"x" * 1_000_000)
        sock.shutdown(socket.SHUT_WR)
        if first == "caller":
            may_end.set()
            assert rest + read_all(sock) == b"all I say"
    until(lambda: [len(one) for one in got] == [1_000_000], "the rest arrives")
    may_end.set()
    counted = {"protocol": "upgrade", "response_class": "closed"}
    until(lambda: proxy.metrics().sum("tulle_tcp_connections_total", **counted) == 1, "it is counted")
    assert proxy.metrics().sum("tulle_request_bytes_total", protocol="upgrade") == 1_000_000
    assert proxy.metrics().sum("tulle_websocket_closes_total") == 0


def test_an_http2_caller_is_told_that_it_may_ask(proxy: Proxy, backends: Backends) -> None:
    with dial_h2(before(proxy, backends, Scripted(FINE))) as link:
        until(lambda: link.has_settings, "SETTINGS")
        assert link.settings[8] == 1


@pytest.mark.parametrize(
    ("protocol", "status", "reason"),
    [("h2c", "501", "unsupported"), ("HTTP/2.0", None, ""), ("h2", "501", "unsupported")],
)
def test_an_extended_connect_to_more_http_is_not_served(
    proxy: Proxy, backends: Backends, protocol: str, status: str | None, reason: str
) -> None:
    endpoint = Scripted(FINE)
    with dial_h2(before(proxy, backends, endpoint)) as link:
        tunnel = link.open(protocol)
        if status is None:
            until(lambda: tunnel.reset_code is not None, "a reset")
        else:
            answer = link.answered(tunnel)
            assert (answer[":status"], answer["x-tulle-reason"]) == (status, reason)
    assert endpoint.heads == []


def test_plain_connect_is_refused_over_http2(proxy: Proxy, backends: Backends) -> None:
    with dial_h2(before(proxy, backends, Scripted(FINE))) as link:
        until(lambda: link.has_settings, "SETTINGS")
        answer = link.answered(link.ask({":method": "CONNECT", ":authority": "orders:80"}))
        assert (answer[":status"], answer["x-tulle-reason"]) == ("501", "unsupported")


def test_data_before_the_answer_waits_for_it(proxy: Proxy, backends: Backends) -> None:
    """An HTTP/2 caller may write at once: what it wrote goes on after a 101, and nowhere after another answer."""
    endpoint = Scripted(FINE)
    with dial_h2(before(proxy, backends, endpoint)) as link:
        tunnel = link.open("reverse")
        tunnel.sock.sendall(SECRET)
        assert link.answered(tunnel)[":status"] == "200"
        assert tunnel.sock.recv(100) == b"fine"
    until(lambda: endpoint.rests == [b""], "nothing came behind the head")

    endpoint.answer = SWITCH + b"connection: upgrade\r\nupgrade: reverse\r\n\r\n"
    endpoint.then = b"back"
    with dial_h2(next(iter(proxy.doors))) as link:
        tunnel = link.open("reverse")
        tunnel.sock.sendall(SECRET)
        tunnel.sock.shutdown(socket.SHUT_WR)
        assert link.answered(tunnel)[":status"] == "200"
        assert read_all(tunnel.sock) == b"back"
    until(lambda: endpoint.rests == [b"", SECRET], "it went on after the 101")


def test_an_http2_callers_handshake_is_made_anew_for_http1(proxy: Proxy, backends: Backends) -> None:
    endpoint = Scripted(FINE)
    with dial_h2(before(proxy, backends, endpoint)) as link:
        tunnel = link.open(**{"sec-websocket-key": "mine", "sec-websocket-protocol": "chat"})
        assert link.answered(tunnel)[":status"] == "200"
    (head,) = endpoint.heads
    assert head.startswith(b"get /chat http/1.1\r\nhost: orders\r\nconnection: upgrade\r\nupgrade: websocket\r\n")
    assert head.count(b"sec-websocket-key:") == 1
    assert b"mine" not in head
    assert b"sec-websocket-protocol: chat\r\n" in head
    assert b"transfer-encoding" not in head


@pytest.mark.parametrize("status", ["403", "404", "500"])
def test_an_http2_endpoints_refusal_reaches_the_caller(proxy: Proxy, backends: Backends, status: str) -> None:
    endpoint = H2Endpoint(lambda sock: None, status=status)
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(endpoint)),), speaks=Protocol.HTTP2))
    with Client(door) as client:
        client.send(HANDSHAKE)
        assert client.read()[0] == int(status)
    (asked,) = endpoint.requests
    assert (asked[":method"], asked[":protocol"], asked[":path"]) == ("CONNECT", "websocket", "/chat")
    assert not {"upgrade", "connection", "sec-websocket-key"} & asked.keys()
