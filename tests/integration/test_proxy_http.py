"""HTTP/1.1 through the proxy, as its callers and endpoints see it."""

import socket
import threading
from collections.abc import Callable

import pytest

from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    dial,
    echo,
    field,
    host,
    ok,
    one_service,
    only,
    read_all,
    read_head,
    requests,
    until,
)
from tulle.wire.snapshot import Action, Match, Mode, PathMatch, PodEndpoint, Policy, Protocol, Route, WeightedBackend

Handler = Callable[[socket.socket], None]
Reach = Callable[[Handler], int]


@pytest.fixture
def reach(proxy: Proxy, backends: Backends) -> Reach:
    """Opens a door to a handler."""

    def to(handler: Handler) -> int:
        door = proxy.door()
        proxy.put(one_service({door: Protocol.DETECT}, (host(backends.serve(handler)),)))
        return door

    return to


def test_requests_share_a_connection_on_both_sides(reach: Reach, backends: Backends) -> None:
    with Client(reach(echo)) as client:
        for number in range(5):
            status, _, body = client.get(f"/{number}")
            assert status == 200
            assert body.startswith(b"GET /%d HTTP/1.1\r\nhost: orders\r\n" % number)
    assert backends.connections == 1


def test_pipelined_requests_are_answered_in_order(reach: Reach) -> None:
    with Client(reach(echo)) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: orders\r\n\r\n" % number for number in range(200)))
        for number in range(200):
            assert client.read()[2].startswith(b"GET /%d " % number)


def test_pipelined_refusals_are_answered_in_order(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("GET"),)))
    with Client(door) as client:
        client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n" * 2000)
        assert [client.read()[0] for _ in range(4000)] == [403, 200] * 2000


def test_chunked_bodies_and_trailers_pass_both_ways(reach: Reach) -> None:
    seen: list[bytes] = []

    def answer(sock: socket.socket) -> None:
        for _, body in requests(sock):
            seen.append(body)
            sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
            sock.sendall(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")

    with Client(reach(answer)) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"4;ext=1\r\nwiki\r\n")
        client.send(b"5\r\npedia\r\n0\r\nX-Check: 1\r\n\r\n")
        status, _, body = client.read()
        assert (status, body, client.trailers) == (200, b"abcde", b"X-Sum: 5")
        assert client.get()[0] == 200
    assert seen[0] == b"4\r\nwiki\r\n5\r\npedia\r\n0\r\nX-Check: 1\r\n\r\n"


