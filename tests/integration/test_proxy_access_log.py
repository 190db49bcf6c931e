"""The access log of a real proxy, read from the pipe that the supervisor would read."""

import contextlib
import json
import os
import re
import signal
import socket

import pytest

from tests.support.grpc_ends import Calls, GrpcService, fails
from tests.support.h2_ends import Caller
from tests.support.proxy_harness import (
    ALLOW_ALL,
    DEADLINE,
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
    requests,
    until,
)
from tests.support.ws_ends import caller, endpoint
from tulle.proxy.access_log import MAX_LINE
from tulle.proxy.log_floods import FLOOD_LINES
from tulle.wire.snapshot import AccessLog, Mode, Policy, Protocol, Tracing

ALL = AccessLog(sample=1.0)
NONE = AccessLog(sample=0.0)
TRACE = "0af7651916cd43dd8448eb211c80319c"
DROPPED = "tulle_access_log_dropped_total"


def opened(
    proxy: Proxy,
    port: int,
    log: AccessLog,
    *,
    protocol: Protocol = Protocol.HTTP,
    policy: Policy = ALLOW_ALL,
    mode: Mode = Mode.ENFORCE,
    others: tuple[int, ...] = (),
    tracing: Tracing | None = None,
) -> int:
    """A door to what listens at `port`, or at one of `others`."""
    door = proxy.door()
    made = one_service(
        {door: protocol}, tuple(host(one) for one in (*others, port)), policies=(policy,), mode=mode, speaks=protocol
    )
    given = {name: getattr(made, name) for name in made.__struct_fields__}
    proxy.put(type(made)(**given | {"access_log": log, "tracing": tracing or Tracing()}))
    return door


def line(proxy: Proxy, number: int = 1) -> dict[str, object]:
    """The last of so many lines, without its time."""
    until(lambda: len(proxy.access_log()) >= number, "a line")
    found = proxy.access_log()
    assert len(found) == number, found
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found[-1].pop("time"))
    return found[-1]


def test_a_request_is_told_with_all_that_belongs_to_it(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), ALL, policy=only("POST"))

    with Client(door) as client:
        body = b"x" * 10
        client.send(
            b"POST /a/b?secret=1 HTTP/1.1\r\nhost: Shop:80\r\ncontent-length: 10\r\nx-request-id: mine\r\n"
            b"traceparent: 00-" + TRACE.encode() + b"-b7ad6b7169203331-01\r\n\r\n" + body
        )
        _, head, answer = client.read()

    told = line(proxy)
    assert isinstance(told.pop("duration_ms"), float)
    assert head
    assert told == {
        "source": "anonymous", "destination": "default/orders", "version": "v1", "protocol": "http", "method": "POST",
        "host": "shop", "path": "/a/b", "status": 200, "class": "2xx", "policy": "default/only", "bytes_in": 10,
        "bytes_out": len(answer), "request_id": "mine", "trace_id": TRACE,
        "endpoint": told["endpoint"],
    }  # fmt: skip
    assert re.fullmatch(r"default/orders-v1:\d+", str(told["endpoint"]))


def test_the_query_is_told_where_that_is_asked_for(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), AccessLog(sample=1.0, query=True))

    with Client(door) as client:
        client.get("/a?b=c")

    assert line(proxy)["path"] == "/a?b=c"


def test_refusals_and_errors_are_told_whatever_is_sampled(proxy: Proxy, backends: Backends) -> None:
    def fails_at_bad(sock: socket.socket) -> None:
        for head, _ in requests(sock):
            sock.sendall(ok(b"") if b"/good" in head else b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")

    door = opened(proxy, backends.serve(fails_at_bad), NONE, policy=only("GET"))
    with Client(door) as client:
        for _ in range(300):
            assert client.get("/good")[0] == 200
        assert client.get("/bad")[0] == 503
        assert line(proxy, 1)["class"] == "5xx"

        client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n")
        _, head, _ = client.read()
        told = line(proxy, 2)
        assert (told["reason"], told["status"], told["class"]) == ("denied", 403, "4xx")
        assert told["request_id"] == field(head, "x-request-id")
        assert str(told["trace_id"]).startswith(str(told["request_id"]))

        client.send(b"what is this\r\n\r\n")
        _, head, _ = client.read()
        told = line(proxy, 3)
        assert (told["reason"], told["request_id"]) == ("bad-request", field(head, "x-request-id"))
        assert "path" not in told


def test_of_what_went_well_a_share_is_told(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), AccessLog(sample=0.1))
    with Client(door) as client:
        for number in range(400):
            assert client.get(f"/{number}")[0] == 200

    until(lambda: proxy.metrics().sum("tulle_requests_total") == 400, "all are counted")
    assert 1 <= len(proxy.access_log()) <= 90  # 40 expected, within eight times the standard deviation of 6


