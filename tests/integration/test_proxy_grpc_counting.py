"""Every call is counted once, under the status that its caller got, whenever and however it leaves."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from tests.support.grpc_ends import DEADLINE, Calls, GrpcService
from tests.support.proxy_harness import Proxy, host, one_service, until
from tulle.wire.snapshot import Protocol

CALLS = 20_000
CONNECTIONS = 8
IN_FLIGHT = 50
"""Calls of one connection at once."""


def test_twenty_thousand_calls_a_tenth_cancelled_are_counted_exactly(proxy: Proxy) -> None:
    door = proxy.door()
    share = CALLS // CONNECTIONS

    def call(seed: int) -> Counter[int]:
        """Of one connection; how often it left, and how."""
        dice = random.Random(seed)
        left = Counter[int]()
        with Calls(door) as calls:
            held: list[Any] = []
            for number in range(share):
                if number % 10 == 9:
                    how = dice.randrange(3)
                    cancel(calls, how, b"%d of %d" % (number, seed))
                    left[how] += 1
                else:
                    held.append(calls.echo.future(b"x", timeout=DEADLINE))
                if len(held) > IN_FLIGHT:
                    assert held.pop(0).result() == b"x"
            assert all(one.result() == b"x" for one in held)
        return left

    def cancel(calls: Calls, how: int, name: bytes) -> None:
        """Leaves before the answer, within it, or within request and answer both."""
        if how == 0:
            waiting = calls.wait.future(name)
            until(lambda: name in service.arrived, "the call arrived")
            waiting.cancel()
        elif how == 1:
            stream = calls.drip(name)
            assert next(stream) == name
            stream.cancel()
        else:
            words: SimpleQueue[bytes | None] = SimpleQueue()
            words.put(name)
            chat = calls.chat(iter(words.get, None))
            assert next(chat) == name
            chat.cancel()
            words.put(None)

    with GrpcService() as service:
        proxy.put(one_service({door: Protocol.DETECT}, (host(service.port),)))
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            cancelled = sum(threads.map(call, range(CONNECTIONS)), Counter[int]())
        until(lambda: proxy.get("/status")["connections"] == 0, "every connection is closed")
    assert min(cancelled[how] for how in range(3)) > CALLS / 50
    left = cancelled.total()
    metrics = proxy.metrics()
    assert metrics.sum("tulle_grpc_responses_total", grpc_status="OK") == CALLS - left
    assert metrics.sum("tulle_grpc_responses_total", grpc_status="CANCELLED") == left
    assert metrics.sum("tulle_grpc_responses_total") == CALLS
    assert metrics.sum("tulle_requests_total", protocol="grpc", response_class="2xx") == CALLS - left
    assert metrics.sum("tulle_requests_total", protocol="grpc", response_class="aborted") == left
    assert metrics.sum("tulle_requests_total") == CALLS
    assert metrics.sum("tulle_request_duration_seconds_count", protocol="grpc") == CALLS
    assert metrics.sum("tulle_connections_total", protocol="http2") == CONNECTIONS
    assert metrics.sum("tulle_requests_in_flight") == 0
    assert metrics.sum("tulle_connections_open") == 0
    assert all(one["in_flight"] == 0 for one in proxy.get("/status")["endpoints"])