def test_a_caller_that_waits_for_100_gets_the_endpoints(reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        head, rest = read_head(sock)
        assert b"\r\nexpect: 100-continue\r\n" in head.lower()
        assert not rest
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert sock.recv(100) == b"body!"
        sock.sendall(ok(b"thanks"))

    with Client(reach(answer)) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.read()[0] == 100
        client.send(b"body!")
        assert client.read()[2] == b"thanks"


def test_an_answer_before_the_body_ends_the_connection_after_it(reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nno!")
        read_all(sock)

    with Client(reach(answer)) as client:
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n" + bytes(1000))
        status, head, body = client.read()
        assert (status, body, field(head, "connection")) == (413, b"no!", "close")
        assert client.is_closed()


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n"),
    ],
)
def test_answers_without_a_body_leave_the_connection_usable(reach: Reach, method: str, answer: bytes) -> None:
    def reply(sock: socket.socket) -> None:
        for _ in requests(sock):
            sock.sendall(answer)

    with Client(reach(reply)) as client:
        for _ in range(3):
            client.send(f"{method} / HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            assert client.read(method)[0] == int(answer.split(b" ")[1])


def test_hop_by_hop_fields_end_at_the_proxy(reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        for head, _ in requests(sock):
            sock.sendall(ok(head, b"Connection: X-Mine", b"X-Mine: 1", b"Keep-Alive: timeout=5", b"X-Yours: 2"))

    with Client(reach(answer)) as client:
        _, head, body = client.get(
            "/",
            "Connection: X-Hop, keep-alive",
            "X-Hop: 1",
            "Keep-Alive: 5",
            "Proxy-Authorization: Basic eA==",
            "X-End: 2",
        )
    assert (field(body, "x-hop"), field(body, "keep-alive"), field(body, "proxy-authorization")) == (None, None, None)
    assert field(body, "x-end") == "2"
    assert (field(head, "x-mine"), field(head, "keep-alive"), field(head, "x-yours")) == (None, None, "2")


def test_a_request_id_is_made_or_continued(reach: Reach) -> None:
    with Client(reach(echo)) as client:
        made = {field(client.get()[2], "x-request-id") for _ in range(10)}
        assert None not in made
        assert len(made) == 10
        assert field(client.get("/", "X-Request-Id: mine-7")[2], "x-request-id") == "mine-7"


def test_an_old_caller_gets_an_old_answer(reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        for _ in requests(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    with Client(reach(answer)) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        status, head, body = client.read()
        assert (status, body, field(head, "transfer-encoding"), field(head, "connection")) == (
            200,
            b"abc",
            None,
            "close",
        )


def test_an_answer_until_close_reaches_a_new_caller_in_chunks(reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    with Client(reach(answer)) as client:
        for _ in range(2):
            status, head, body = client.get()
            assert (status, body, field(head, "transfer-encoding")) == (200, b"all of it", "chunked")


def test_interim_answers_are_forwarded(reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n" + ok(b"page"))

    with Client(reach(answer)) as client:
        assert client.get()[0] == 103
        assert client.read()[2] == b"page"


@pytest.mark.parametrize(
    ("octets", "status", "reason"),
    [
        (b"CONNECT orders:80 HTTP/1.1\r\nhost: orders:80\r\n\r\n", 501, "unsupported"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 501, "unsupported"),
        (b"GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad-request"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "bad-request"),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414, "target-too-long"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 70000 + b"\r\n\r\n", 431, "head-too-large"),
    ],
)
def test_our_own_answers_say_why(reach: Reach, octets: bytes, status: int, reason: str) -> None:
    with Client(reach(echo)) as client:
        client.send(octets)
        got, head, body = client.read()
        assert (got, field(head, "x-tulle-reason")) == (status, reason)
        request_id = field(head, "x-request-id")
        assert request_id
        assert f"tulle why {request_id}" in body.decode()


def test_a_denied_request_is_answered_403_and_counted_with_its_policy(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    deny = Policy(name="default/no-delete", action=Action.DENY, rules=only("DELETE").rules)
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("GET", "DELETE"), deny)))
    with Client(door) as client:
        assert client.get()[0] == 200
        client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n")
        status, head, body = client.read()
        assert (status, field(head, "x-tulle-reason")) == (403, "denied")
        assert b"no-delete" not in head + body
        client.send(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
        assert client.read()[0] == 403
        assert client.get()[0] == 200
    metrics = proxy.metrics()
    assert metrics.sum("tulle_denied_total", policy="default/no-delete", reason="denied") == 1
    assert metrics.sum("tulle_denied_total", policy="", reason="denied") == 1
    assert metrics.sum("tulle_requests_total", response_class="4xx") == 2


def test_shadow_mode_lets_pass_and_counts(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    policies = (only("POST"),)
    endpoints = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints, policies=policies, mode=Mode.SHADOW))
    with Client(door) as client:
        assert client.get()[0] == 200
    assert proxy.metrics().sum("tulle_shadow_denied_total", reason="denied") == 1
    assert proxy.metrics().sum("tulle_denied_total") == 0


def test_what_no_route_takes_is_answered_404(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    matches = (Match(path=PathMatch(value="/orders")),)
    route = Route(name="default/r#0", matches=matches, backends=(WeightedBackend(backend="default/orders:9000"),))
    empty = Route(name="default/r#1", matches=(Match(path=PathMatch(value="/none")),))
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), routes=(route, empty)))
    with Client(door) as client:
        assert client.get("/orders/7")[0] == 200
        status, head, _ = client.get("/other")
        assert (status, field(head, "x-tulle-reason")) == (404, "no-route")
        status, head, _ = client.get("/none")
        assert (status, field(head, "x-tulle-reason")) == (500, "no-backend")


def test_a_path_is_forwarded_as_it_was_judged(reach: Reach) -> None:
    with Client(reach(echo)) as client:
        assert client.get("/a/../b/%7euser?q=%2e")[2].startswith(b"GET /b/~user?q=%2e HTTP/1.1\r\n")


def test_a_door_that_leads_nowhere_any_more_answers_404(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    endpoints = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    with Client(door) as client:
        assert client.get()[0] == 200
        proxy.put(one_service({}, endpoints, generation=2))
        status, head, _ = client.get()
        assert (status, field(head, "x-tulle-reason")) == (404, "no-service")


def test_an_endpoint_that_breaks_off_is_noticed_by_the_caller(proxy: Proxy, reach: Reach) -> None:
    def answer(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

    with dial(reach(answer)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert read_all(sock).endswith(b"\r\n\r\nhalf")
    until(lambda: proxy.metrics().sum("tulle_requests_total", response_class="truncated") == 1, "truncated is counted")


def test_a_pod_that_is_not_ready_gets_nothing(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    port = backends.serve(echo)
    proxy.put(one_service({door: Protocol.HTTP}, (PodEndpoint(workload="default/orders-v1", port=port),)))
    with Client(door) as client:
        status, head, _ = client.get()
        assert (status, field(head, "x-tulle-reason")) == (503, "no-healthy-endpoint")
        proxy.hand_over("ready", "default/orders-v1")
        until(lambda: proxy.get("/status")["endpoints"][0]["ready"], "the pod is ready")
        assert client.get()[0] == 200
    assert proxy.broker.asked == [("default/orders-v1", 4)]


def test_a_pod_that_listens_on_ipv6_only_is_reached_and_remembered(proxy: Proxy, backends: Backends) -> None:
    def once(sock: socket.socket) -> None:
        read_head(sock)
        sock.sendall(ok(b"six", b"connection: close"))

    door = proxy.door()
    port = backends.serve(once, socket.AF_INET6)
    proxy.put(one_service({door: Protocol.HTTP}, (PodEndpoint(workload="default/orders-v1", port=port),)))
    proxy.hand_over("ready", "default/orders-v1")
    until(lambda: proxy.get("/status")["endpoints"][0]["ready"], "the pod is ready")
    with Client(door) as client:
        assert [client.get()[2] for _ in range(2)] == [b"six", b"six"]
    assert [family for _, family in proxy.broker.asked] == [4, 6, 6]


def test_a_listener_dialled_round_the_redirect_closes_at_once(proxy: Proxy, backends: Backends) -> None:
    proxy.put(one_service({}, (host(backends.serve(echo)),)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.hand_over("pod", "default/web", listener)
        until(lambda: "default/web" in proxy.get("/status")["pods"], "the listener is taken")
        with socket.create_connection(listener.getsockname()) as sock:
            sock.settimeout(10)
            assert read_all(sock) == b""
    until(lambda: proxy.metrics().sum("tulle_connections_refused_total", cause="direct") == 1, "it is counted")


def test_an_endpoint_is_chosen_among_those_less_busy(proxy: Proxy, backends: Backends) -> None:
    held, asked = threading.Event(), threading.Event()

    def slow(sock: socket.socket) -> None:
        for _ in requests(sock):
            asked.set()
            held.wait(20)
            sock.sendall(ok(b"slow"))

    def quick(sock: socket.socket) -> None:
        for _ in requests(sock):
            sock.sendall(ok(b"quick"))

    door = proxy.door()
    endpoints = (host(backends.serve(slow), "default/a"), host(backends.serve(quick), "default/b"))
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    waiting = []
    while not asked.is_set():
        waiting.append(Client(door))
        waiting[-1].send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        until(lambda: asked.is_set() or proxy.get("/status")["requests_in_flight"] == 0, "one of them has it")
    with Client(door) as client:
        assert {client.get()[2] for _ in range(50)} == {b"quick"}
    held.set()
    for client in waiting:
        client.read()
        client.sock.close()
