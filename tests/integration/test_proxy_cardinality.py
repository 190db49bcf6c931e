"""Callers choose methods, paths, hosts, ids and when to leave; none of it makes another series."""

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest
from h2.events import Event, StreamEnded

from tests.support.h2_ends import Caller, Endpoint, Talk
from tests.support.proxy_harness import Backends, Metrics, Proxy, dial, echo, host, one_service, only, until
from tulle.proxy.counters import BOUNDS, CLASSES
from tulle.proxy.grpc import STATUSES
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Protocol

CALLS = 1500
KNOWN: dict[str, set[str]] = {
    "source": {"anonymous"},
    "destination": {"default/orders", "unknown"},
    "version": {"", "v1"},
    "route": {"", "default/orders"},
    "protocol": {"http", "http2", "grpc", "tcp"},
    "grpc_status": set(STATUSES),
    "response_class": set(CLASSES),
    "policy": {"", "default/only"},
    "reason": {reason.code for reason in Reason},
    "cause": {"connect", "stale", "refused", "direct", "limit", "caller-limit", "full", "flood"},
    "workload": {"default/orders-v1"},
    "result": {"accepted", "refused"},
    "le": {str(bound) for bound in BOUNDS} | {"+Inf"},
}
"""Every label but those of `tulle_build_info`, and what it may say in this snapshot."""
WORDS = ("GET", "get", "PROPFIND", "X-%d", "DELETE", "PUT")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        proxy.hand_over("synced", "")
        yield proxy


def hostile(dice: random.Random, number: int) -> bytes:
    """A request of a thousand faces: sound, refused, unsound or not HTTP at all."""
    method = dice.choice(WORDS).replace("%d", str(number))
    target = dice.choice((f"/{number}", f"/{number:x}?q={number}", "/%zz", f"/{'y' * dice.randrange(9)}", "*"))
    name = dice.choice(("orders", f"h{number}.example", f"{number}.{number}.{number}.{number}", "bad host", ""))
    fields = f"x-{number}: {number}\r\nx-request-id: {number}\r\nuser-agent: {number}\r\n"
    whole = f"{method} {target} HTTP/1.{dice.choice('0113')}\r\nhost: {name}\r\n{fields}\r\n".encode()
    return whole[: dice.choice((len(whole), len(whole), len(whole), len(whole) // 2, 3))]


def unknown(metrics: Metrics, port: int) -> list[tuple[str, str]]:
    """Labels that say what they may not. The snapshot's endpoint is at `port`."""
    known = KNOWN | {"port": {str(port)}}
    labelled = [labels for name, labels, _ in metrics.samples if name != "tulle_build_info"]
    seen = {(key, value) for labels in labelled for key, value in labels.items()}
    return [(key, value) for key, value in sorted(seen) if value not in known.get(key, ())]


def test_what_callers_choose_makes_no_series(proxy: Proxy) -> None:
    backends = Backends()
    doors = {proxy.door(): protocol for protocol in (Protocol.HTTP, Protocol.DETECT, Protocol.TCP)}
    closed = proxy.door()  # leads nowhere: nothing is declared behind it
    endpoint = backends.serve(echo)
    proxy.put(one_service(doors, (host(endpoint),), policies=(only("GET", "PUT"),)))
    dice = random.Random(7)

    def call(number: int) -> None:
        with contextlib.suppress(OSError), dial(dice.choice([*doors, closed])) as sock:
            sock.sendall(hostile(dice, number))
            if dice.random() < 0.8:
                sock.shutdown(socket.SHUT_WR)
                sock.recv(65536)

    for number in range(CALLS):
        call(number)
    until(lambda: proxy.get("/status")["connections"] == 0, "all have gone")

    metrics = proxy.metrics()
    assert metrics.sum("tulle_requests_total") > CALLS / 2
    assert metrics.sum("tulle_answers_total", reason="bad-request") > 0
    assert unknown(metrics, endpoint) == []
    backends.close()


def test_what_callers_and_endpoints_say_in_grpc_makes_no_series(proxy: Proxy) -> None:
    backends = Backends()
    dice = random.Random(7)
    said: list[str] = []

    def react(talk: Talk, event: Event) -> None:
        """Ends each call with a status that may be one, or resets it with any code."""
        if not isinstance(event, StreamEnded):
            return
        if dice.random() < 0.3:
            talk.h2.reset_stream(event.stream_id, dice.choice((0, 2, 7, 8, 14, 99, 2**31)))
            return
        said.append(dice.choice(("0", "5", "16", "17", "-1", "007", "5 ", "OK", "9" * 30, "x" * dice.randrange(9))))
        talk.head(event.stream_id, ("content-type", "application/grpc"))
        talk.h2.send_headers(event.stream_id, [("grpc-status", said[-1])], end_stream=True)

    door = proxy.door()
    endpoint = backends.serve(Endpoint(react))
    proxy.put(one_service({door: Protocol.HTTP}, (host(endpoint),)))
    with Caller(door) as caller:
        for number in range(200):
            kind = dice.choice(("application/grpc", f"application/grpc+{number}", "application/grpcx", "text/plain"))
            path = f"/p{number}.S{number}/M{number}"
            caller.end(caller.ask(path, ("content-type", kind), ("x-request-id", f"{number}"), body=b"x"))
    until(lambda: proxy.get("/status")["connections"] == 0, "all have gone")

    metrics = proxy.metrics()
    assert len(set(said)) > 8
    assert metrics.sum("tulle_requests_total", protocol="http2") > 0
    assert metrics.sum("tulle_grpc_responses_total") == metrics.sum("tulle_requests_total", protocol="grpc") > 0
    assert unknown(metrics, endpoint) == []
    backends.close()