def test_another_attempt_is_told_with_where_it_ended(proxy: Proxy, backends: Backends) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = int(gone.getsockname()[1])
    good = backends.serve(echo)
    door = opened(proxy, good, ALL, others=(closed,))

    seen = set()
    with Client(door) as client:
        for number in range(1, 200):
            assert client.get()[0] == 200
            told = line(proxy, number)
            assert told["endpoint"] == f"default/orders-v1:{good}"
            seen.add(told.get("retries", 0))
            if seen == {0, 1}:
                break
    assert seen == {0, 1}


@pytest.mark.parametrize("speaks", ["h1", "h2"])
def test_a_websocket_is_told_when_it_has_ended(proxy: Proxy, backends: Backends, speaks: str) -> None:
    with endpoint(speaks, backends) as port:
        door = opened(proxy, port, ALL, protocol=Protocol.HTTP if speaks == "h1" else Protocol.HTTP2)
        with caller(speaks, door) as one:
            one.talk.send("hello")
            assert one.talk.recv() == "hello"
            assert proxy.access_log() == []
            one.talk.close(1000)

        told = line(proxy)

    assert (told["protocol"], told["class"], told["close"], told["closed_by"]) == (
        "websocket",
        "closed",
        "1000",
        "caller",
    )
    assert told["trace_id"]
    assert told["path"] == "/chat"


def test_a_grpc_call_is_told_with_its_status(proxy: Proxy) -> None:
    with GrpcService() as service:
        door = opened(proxy, service.port, NONE, protocol=Protocol.HTTP2, policy=only(paths=("/shop.Orders/Fail",)))
        with Calls(door) as calls, fails("PERMISSION_DENIED"):
            calls.unary("/shop.Orders/Echo")(b"x")

    told = line(proxy)
    assert (told["protocol"], told["grpc_status"], told["reason"], told["path"]) == (
        "grpc", "PERMISSION_DENIED", "denied", "/shop.Orders/Echo",
    )  # fmt: skip
    assert told["trace_id"]


def test_an_opaque_connection_is_told_when_it_has_ended(proxy: Proxy, backends: Backends) -> None:
    def repeat(sock: socket.socket) -> None:
        while octets := sock.recv(65536):
            sock.sendall(octets)

    door = opened(proxy, backends.serve(repeat), ALL, protocol=Protocol.TCP)
    with dial(door) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""

    told = line(proxy)
    assert (told["protocol"], told["class"], told["bytes_in"], told["bytes_out"]) == ("tcp", "closed", 5, 5)
    assert told["endpoint"]


def test_a_denied_connection_is_told(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), NONE, protocol=Protocol.TCP, policy=only("GET"))
    with contextlib.suppress(ConnectionResetError), dial(door) as sock:  # the reset may come before `connect` returns
        read_all(sock)

    told = line(proxy)
    assert (told["protocol"], told["class"], told["reason"]) == ("tcp", "reset", "denied")


def test_what_shadow_mode_lets_through_is_told_as_what_it_would_be(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), NONE, policy=only("PUT"), mode=Mode.SHADOW)

    with Client(door) as client:
        assert client.get()[0] == 200

    told = line(proxy)
    assert (told["status"], told["shadow"]) == (200, "denied")
    assert "reason" not in told


def test_nothing_is_told_where_no_log_is_kept(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), AccessLog(enabled=False, sample=1.0), policy=only("GET"))

    with Client(door) as client:
        client.get()
        client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n")
        client.read()

    until(lambda: proxy.metrics().sum("tulle_requests_total") == 2, "both are counted")
    assert proxy.access_log() == []


