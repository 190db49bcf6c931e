"""What is over goes by itself: the cyclic collector, which stops everything, finds nothing of a connection that has closed."""

import gc
import socket

from tests.support.relay_bench import Bench
from tulle.core.backends import EndpointRef
from tulle.kit.collector import count_as_old
from tulle.proxy.wire import Wire
from tulle.wire.snapshot import Protocol

REQUEST = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_closed_connection_leaves_no_cycle() -> None:
    endpoints: list[socket.socket] = []

    def dial(endpoint: EndpointRef, arrive: object) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        endpoints.append(theirs)
        assert callable(arrive)
        arrive(ours)

    bench = Bench(Protocol.HTTP, dial)

    def serve_one_caller() -> None:
        caller = bench.caller()
        caller.sendall(REQUEST)
        if not endpoints:
            bench.until(lambda: bool(endpoints))
        bench.until(lambda: bench.endpoints_in_flight() == 1)
        assert endpoints[0].recv(4096).endswith(b"\r\n\r\n")
        endpoints[0].sendall(ANSWER)
        bench.until(lambda: bench.endpoints_in_flight() == 0)
        assert caller.recv(4096).endswith(b"hi")
        caller.close()
        bench.until(lambda: not bench.register.connections)

    serve_one_caller()
    gc.collect()
    gc.disable()
    try:
        serve_one_caller()
        assert not [one for one in gc.get_objects() if isinstance(one, Wire) and not one.is_open]
    finally:
        gc.enable()
        endpoints[0].close()
    bench.until(lambda: not bench.relay.counters.upstreams)


def test_what_counts_as_old_is_not_walked_by_young_collections() -> None:
    gc.collect()
    made: list[object] = [[] for _ in range(100)]
    count_as_old()
    assert gc.get_freeze_count() == 0
    young = {id(one) for generation in (0, 1) for one in gc.get_objects(generation)}
    assert not young & {id(one) for one in made}
