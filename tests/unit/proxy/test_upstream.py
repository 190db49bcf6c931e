"""A kept connection that ends between the turn's look and the request: nothing of it was sent, so any request goes elsewhere."""

import socket

import pytest

from tests.support.relay_bench import Arrive, Bench
from tulle.core.backends import EndpointRef
from tulle.proxy.upstream import Pools
from tulle.wire.snapshot import Protocol

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
REQUESTS = {
    "GET": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
    "half a POST": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo",
}


class Endpoint:
    """The far ends of what the relay dialled, in order."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []

    def dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        self.ends.append(theirs)
        arrive(ours)

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.mark.parametrize("request_octets", REQUESTS.values(), ids=REQUESTS)
def test_an_end_after_the_turns_look_costs_no_request(request_octets: bytes) -> None:
    endpoint = Endpoint()
    bench = Bench(Protocol.HTTP, endpoint.dial)
    dispatcher = bench.dispatcher
    with bench.caller() as caller:
        caller.sendall(REQUESTS["GET"])
        bench.until(lambda: bool(endpoint.ends))
        endpoint.ends[0].sendall(OK + b"1.")
        bench.until(lambda: not bench.relay.counters.in_flight)
        assert caller.recv(65536).endswith(b"1.")

        caller.sendall(request_octets)
        seen = dispatcher.epoll.poll(1.0, 256)
        endpoint.ends[0].close()
        dispatcher.turn(seen)

        assert len(endpoint.ends) == 2
        assert endpoint.ends[1].recv(65536).endswith(request_octets.partition(b"\r\n\r\n")[2])
        caller.sendall(b"" if request_octets in (REQUESTS["GET"], REQUESTS["POST"]) else b"dy")
        endpoint.ends[1].sendall(OK + b"2.")
        bench.until(lambda: not bench.relay.counters.in_flight)
        assert caller.recv(65536).endswith(b"2.")
    bench.until(lambda: not bench.register.connections)
    endpoint.close()
    bench.until(lambda: not bench.relay.counters.upstreams)
    assert bench.relay.counters.retries == {}
    assert bench.endpoints_in_flight() == 0
    assert dispatcher.defects == 0


def test_a_connection_to_an_endpoint_that_is_gone_meanwhile_is_not_kept() -> None:
    endpoint = Endpoint()
    arrivals: list[Arrive] = []
    bench = Bench(Protocol.HTTP, lambda _, arrive: arrivals.append(arrive))
    with bench.caller() as caller:
        caller.sendall(REQUESTS["GET"])
        bench.until(lambda: bool(arrivals))
        pools = bench.relay.connector
        assert isinstance(pools, Pools)
        pools.keep_only(set())
        endpoint.dial(EndpointRef("", "", "", 1), arrivals[0])
        assert endpoint.ends[0].recv(65536).endswith(b"\r\n\r\n")
        endpoint.ends[0].sendall(OK + b"1.")
        bench.until(lambda: not bench.relay.counters.in_flight)
        assert caller.recv(65536).endswith(b"1.")
        assert not bench.relay.counters.upstreams
        assert endpoint.ends[0].recv(1) == b""
    bench.until(lambda: not bench.register.connections)
    endpoint.close()
