"""One defect ends what it hit, is told with its trace, and nothing else: driven turn by turn, over socket pairs."""

import socket
from collections.abc import Callable

from tests.support.proxy_harness import host, one_service
from tulle.core.backends import EndpointRef
from tulle.core.tables import build_tables
from tulle.proxy.arrival import Register
from tulle.proxy.counters import Counters
from tulle.proxy.detect import Detector
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Arrival, Relay
from tulle.proxy.upstream import Pools
from tulle.proxy.wheel import Alarm
from tulle.wire.snapshot import Limits, Protocol

DOOR = 8080
TURNS = 200

Arrive = Callable[[socket.socket | None], None]


class Bench:
    """A relay without a process around it; `dial` is the test's own."""

    def __init__(self, protocol: Protocol, dial: Callable[[EndpointRef, Arrive], None]) -> None:
        self.told: list[str] = []
        self.dispatcher = Dispatcher(self.told.append)
        self.relay = Relay(self.dispatcher, Counters())
        self.relay.connector = Pools(self.relay, dial)
        limits = Limits(detect_timeout=0.01, pool_idle_timeout=0.4)
        self.relay.adopt(build_tables(one_service({DOOR: protocol}, (host(1),), limits=limits)))
        self.register = Register()
        self._dial = dial

    def caller(self) -> socket.socket:
        """A connection by the door; the test holds the caller's end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        arrival = Arrival("", "", DOOR)
        connection = self.register.add(arrival, self.dispatcher.now)
        Detector(self.relay, connection, self.relay.lane(arrival), ours, self._dial).start()
        return theirs

    def until(self, holds: Callable[[], bool]) -> None:
        """Turns as the selector does, until a fact holds."""
        for _ in range(TURNS):
            if holds():
                return
            self.dispatcher.turn(self.dispatcher.epoll.poll(min(self.dispatcher.wait(), 1.0), 256))
        raise AssertionError("never came true")


def broken_dial(endpoint: EndpointRef, arrive: Arrive) -> None:
    raise RuntimeError(f"no way to {endpoint.host}")


def test_a_defect_in_a_deadline_ends_its_connection_and_no_other() -> None:
    bench = Bench(Protocol.DETECT, broken_dial)
    rang: list[float] = []
    with bench.caller() as silent, bench.caller() as other:
        other.sendall(b"GET / ")  # perhaps a request: it waits for its head's deadline
        bench.dispatcher.soon(alarm := Alarm(bench.dispatcher.now + 0.02, rang.append), alarm.deadline)
        bench.until(lambda: len(bench.register.connections) == 1 and bool(rang))
        assert silent.recv(1) == b""
        other.sendall(b"HTTP/1.1\r\nhost: a\r\n\r\n")
        bench.until(lambda: not bench.relay.counters.in_flight and len(bench.told) == 2)
        assert other.recv(65536).startswith(b"HTTP/1.1 500 ")
    bench.until(lambda: not bench.register.connections)
    assert bench.dispatcher.defects == 2
    assert all("no way to 127.0.0.1" in one and "Traceback" in one for one in bench.told)
    assert bench.relay.counters.answers == {("anonymous", "default/orders", "internal"): 2}
    assert not any(endpoint.in_flight for endpoint in endpoints(bench))


def test_a_defect_at_a_wheels_deadline_does_not_keep_it_from_turning() -> None:
    bench = Bench(Protocol.DETECT, broken_dial)
    rang: list[float] = []
    now = bench.dispatcher.now

    def fail(at: float) -> None:
        raise ValueError(at)

    for ring in (fail, rang.append, fail):
        bench.dispatcher.wheel.add(Alarm(now, ring), now)
    bench.until(lambda: len(rang) == 1)
    assert bench.dispatcher.defects == len(bench.told) == 2
    assert bench.dispatcher.wait() > 0.0


def endpoints(bench: Bench) -> list[EndpointRef]:
    tables = bench.relay.tables
    assert tables is not None
    return list(tables.endpoints.values())
