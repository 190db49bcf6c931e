"""`/tap` under a reader that is slow and under too many: traffic goes on, what is missing is counted and said."""

import json
from contextlib import ExitStack

from tests.support.proxy_harness import (
    Backends,
    Client,
    Proxy,
    echo,
    host,
    one_service,
    only,
    until,
)
from tests.support.tapping import tapping
from tulle.proxy.tap import MAX_LISTENERS, QUEUE
from tulle.wire.snapshot import Protocol

LONG_PATH = "/" + "p" * 1000
DROPPED = "tulle_tap_dropped_total"


def test_a_slow_reader_costs_nobody_a_request_and_learns_how_many_it_missed(proxy: Proxy, backends: Backends) -> None:
    door = proxy.door()
    proxy.put(one_service({door: Protocol.HTTP}, (host(backends.serve(echo)),), policies=(only("GET"),)))
    asked = 0
    with tapping(proxy) as tap, Client(door) as client:
        while not proxy.metrics().sum(DROPPED):
            for _ in range(100):
                client.send(f"DELETE {LONG_PATH} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
                assert client.read()[0] == 403
            asked += 100
            assert asked < 20 * QUEUE, "nothing is bounded"
        missed = int(proxy.metrics().sum(DROPPED))
        tap.told(asked - missed)
        client.send(b"DELETE /last HTTP/1.1\r\nhost: a\r\n\r\n")
        client.read()
        while b'"/last"' not in tap.read or not tap.read.endswith(b"}\n\r\n"):
            tap.more()

    *before, dropped, last = tap.documents()
    assert len(before) == asked - missed >= QUEUE - 1
    assert {one["path"] for one in before} == {LONG_PATH}
    assert dropped == {"dropped": missed}
    assert last["path"] == "/last"


def test_one_listener_too_many_is_told_so_until_another_leaves(proxy: Proxy) -> None:
    with ExitStack() as most:
        for _ in range(MAX_LISTENERS - 1):
            most.enter_context(tapping(proxy))
        with tapping(proxy) as tap:
            assert tap.head.startswith(b"HTTP/1.1 200 ")
            status, body = proxy.ask("GET", "/tap")
            assert (status, json.loads(body)) == (503, {"error": "8 listen already; end one of them first"})

        def has_room() -> bool:
            with tapping(proxy) as tap:
                return tap.head.startswith(b"HTTP/1.1 200 ")

        until(has_room, "a listener's place is free again")
