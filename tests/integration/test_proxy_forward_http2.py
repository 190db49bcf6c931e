"""The forward proxy over HTTP/2: each stream's :authority says where to."""

from collections.abc import Iterator

import pytest

from tests.support.forwarding import NOBODY, ORDERS, STRANGER, WEB, Town
from tests.support.h2_tunnels import Headers
from tests.support.proxy_harness import Backends, read_all, until
from tests.support.ws_ends import endpoint, over_client


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Town() as made:
        yield made


@pytest.fixture(autouse=True)
def web(town: Town) -> None:
    town.become(WEB)


def plain(authority: str, path: str, **more: str) -> Headers:
    """Of what endpoints of the port 81 are asked, which speak HTTP/1.1."""
    return {":method": "GET", ":scheme": "http", ":authority": authority, ":path": path} | more


def test_streams_of_one_connection_go_to_different_services(town: Town) -> None:
    with town.link() as link:
        for _ in range(3):
            asked = {
                ("orders:81", "/orders/1"): "200",
                ("orders:81", "/secret"): "403",
                (f"{ORDERS}:81", "/orders/2"): "200",
                ("Orders.Default.svc:81", "/orders/3"): "200",
                ("nowhere:81", "/orders/1"): "404",
                ("orders.other:81", "/"): "404",
                ("169.254.169.254", "/"): "404",
                (f"127.0.0.1:{town.port}", "/"): "404",
            }
            streams = [(link.ask(plain(*one), ends=True), status) for one, status in asked.items()]
            for stream, status in streams:
                assert link.answered(stream)[":status"] == status


def test_request_goes_on_to_the_host_of_its_authority(town: Town) -> None:
    with town.link() as link:
        stream = link.ask(plain("Orders:81", "/orders/1?x=y", **{"proxy-authorization": "Basic eA=="}), ends=True)
        assert link.answered(stream)[":status"] == "200"
        seen = read_all(stream.sock).decode().lower()
    assert seen.startswith("get /orders/1?x=y http/1.1\r\nhost: orders:81\r\n")
    assert "proxy-" not in seen


@pytest.mark.parametrize(
    ("caller", "authority", "answer"),
    [
        (STRANGER, "orders.default:81", ("403", "denied")),
        (NOBODY, "orders:81", ("403", "denied")),
        (NOBODY, "orders.other", ("403", "denied")),
        (NOBODY, "nowhere", ("404", "no-service")),
    ],
)
def test_policy_decides_who_is_let_in(town: Town, caller: str, authority: str, answer: tuple[str, str]) -> None:
    town.become(caller)
    with town.link() as link:
        head = link.answered(link.ask(plain(authority, "/orders/1"), ends=True))
        assert (head[":status"], head["x-tulle-reason"]) == answer


def test_https_is_not_forwarded(town: Town) -> None:
    before = town.backends.connections
    with town.link() as link:
        for _ in range(2):
            head = link.answered(link.ask(plain("orders:81", "/orders/1") | {":scheme": "https"}, ends=True))
            assert (head[":status"], head["x-tulle-reason"]) == ("501", "unsupported")
    assert town.backends.connections == before


@pytest.mark.parametrize(
    "fields",
    [
        {":method": "CONNECT", ":authority": "orders"},
        {":method": "CONNECT", ":authority": "a@orders:82"},
        {":method": "CONNECT", ":authority": "orders:65536"},
        {":method": "CONNECT", ":authority": "orders:82", "content-length": "5"},
        {":method": "CONNECT", ":authority": "orders:82", "host": "open:82"},
        {":method": "GET", ":scheme": "http", ":authority": "open@orders", ":path": "/orders/1"},
        {":method": "GET", ":scheme": "http", ":authority": "orders", ":path": "http://open/"},
    ],
)
def test_malformed_streams_are_reset_and_others_go_on(town: Town, fields: Headers) -> None:
    before = town.backends.connections
    with town.link() as link:
        link._conn.config.validate_outbound_headers = False
        link._conn.config.normalize_outbound_headers = False
        stream = link.ask(fields)
        until(lambda: stream.reset_code is not None, "a reset")
        assert stream.reset_code == 1
        assert link.answered(link.ask(plain("orders:81", "/secret"), ends=True))[":status"] == "403"
    assert town.backends.connections == before


def test_connect_that_ends_at_once_is_a_tunnel_whose_caller_says_nothing(town: Town) -> None:
    with town.link() as link:
        stream = link.ask({":method": "CONNECT", ":authority": "orders:82"}, ends=True)
        assert link.answered(stream)[":status"] == "200"
        assert read_all(stream.sock) == b""
    until(lambda: not town.proxy.get("/connections"), "all are gone")


@pytest.mark.parametrize("speaks", ["h1", "h2"])
def test_websocket_goes_to_the_service_of_its_authority(speaks: str) -> None:
    backends = Backends()
    with endpoint(speaks, backends) as port, Town() as town:
        town.endpoint = port
        town.put()
        town.become(WEB)
        service = "orders:81" if speaks == "h1" else "orders:80"
        with town.link() as link:
            tunnel = link.open(path="/secret", **{":authority": service})
            assert link.answered(tunnel)[":status"] == "403"
        with town.link() as link:
            tunnel = link.open(path="/orders/chat", **{":authority": service})
            assert link.answered(tunnel)[":status"] == "200"
            with over_client(tunnel.sock) as talk:
                talk.send("hello")
                assert talk.recv(10) == "hello"
                town.become(NOBODY)
                until(lambda: link.is_closed or tunnel.is_over, "it is cut, since its caller is nobody")
    backends.close()
