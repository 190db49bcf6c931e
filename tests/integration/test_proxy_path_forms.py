"""The forward proxy at a path: every form of the forward proxy, and what a program sends that takes it for the service."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.attached_path import listening
from tests.support.forwarding import NOBODY, STRANGER, WEB, Held, Town, verdict
from tests.support.grpc_ends import GrpcService
from tests.support.h2_tunnels import H2Link
from tests.support.programs import needs
from tests.support.proxy_harness import DEADLINE, Client, read_all, read_head, until
from tulle.wire.snapshot import Limits, Mode

GRPC = """
import os, sys
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
import grpc
with grpc.insecure_channel(sys.argv[1], options=[("grpc.default_authority", sys.argv[2])]) as channel:
    try:
        print("OK", channel.unary_unary("/shop.Orders/Echo")(b"hello", timeout=10).decode())
    except grpc.RpcError as error:
        print(error.code().name, dict(error.initial_metadata() or error.trailing_metadata() or ()).get("x-tulle-reason"))
"""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Town(limits=Limits(detect_timeout=DEADLINE)) as made:  # within a tunnel this test may be slow to speak
        yield made


@pytest.fixture(scope="module")
def path(town: Town) -> Iterator[str]:
    with listening(town.proxy) as at:
        yield at


@pytest.fixture(autouse=True)
def web(town: Town) -> None:
    town.become(WEB)


def dial(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    sock.connect(path)
    return sock


def asked(path: str, *requests: bytes) -> list[tuple[int, str]]:
    """What requests on one connection are answered: status and reason."""
    with dial(path) as sock:
        found, rest = [], b""
        for one in requests:
            sock.sendall(one)
            head, rest = read_head(sock, rest)
            found.append(verdict(head))
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            while len(rest) < length:
                rest += sock.recv(65536)
            rest = rest[length:]
        return found


def origin(target: str, host: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("caller", "target", "host", "answer"),
    [
        (WEB, "/orders/1", "orders", (200, "")),
        (WEB, "/orders/1", "Orders.Default.:81", (200, "")),
        (WEB, "/orders/../x", "orders", (403, "denied")),
        (WEB, "/secret", "orders", (403, "denied")),
        (WEB, "/orders/1", "orders:82", (501, "unsupported")),
        (STRANGER, "/orders/1", "orders.default", (403, "denied")),
        (STRANGER, "/", "orders", (200, "")),
        (NOBODY, "/orders/1", "orders", (403, "denied")),
        (NOBODY, "/", "open", (200, "")),
        (WEB, "/", "nowhere", (404, "no-service")),
        (WEB, "/", "localhost", (404, "no-service")),
        (WEB, "/metrics", "127.0.0.1:15020", (404, "no-service")),
        (WEB, "/", "169.254.169.254", (404, "no-service")),
        (WEB, "/", "127.80.0.2", (200, "")),
        (WEB, "http://orders/secret", "open", (403, "denied")),
        (WEB, "http://open/", "orders", (200, "")),
    ],
)
def test_host_names_the_service_where_the_target_does_not(
    town: Town, path: str, caller: str, target: str, host: str, answer: tuple[int, str]
) -> None:
    town.become(caller)

    assert asked(path, origin(target, host)) == [answer]


def test_requests_of_one_connection_may_go_to_different_services(town: Town, path: str) -> None:
    rows = [("orders", "/orders/1", 200), ("open", "/", 200), ("orders", "/no", 403), ("nowhere", "/", 404)] * 3

    answers = asked(path, *(origin(target, host) for host, target, _ in rows))

    assert [status for status, _ in answers] == [status for _, _, status in rows]


def test_what_is_remembered_of_a_path_opens_nothing_at_the_address(town: Town, path: str) -> None:
    head = origin("/orders/1", "orders")
    absolute = origin("http://orders/orders/1", "orders")
    for _ in range(3):
        assert asked(path, absolute, head, head) == [(200, "")] * 3
        with Client(town.port) as client:
            for _ in range(3):
                client.send(absolute)
                assert client.read()[0] == 200
            client.send(head)
            assert verdict(client.read()[1]) == (400, "origin-form")


def test_heads_that_repeat_are_judged_anew_with_each_snapshot(town: Town, path: str) -> None:
    with dial(path) as sock:
        for mode, status in (Mode.ENFORCE, 403), (Mode.SHADOW, 200), (Mode.ENFORCE, 403):
            town.put(mode)
            for _ in range(3):
                sock.sendall(origin("/elsewhere", "orders"))
                head, rest = read_head(sock)
                assert verdict(head)[0] == status
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                while len(rest) < length:
                    rest += sock.recv(65536)


def test_tunnel_is_judged_request_by_request(town: Town, path: str) -> None:
    with dial(path) as sock:
        sock.sendall(b"CONNECT orders:80 HTTP/1.1\r\nhost: orders:80\r\n\r\n")
        assert verdict(read_head(sock)[0]) == (200, "")
        for target, status in ("/orders/1", 200), ("/secret", 403):
            sock.sendall(origin(target, "orders"))
            assert verdict(read_head(sock)[0])[0] == status


def test_streams_are_served_by_prior_knowledge(town: Town, path: str) -> None:
    link = H2Link(dial(path), is_client=True)
    link.start()
    with link:
        for authority, target, status in (
            ("orders:81", "/orders/1", "200"), ("orders", "/secret", "403"), ("nowhere", "/", "404"),
        ):  # fmt: skip
            stream = link.ask({":method": "GET", ":scheme": "http", ":authority": authority, ":path": target})
            stream.sock.shutdown(socket.SHUT_WR)
            assert link.answered(stream)[":status"] == status


def test_octets_that_are_no_request_go_nowhere(town: Town, path: str) -> None:
    before = town.backends.connections
    with dial(path) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05hello\r\n\r\n")
        assert read_head(sock)[0].startswith(b"HTTP/1.1 400 ")
    assert town.backends.connections == before


def test_answer_of_unknown_length_is_chunked_so_that_its_loss_is_seen() -> None:
    """A unix socket knows no reset: what ends early must be told by its framing."""
    held = Held()
    with Town(held) as town, listening(town.proxy) as path:
        town.become(WEB)
        with contextlib.closing(dial(path)) as sock:
            sock.sendall(origin("/orders/1", "orders"))
            endpoint = held.taken()
            read_head(endpoint)
            endpoint.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart")
            head, rest = read_head(sock)
            assert b"transfer-encoding: chunked" in head.lower()
            town.become(NOBODY)
            assert not (rest + read_all(sock)).endswith(b"0\r\n\r\n")
        held.let_go()


def test_connections_are_told_and_counted(town: Town, path: str) -> None:
    before = town.proxy.metrics().sum("tulle_requests_total", source=WEB, destination="default/orders")
    with dial(path) as sock:
        sock.sendall(origin("/orders/1", "orders"))
        read_head(sock)
        (one,) = town.proxy.get("/connections")
        assert (one["by"], one["source"], one["destination"]) == (WEB, WEB, "forward-proxy")
    until(lambda: town.proxy.get("/connections") == [], "it is gone")
    assert town.proxy.metrics().sum("tulle_requests_total", source=WEB, destination="default/orders") == before + 1


def test_path_that_is_handed_over_no_more_is_not_accepted_from() -> None:
    with Town() as town, listening(town.proxy) as path:
        town.become(WEB)
        assert asked(path, origin("/orders/1", "orders")) == [(200, "")]
        town.proxy.hand_over("no-forward", path)
        town.proxy.get("/status")
        with dial(path) as sock:  # as long as this test holds it, the kernel queues
            sock.sendall(origin("/orders/1", "orders"))
            assert town.asked(origin("http://orders/orders/1", "x")) == (200, "")
            assert all(one["by"] != WEB for one in town.proxy.get("/connections"))


def test_limits_of_heads_hold() -> None:
    with Town(limits=Limits(header_bytes=1024)) as town, listening(town.proxy) as path:
        town.become(WEB)
        large = f"GET /orders/1 HTTP/1.1\r\nhost: orders\r\nx-a: {'a' * 2000}\r\n\r\n".encode()
        assert asked(path, large) == [(431, "head-too-large")]


@needs("curl")
def test_curl_by_its_option(town: Town, path: str) -> None:
    def status(*words: str) -> str:
        return said("curl", "-s", "-o", os.devnull, "-w", "%{http_code} %{http_connect}", "--unix-socket", path, *words)

    assert status("http://orders/orders/1") == "200 000"
    assert status("http://orders/secret") == "403 000"
    assert status("http://nowhere/") == "404 000"
    assert status("--http2-prior-knowledge", "http://orders:81/orders/1") == "200 000"
    town.become(NOBODY)
    assert status("http://orders/orders/1") == "403 000"


def test_http_client_on_a_socket_of_its_own(town: Town, path: str) -> None:
    connection = http.client.HTTPConnection("orders", timeout=DEADLINE)
    connection.sock = dial(path)
    with contextlib.closing(connection):
        for target, status in ("/orders/1", 200), ("/secret", 403), ("/orders/2", 200):
            connection.request("GET", target)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status


def test_grpc_by_its_target() -> None:
    with GrpcService() as service, Town() as town, listening(town.proxy) as path:
        town.endpoint = service.port
        town.put()
        town.become(WEB)
        assert said(sys.executable, "-c", GRPC, f"unix:{path}", "open:81") == "OK hello"
        assert said(sys.executable, "-c", GRPC, f"unix:{path}", "orders") == "PERMISSION_DENIED denied"
        metrics = town.proxy.metrics()
        assert metrics.sum("tulle_grpc_responses_total", source=WEB, destination="default/open", grpc_status="OK") == 1


def said(*words: str) -> str:
    """What a program prints."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=DEADLINE, stdin=subprocess.DEVNULL, check=False
    )
    return done.stdout.strip() or done.stderr.strip()
