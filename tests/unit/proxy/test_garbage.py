"""What is over goes by itself: the cyclic collector, which stops everything, finds nothing of a connection that has closed."""

import gc
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.relay_bench import Arrive, Bench
from tulle.core.backends import EndpointRef
from tulle.kit.collector import count_as_old
from tulle.proxy.arrival import Connection
from tulle.proxy.exchange import Exchange
from tulle.proxy.tcp import OpaqueEnd, Tunnel
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.upgraded import UpgradedCaller
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Protocol

REQUEST = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ASKS = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: chatter\r\n\r\n"
AGREES = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chatter\r\n\r\n"
PIECE = bytes(1 << 16)

Way = Callable[[Bench, socket.socket, socket.socket], None]
"""How a connection goes on and ends: by a relay, its caller and its endpoint."""


def serve(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    caller.sendall(REQUEST)
    hear(bench, far)
    far.sendall(ANSWER)
    assert hear(bench, caller).endswith(b"hi")
    caller.close()
    bench.until(lambda: not bench.register.connections)
    far.close()


def decline(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    caller.sendall(ASKS)
    hear(bench, far)
    far.sendall(ANSWER)
    assert hear(bench, caller).endswith(b"hi")
    caller.close()
    far.close()


def agree(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    caller.sendall(ASKS)
    hear(bench, far)
    far.sendall(AGREES)
    hear(bench, caller)
    caller.close()
    assert hear(bench, far) == b""
    far.close()


def agree_and_break(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    caller.sendall(ASKS)
    hear(bench, far)
    far.sendall(AGREES)
    hear(bench, caller)
    bench.register.cut(Reason.DRAINING)
    bench.dispatcher.turn([])
    far.close()


def shut(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    caller.sendall(b"hello")
    assert hear(bench, far) == b"hello"
    caller.close()
    assert hear(bench, far) == b""
    far.close()


def break_(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    caller.sendall(b"unread")
    bench.until(lambda: is_readable(far))
    far.close()  # which is a reset, since something is unread
    bench.until(lambda: not bench.register.connections)
    caller.close()


def read_late(bench: Bench, caller: socket.socket, far: socket.socket) -> None:
    """Both halves are shut while much of one is still on its way."""
    caller.shutdown(socket.SHUT_WR)
    assert hear(bench, far) == b""
    sent = 0
    while not bench.dispatcher.held:
        far.sendall(PIECE)
        sent += len(PIECE)
        bench.dispatcher.turn(bench.dispatcher.epoll.poll(0))
    far.close()
    while sent:
        sent -= len(hear(bench, caller))
    caller.close()


WAYS: dict[Way, Protocol] = {
    serve: Protocol.HTTP,
    decline: Protocol.HTTP,
    agree: Protocol.HTTP,
    agree_and_break: Protocol.HTTP,
    shut: Protocol.TCP,
    break_: Protocol.TCP,
    read_late: Protocol.TCP,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_closed_connection_leaves_nothing_to_the_collector(way: Way, no_collector: None) -> None:
    ends: list[socket.socket] = []

    def dial(endpoint: EndpointRef, arrive: Arrive) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        ends.append(theirs)
        arrive(ours)

    bench = Bench(WAYS[way], dial)
    with bench.caller() as caller:
        if WAYS[way] is Protocol.HTTP:
            caller.sendall(REQUEST)
        bench.until(lambda: bool(ends))
        with ends[0] as far:
            if WAYS[way] is Protocol.HTTP:
                hear(bench, far)
                far.sendall(ANSWER)
                hear(bench, caller)
            way(bench, caller, far)
    bench.until(lambda: not bench.register.connections and not bench.relay.counters.upstreams)
    assert of_connections() == []


def of_connections() -> list[str]:
    """All there is of what connections are made of."""
    kinds = (Wire, Connection, Tunnel, OpaqueEnd, Exchange, Upgrade, UpgradedCaller)
    return [type(one).__name__ for one in gc.get_objects() if isinstance(one, kinds)]


def hear(bench: Bench, sock: socket.socket) -> bytes:
    """What comes first."""
    bench.until(lambda: is_readable(sock))
    return sock.recv(1 << 20)


def is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_what_counts_as_old_is_not_walked_by_young_collections() -> None:
    gc.collect()
    made: list[object] = [[] for _ in range(100)]
    count_as_old()
    assert gc.get_freeze_count() == 0
    young = {id(one) for generation in (0, 1) for one in gc.get_objects(generation)}
    assert not young & {id(one) for one in made}
