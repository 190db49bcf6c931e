"""Every request is counted once, in the right class; what Prometheus reads is sound."""

import random
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import msgspec

from tests.support.programs import needs
from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    backend_process,
    dial,
    echo,
    host,
    one_service,
    until,
)
from tools.binomial import is_kept
from tulle.wire.snapshot import Backend, Protocol, Route, WeightedBackend

REQUESTS = 50_000
CONNECTIONS = 64
GET = b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n"

ABORTS = (
    b"GET / HTTP/1.1\r\nhost: or",
    b"POST / HTTP/1.1\r\nhost: orders\r\ncontent-length: 1000\r\n\r\n" + bytes(500),
    b"GET /hold HTTP/1.1\r\nhost: orders\r\n\r\n",
    b"GET /half HTTP/1.1\r\nhost: orders\r\n\r\n",
)
"""Where a client leaves: in the head, in the body, before the answer, within it."""


def test_fifty_thousand_requests_a_tenth_aborted_are_counted_exactly(proxy: Proxy) -> None:
    door = proxy.door()

    def call(seed: int, share: int) -> None:
        dice = random.Random(seed)
        client = Client(door)
        for number in range(share):
            if number % 10 != 9:
                client.send(GET)
                assert client.read()[0] == 200
                continue
            how = dice.randrange(len(ABORTS))
            client.send(ABORTS[how])
            if how == 3:
                assert client.sock.recv(10)
            if dice.random() < 0.5:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sock.close()
            client = Client(door)
        client.sock.close()

    with backend_process("v1") as port:
        proxy.put(one_service({door: Protocol.HTTP}, (host(port),)))
        shares = [REQUESTS // CONNECTIONS + (seed < REQUESTS % CONNECTIONS) for seed in range(CONNECTIONS)]
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            list(threads.map(call, range(CONNECTIONS), shares))
        until(lambda: proxy.get("/status")["connections"] == 0, "every connection is closed")
    aborted = sum(share // 10 for share in shares)
    metrics = proxy.metrics()
    assert metrics.sum("tulle_requests_total", response_class="2xx") == REQUESTS - aborted
    assert metrics.sum("tulle_requests_total", response_class="aborted") == aborted
    assert metrics.sum("tulle_requests_total") == REQUESTS
    assert metrics.sum("tulle_request_duration_seconds_count") == REQUESTS
    assert metrics.sum("tulle_request_duration_seconds_bucket", le="+Inf") == REQUESTS
    assert metrics.sum("tulle_requests_in_flight") == 0
    assert metrics.sum("tulle_connections_open") == 0
    assert all(one["in_flight"] == 0 for one in proxy.get("/status")["endpoints"])


def test_a_split_of_99_to_1_is_kept(proxy: Proxy) -> None:
    door = proxy.door()
    total = 20_000
    with backend_process("v1") as first, backend_process("v2") as second:
        other = Backend(
            name="default/orders-v2:9000",
            service="default/orders",
            version="v2",
            endpoints=(host(second, "default/v2"),),
        )
        shares = (
            WeightedBackend(backend="default/orders:9000", weight=99),
            WeightedBackend(backend=other.name, weight=1),
        )
        route = Route(name="default/orders", backends=shares)
        proxy.put(one_service({door: Protocol.HTTP}, (host(first),), routes=(route,), backends=(other,)))
        with Client(door) as client:

            def seen() -> int:
                """Those of so many requests that v2 answered."""
                before = proxy.metrics().sum("tulle_requests_total", version="v2")
                for _ in range(total // 100):
                    client.send(GET * 100)
                    assert all(client.read()[0] == 200 for _ in range(100))
                return int(proxy.metrics().sum("tulle_requests_total", version="v2") - before)

            assert is_kept(seen, total, 0.01)


@needs("promtool")
def test_the_exposition_passes_promtool(proxy: Proxy) -> None:
    backends = Backends()
    door, opaque = proxy.door(), proxy.door()
    endpoints = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP, opaque: Protocol.TCP}, endpoints))
    with Client(door) as client, dial(opaque) as sock:
        client.get()
        client.send(b"GET / HTTP/1.0\r\nnot a head\r\n\r\n")
        client.read()
        sock.sendall(GET)
        sock.recv(1)
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "all are closed")
    with socket.create_connection(("127.0.0.1", proxy.metrics_port)) as scrape:
        scrape.sendall(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: scrape.recv(65536), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    assert b"content-type: text/plain; version=0.0.4" in head.lower()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    backends.close()


def test_series_of_a_pair_that_left_the_snapshot_disappear(proxy: Proxy) -> None:
    backends = Backends()
    door = proxy.door()
    endpoints = (host(backends.serve(echo)),)
    proxy.put(one_service({door: Protocol.HTTP}, endpoints))
    with Client(door) as client:
        client.get()
    until(lambda: proxy.metrics().sum("tulle_connections_open") == 0, "it is closed")
    assert "default/orders" in proxy.metrics().text
    snapshot = one_service({}, endpoints, generation=2)
    proxy.put(msgspec.structs.replace(snapshot, services=(), backends=()))
    assert "default/orders" not in proxy.metrics().text
    backends.close()