def test_a_flood_of_denials_is_a_hundred_lines_and_a_count(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), NONE, policy=only("GET"))
    total, batch = 50_000, 500
    with Client(door) as client:
        for _ in range(total // batch):
            client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n" * batch)
            for _ in range(batch):
                assert client.read()[0] == 403
            proxy.access_log()  # on a slow box the pipe does not hold the lines of all that time
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.wait(DEADLINE)

    lines = proxy.access_log()

    told = [one for one in lines if "left_out" not in one]
    counts = [one for one in lines if "left_out" in one]
    assert len(told) + sum(one["left_out"] for one in counts) == total
    assert len(told) <= FLOOD_LINES * len(counts)
    assert all((one["source"], one["reason"]) == ("anonymous", "denied") for one in lines)


def test_a_flood_costs_another_pair_no_line(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), NONE, policy=only("GET"))
    with Client(door) as client:
        for _ in range(2 * FLOOD_LINES):
            client.send(b"DELETE / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert client.read()[0] == 403
        client.send(b"no request\r\n\r\n")
        assert client.read()[0] == 400

    assert line(proxy, FLOOD_LINES + 1)["reason"] == "bad-request"
    assert proxy.metrics().sum(DROPPED, cause="flood") == FLOOD_LINES


def test_a_reader_that_stands_still_costs_lines_and_no_request(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), ALL)
    asked = 0
    with Client(door) as client:
        while not proxy.metrics().sum(DROPPED, cause="full"):
            for _ in range(100):
                assert client.get("/" + "p" * 1_000)[0] == 200
            asked += 100
            assert asked < 5_000, "nothing is bounded"
        until(lambda: proxy.metrics().sum("tulle_requests_total") == asked, "all are counted")
        missed = int(proxy.metrics().sum(DROPPED, cause="full"))
        assert len(proxy.access_log()) + missed == asked

        assert client.get("/last")[0] == 200
        until(lambda: proxy.access_log()[-1].get("path") == "/last", "the last line")

    [gap] = [one for one in proxy.access_log() if "dropped" in one]
    assert gap["dropped"] == missed


def test_no_octet_of_a_caller_breaks_a_line(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), NONE, policy=only("PUT"))
    nasty = bytes(octet for octet in range(0x21, 256) if octet != 0x7F)
    path = b"/" + bytes(octet for octet in nasty if octet < 0x7F and octet not in b"#?%;") * 100
    with Client(door) as client:
        client.send(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\nx-request-id: " + nasty * 20 + b"\r\n\r\n")
        assert client.read()[0] == 403
    with Caller(door) as h2:
        h2.end(h2.ask('/"}\\n{"', ("x-request-id", '\\"\u00ff"}')))

    until(lambda: len(proxy.access_log()) == 2, "two lines")
    raw = proxy.logged
    assert all(len(one) <= MAX_LINE for one in raw.splitlines(keepends=True))
    assert raw.replace(b"\n", b"").decode("ascii").isprintable()
    first, second = map(json.loads, raw.splitlines())
    assert path.decode().startswith(first["path"])
    assert len(first["path"]) == 1_024
    assert nasty.decode("latin-1").startswith(first["request_id"])
    assert second["path"] == '/"}\\n{"'


def test_a_trace_is_sampled_as_often_as_is_said(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), NONE, tracing=Tracing(sample=0.5))
    with Client(door) as client:
        flags = [str(field(client.get()[2], "traceparent"))[-2:] for _ in range(400)]

    assert set(flags) == {"00", "01"}
    assert 120 <= flags.count("01") <= 280


def test_no_trace_begins_where_that_is_not_wanted(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), ALL, tracing=Tracing(create=False))
    valid = f"00-{TRACE}-b7ad6b7169203331-01"
    with Client(door) as client:
        assert field(client.get()[2], "traceparent") is None
        assert "trace_id" not in line(proxy, 1)
        _, _, bad = client.get("/", "traceparent: 00-what", "tracestate: a=1")
        assert field(bad, "traceparent") is None
        assert field(bad, "tracestate") is None
        assert field(client.get("/", f"traceparent: {valid}")[2], "traceparent") == valid


def test_the_log_goes_on_when_its_reader_is_gone(proxy: Proxy, backends: Backends) -> None:
    door = opened(proxy, backends.serve(echo), ALL)
    os.close(proxy.give_up_log())

    with Client(door) as client:
        assert client.get()[0] == 200
        assert client.get()[0] == 200

    until(lambda: proxy.metrics().sum(DROPPED, cause="full") == 2, "both lines are dropped")
