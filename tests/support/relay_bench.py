"""A relay without a process around it, driven turn by turn over socket pairs: for what a sound process never does."""

import socket
from collections.abc import Callable

from tests.support.proxy_harness import host, one_service
from tulle.core.backends import EndpointRef
from tulle.core.tables import build_tables
from tulle.proxy.arrival import Register
from tulle.proxy.counters import Counters
from tulle.proxy.detect import Detector
from tulle.proxy.lane import Arrival
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay
from tulle.proxy.upstream import Pools
from tulle.wire.snapshot import Limits, Protocol

DOOR = 8080
TURNS = 200
IMPATIENT = Limits(detect_timeout=0.01, pool_idle_timeout=0.4)

Arrive = Callable[[socket.socket | None], None]


class Bench:
    """A relay without a process around it; `dial` is the test's own."""

    def __init__(
        self,
        protocol: Protocol,
        dial: Callable[[EndpointRef, Arrive], None],
        limits: Limits = IMPATIENT,
        speaks: Protocol = Protocol.DETECT,
    ) -> None:
        self.told: list[str] = []
        self.dispatcher = Dispatcher(self.told.append)
        self.relay = Relay(self.dispatcher, Counters())
        self.relay.connector = Pools(self.relay, dial)
        self.relay.adopt(build_tables(one_service({DOOR: protocol}, (host(1),), limits=limits, speaks=speaks)))
        self.register = Register()
        self._dial = dial

    def caller(self, arrival: Arrival | None = None) -> socket.socket:
        """A connection, by the door unless said; the test holds the caller's end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        arrival = arrival or Arrival("", "", DOOR)
        connection = self.register.add(arrival, self.dispatcher.now)
        Detector(self.relay, connection, self.relay.lane(arrival), self._dial).start(ours)
        return theirs

    def until(self, holds: Callable[[], bool]) -> None:
        """Turns as the selector does, until a fact holds."""
        for _ in range(TURNS):
            if holds():
                return
            self.dispatcher.turn(self.dispatcher.epoll.poll(min(self.dispatcher.wait(), 1.0), 256))
        raise AssertionError("never came true")

    def endpoints_in_flight(self) -> int:
        """What all endpoints together are busy with."""
        tables = self.relay.tables
        assert tables is not None
        return sum(endpoint.in_flight for endpoint in tables.endpoints.values())


def broken_dial(endpoint: EndpointRef, arrive: Arrive) -> None:
    """A defect: no dialler raises."""
    raise RuntimeError(f"no way to {endpoint.host}")
