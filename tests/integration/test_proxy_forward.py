"""The forward proxy over HTTP/1.1: requests say where to; from there nothing differs from dialling the address."""

import re
import socket
from collections.abc import Iterator

import pytest

from tests.support.forwarding import HTTP, NOBODY, ORDERS, STRANGER, WEB, Town, verdict
from tests.support.framing import REQUESTS, RequestRow
from tests.support.proxy_harness import Client, dial, field, read_all, read_head
from tulle.wire.snapshot import Limits, Mode

ORIGIN = "http://open"
LIMITS = Limits(header_bytes=32_768 + len(ORIGIN), header_count=100, target_bytes=8_192 + len(ORIGIN))
"""Those of the framing table, whose targets are that much longer here."""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Town(limits=LIMITS) as made:
        yield made


@pytest.fixture(autouse=True)
def web(town: Town) -> None:
    town.become(WEB)


def get(uri: str, *fields: str, host: str = "ignored.example") -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"GET {uri} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n".encode()


def test_request_goes_on_in_origin_form_to_the_host_of_its_target(town: Town) -> None:
    with Client(town.port) as client:
        client.send(get("http://Orders:80/orders/1?x=y"))
        status, _, body = client.read()

    assert status == 200
    lines = body.decode().lower().split("\r\n")
    assert lines[0] == "get /orders/1?x=y http/1.1"
    assert [line for line in lines if line.startswith("host:")] == ["host: orders:80"]


def test_what_is_meant_for_the_proxy_does_not_go_on(town: Town) -> None:
    fields = (
        "Proxy-Authorization: Basic eA==",
        "Proxy-Connection: keep-alive",
        "Connection: x-mine",
        "X-Mine: a",
        "X-Other: b",
    )
    with Client(town.port) as client:
        client.send(get("http://orders/orders/1", *fields))
        body = client.read()[2].decode().lower()

    assert "x-other: b" in body
    assert "proxy-" not in body
    assert "x-mine" not in body


def test_requests_of_one_connection_may_go_to_different_services(town: Town) -> None:
    with Client(town.port) as client:
        for _ in range(3):
            for uri, status in (
                ("http://orders/orders/1", 200),
                ("http://open/anything", 200),
                ("http://orders/forbidden", 403),
                ("http://orders.other/", 200),
                ("http://nowhere/", 404),
                ("http://open/anything", 200),
            ):
                client.send(get(uri))
                assert client.read()[0] == status, uri


def test_pipelined_requests_to_different_services_are_answered_in_order(town: Town) -> None:
    with Client(town.port) as client:
        client.send(
            get("http://open/1") + get("http://nowhere/") + get("http://orders/orders/2") + get("http://open/3")
        )
        answers = [client.read() for _ in range(4)]

    assert [status for status, _, _ in answers] == [200, 404, 200, 200]
    assert [body.split(b" ")[1] for status, _, body in answers if status == 200] == [b"/1", b"/orders/2", b"/3"]


@pytest.mark.parametrize("family", ["port", "port6"])
def test_both_families_are_served_and_attested(town: Town, family: str) -> None:
    address = "127.0.0.1" if family == "port" else "::1"
    with socket.create_connection((address, getattr(town, family)), 10) as sock:
        sock.sendall(get("http://orders/orders/1"))
        assert verdict(read_head(sock)[0]) == (200, "")


