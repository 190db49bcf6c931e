"""Of a generation that is no longer in force nothing stays for the sake of callers who may ask again."""

import gc
import select
import socket
from collections import deque

import pytest

from tests.support.proxy_harness import host, one_service
from tests.support.relay_bench import DOOR, Arrive, Bench
from tulle.core.backends import EndpointRef
from tulle.core.tables import Tables, build_tables
from tulle.http.h2.frames import PREFACE
from tulle.wire.snapshot import Protocol

NO_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
REQUEST = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def ask(bench: Bench, caller: socket.socket, far: list[socket.socket]) -> None:
    """More than once, so that the head is remembered."""
    for _ in range(3):
        caller.sendall(REQUEST)
        bench.until(lambda: bool(far) and is_readable(far[0]))
        assert far[0].recv(4096).endswith(b"\r\n\r\n")
        far[0].sendall(ANSWER)
        bench.until(lambda: is_readable(caller))
        assert caller.recv(4096).endswith(b"hi")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n", REQUEST, PREFACE + NO_SETTINGS])
def test_who_waits_for_a_caller_keeps_no_generation(said: bytes) -> None:
    far: list[socket.socket] = []

    def dial(endpoint: EndpointRef, arrive: Arrive) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        far.append(theirs)
        arrive(ours)

    bench = Bench(Protocol.HTTP, dial)
    with bench.caller() as caller:
        if said == REQUEST:
            ask(bench, caller, far)
        elif said:
            caller.sendall(said)
            bench.dispatcher.turn(bench.dispatcher.epoll.poll(1.0))
        gc.collect()
        before = tables_alive()
        snapshot = one_service({DOOR: Protocol.HTTP}, (host(1),), generation=2)
        bench.relay.adopt(build_tables(snapshot, bench.relay.tables))
        bench.register.judge_again()
        deque(bench.register.renewing(), maxlen=0)
        assert tables_alive() == before
        if said == REQUEST:
            ask(bench, caller, far)
    for one in far:
        one.close()
    bench.until(lambda: not bench.register.connections and not bench.relay.counters.upstreams)
    bench.dispatcher.turn([])


def tables_alive() -> int:
    return sum(isinstance(one, Tables) for one in gc.get_objects())


def is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