@pytest.mark.parametrize(
    ("caller", "uri", "answer"),
    [
        (WEB, "http://orders/orders/1", (200, "")),
        (WEB, "http://orders/other", (403, "denied")),
        (STRANGER, "http://orders.default/orders/1", (403, "denied")),
        (STRANGER, "http://orders/", (200, "")),
        (STRANGER, "http://open.default/", (200, "")),
        (NOBODY, "http://orders/orders/1", (403, "denied")),
        (NOBODY, "http://orders.other/", (403, "denied")),
        (NOBODY, "http://open/", (200, "")),
        (NOBODY, "http://nowhere/", (404, "no-service")),
    ],
)
def test_policy_decides_who_is_let_in(town: Town, caller: str, uri: str, answer: tuple[int, str]) -> None:
    town.become(caller)

    assert town.asked(get(uri)) == answer


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        ("GET /orders/1 HTTP/1.1", (400, "origin-form")),
        ("OPTIONS * HTTP/1.1", (400, "origin-form")),
        ("GET https://orders/orders/1 HTTP/1.1", (501, "unsupported")),
        ("GET http://open:82/ HTTP/1.1", (501, "unsupported")),
        ("GET http://orders:82/orders/1 HTTP/1.1", (501, "unsupported")),
        ("GET ftp://orders/orders/1 HTTP/1.1", (501, "unsupported")),
        ("GET orders:80 HTTP/1.1", (400, "bad-request")),
        ("GET http:/orders/ HTTP/1.1", (400, "bad-request")),
        ("GET http:///orders/1 HTTP/1.1", (400, "bad-request")),
        ("GET http://a@open/ HTTP/1.1", (400, "bad-request")),
        ("GET http://open@orders/orders/1 HTTP/1.1", (400, "bad-request")),
        ("GET http://open:80:80/ HTTP/1.1", (400, "bad-request")),
        ("GET http://open:/ HTTP/1.1", (400, "bad-request")),
        ("GET http://open:65536/ HTTP/1.1", (400, "bad-request")),
        ("GET http://open:0/ HTTP/1.1", (404, "no-service")),
        ("GET http://open:-1/ HTTP/1.1", (400, "bad-request")),
        ("GET http://open:9000/ HTTP/1.1", (404, "no-service")),
        ("GET http://open#x/ HTTP/1.1", (400, "bad-request")),
        ("GET http://open\\orders/ HTTP/1.1", (400, "bad-request")),
        ("GET http://op%65n/ HTTP/1.1", (404, "no-service")),
        ("GET http://open.default.svc.cluster.local.evil/ HTTP/1.1", (404, "no-service")),
        ("GET http://default.open/ HTTP/1.1", (404, "no-service")),
        ("GET http://default/open/ HTTP/1.1", (404, "no-service")),
        ("GET http://[::1]/ HTTP/1.1", (404, "no-service")),
        ("GET http://[::ffff:127.80.0.2]/ HTTP/1.1", (404, "no-service")),
        ("GET http://[::1/ HTTP/1.1", (400, "bad-request")),
        ("GET http://127.0.0.1:{port}/ HTTP/1.1", (404, "no-service")),
        ("GET http://localhost:{port}/ HTTP/1.1", (404, "no-service")),
        ("GET http://127.0.0.1:{metrics}/metrics HTTP/1.1", (404, "no-service")),
        ("GET http://127.0.0.1:{endpoint}/ HTTP/1.1", (404, "no-service")),
        ("GET http://127.80.2/ HTTP/1.1", (404, "no-service")),
        ("GET http://0x7f500002/ HTTP/1.1", (404, "no-service")),
        ("GET http://2135949314/ HTTP/1.1", (404, "no-service")),
        ("GET http://127.080.0.2/ HTTP/1.1", (404, "no-service")),
        ("GET http://169.254.169.254/latest/meta-data/ HTTP/1.1", (404, "no-service")),
        ("GET http://example.com/ HTTP/1.1", (404, "no-service")),
        ("CONNECT open HTTP/1.1", (400, "bad-request")),
        ("CONNECT /open:80 HTTP/1.1", (400, "bad-request")),
        ("CONNECT http://open:80/ HTTP/1.1", (400, "bad-request")),
        ("CONNECT a@open:80 HTTP/1.1", (400, "bad-request")),
        ("CONNECT open:0 HTTP/1.1", (404, "no-service")),
        ("CONNECT open:65536 HTTP/1.1", (400, "bad-request")),
        ("CONNECT open:22 HTTP/1.1", (404, "no-service")),
        ("CONNECT [::1]:80 HTTP/1.1", (404, "no-service")),
        ("CONNECT 127.0.0.1:{metrics} HTTP/1.1", (404, "no-service")),
        ("CONNECT 127.0.0.1:{port} HTTP/1.1", (404, "no-service")),
        ("CONNECT localhost:{endpoint} HTTP/1.1", (404, "no-service")),
        ("CONNECT 169.254.169.254:80 HTTP/1.1", (404, "no-service")),
        ("CONNECT example.com:443 HTTP/1.1", (404, "no-service")),
    ],
)
def test_nothing_but_what_is_declared_is_reached(town: Town, request_line: str, answer: tuple[int, str]) -> None:
    before, seen = town.proxy.metrics(), town.backends.connections
    line = request_line.format(port=town.port, metrics=town.proxy.metrics_port, endpoint=town.endpoint)

    assert town.asked(f"{line}\r\nhost: open\r\n\r\n".encode()) == answer

    after = town.proxy.metrics()
    assert after.sum("tulle_answers_total", reason=answer[1]) == before.sum("tulle_answers_total", reason=answer[1]) + 1
    assert town.backends.connections == seen
    assert town.proxy.broker.asked == []


def test_every_name_and_address_of_a_service_is_known_in_any_case(town: Town) -> None:
    for name in (
        "orders", "ORDERS", "orders.", "orders.default", "Orders.Default.", "orders.default.svc", "orders.default.svc.",
        "orders.default.svc.cluster.local", "orders.DEFAULT.svc.cluster.LOCAL.", ORDERS,
    ):  # fmt: skip
        assert town.asked(get(f"http://{name}/orders/1")) == (200, ""), name
        assert town.asked(get(f"HTTP://{name}:{HTTP}/orders/1")) == (200, ""), name


def test_options_without_a_path_asks_about_the_server(town: Town) -> None:
    with Client(town.port) as client:
        client.send(b"OPTIONS http://open HTTP/1.1\r\nhost: open\r\n\r\n")
        assert client.read()[2].startswith(b"OPTIONS * HTTP/1.1\r\n")


def test_body_goes_along(town: Town) -> None:
    with Client(town.port) as client:
        client.send(b"POST http://orders/orders/ HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
        assert client.read()[2].endswith(b"\r\n\r\nhello")
        client.send(b"POST http://open/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert b"abc" in client.read()[2]


def test_client_of_http_1_0_needs_no_host(town: Town) -> None:
    with dial(town.port) as sock:
        sock.sendall(b"GET http://open/ HTTP/1.0\r\n\r\n")
        answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"host: open\r\n" in answer


@pytest.mark.parametrize("hosts", ["", "host: a\r\nhost: a\r\n", "host: a b\r\n", "host: a@b\r\n"])
def test_host_is_ignored_but_must_be_there_once_and_sound(town: Town, hosts: str) -> None:
    assert town.asked(f"GET http://open/ HTTP/1.1\r\n{hosts}\r\n".encode()) == (400, "bad-request")


def test_loop_ends_at_its_first_turn(town: Town) -> None:
    """What goes on is in origin form: even an endpoint that is the proxy itself answers it with a refusal."""
    endpoint, town.endpoint = town.endpoint, town.port
    town.put()
    try:
        assert town.asked(get("http://open/")) == (400, "origin-form")
    finally:
        town.endpoint = endpoint
        town.put()


def test_heads_that_repeat_are_judged_anew_with_each_snapshot_and_service(town: Town) -> None:
    with Client(town.port) as client:
        for _ in range(2):
            for _ in range(4):
                client.send(get("http://orders/orders/1"))
                assert client.read()[0] == 200
            client.send(get("/orders/1"))
            assert verdict(client.read()[1]) == (400, "origin-form")
            break
    with Client(town.port) as client:
        for _ in range(4):
            client.send(get("http://orders/elsewhere"))
            assert client.read()[0] == 403
        town.put(Mode.SHADOW)
        try:
            client.send(get("http://orders/elsewhere"))
            assert client.read()[0] == 200
        finally:
            town.put()
        client.send(get("http://orders/elsewhere"))
        assert client.read()[0] == 403


def test_requests_are_counted_and_told_with_source_and_destination(town: Town) -> None:
    town.put()
    before = town.proxy.metrics()
    with Client(town.port) as client:
        for uri in ("http://orders/orders/1", "http://orders/orders/1", "http://orders/x", "http://nowhere/"):
            client.send(get(uri))
            client.read()
        assert [one["destination"] for one in town.proxy.get("/connections")] == ["forward-proxy"]
        assert [one["source"] for one in town.proxy.get("/connections")] == [WEB]
    after = town.proxy.metrics()

    def more(family: str, **labels: str) -> float:
        return after.sum(family, **labels) - before.sum(family, **labels)

    assert more("tulle_requests_total", source=WEB, destination="default/orders", response_class="2xx") == 2
    assert more("tulle_requests_total", source=WEB, destination="default/orders", response_class="4xx") == 1
    assert more("tulle_requests_total", source=WEB, destination="unknown", response_class="4xx") == 1
    assert more("tulle_answers_total", source=WEB, destination="default/orders", reason="denied") == 1
    refusal = town.proxy.get("/refusals")[-1]
    assert (refusal["source"], refusal["destination"], refusal["host"]) == (WEB, "unknown", "nowhere")


def test_limit_of_connections_holds_for_each_caller() -> None:
    with Town(limits=Limits(connections_per_caller=2)) as town:
        town.become(WEB)
        with Client(town.port) as first, Client(town.port) as second, dial(town.port) as third:
            for client in (first, second):
                client.send(get("http://orders/orders/1"))
                assert client.read()[0] == 200
            assert read_all(third) == b""
        assert town.proxy.metrics().sum("tulle_connections_refused_total", source=WEB, cause="caller-limit") == 1


def test_caller_that_is_detached_is_cut_off(town: Town) -> None:
    with Client(town.port) as client:
        client.send(get("http://orders/orders/1"))
        assert client.read()[0] == 200
        town.become(NOBODY)
        assert client.is_closed()


NAMES_A_HOST = re.compile(rb"CONNECT|://|OPTIONS \*", re.IGNORECASE)
FRAMED = [row for row in REQUESTS if not NAMES_A_HOST.search(row.wire) and row.name != "preface of HTTP/2"]
"""The rows of the table that are not about the form of the target."""
TARGET = re.compile(rb"(?:^|(?<=\r\n\r\n))((?:\r\n)?[^ \r\n]+) /")


@pytest.mark.parametrize("row", FRAMED, ids=lambda row: row.name)
def test_framing_is_as_strict_as_at_a_service(town: Town, row: RequestRow) -> None:
    wire = TARGET.sub(rb"\1 %b/" % ORIGIN.encode(), row.wire)
    with Client(town.port) as client:
        client.send(wire)
        assert tuple(client.read()[0] for _ in row.answers) == row.answers
        if row.answers[-1] != 200:
            assert client.is_closed()


def test_interim_answer_to_expect_comes_from_the_service(town: Town) -> None:
    with Client(town.port) as client:
        client.send(b"POST http://open/ HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\nx")
        status, head, _ = client.read()
        assert status == 200
        assert field(head, "x-tulle-reason") is None
