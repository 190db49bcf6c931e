"""A connection of a caller, from accept to close: how it came, and the counts it holds."""

from __future__ import annotations

from typing import final

from tulle.proxy.counters import Counters
from tulle.proxy.relay import Arrival, Lane
from tulle.proxy.stream import CallerEnd
from tulle.wire.reason import Reason


class Drainable(CallerEnd):
    """Who can end a connection between two requests."""

    def close_when_idle(self) -> None:
        """Ends now when nothing is being served, else after the answer."""
        raise NotImplementedError

    def cut(self, reason: Reason) -> None:
        """Ends now: what is not answered yet is answered so."""
        raise NotImplementedError


class Opaque:
    """A stream that no request divides: judged when it begins, and again whenever a snapshot comes into force."""

    def judge_again(self) -> None:
        """Cuts what the tables in force would not let begin."""
        raise NotImplementedError

    def cut(self, reason: Reason) -> None:
        """Ends now, by a reset to both sides."""
        raise NotImplementedError


@final
class Connection:
    """Listed by `/connections` and counted against the limits until `closed`."""

    def __init__(self, register: Register, arrival: Arrival, since: float) -> None:
        self.arrival = arrival
        self.since = since
        """Monotonic seconds."""
        self.source = ""
        self.destination = ""
        self.protocol = ""
        """`http` or `tcp`; empty until it is known."""
        self.speaker: Drainable | None = None
        """Set once it speaks HTTP."""
        self.opaque: Opaque | None = None
        """Set once it is known to speak something else."""
        self._register = register
        self._counters: Counters | None = None
        """Where it is counted as open."""

    def become(self, lane: Lane, protocol: str, counters: Counters) -> None:
        """The protocol is known."""
        self.source = lane.source
        self.destination = lane.destination
        self.protocol = protocol
        self._counters = counters
        link = counters.link(lane.source, lane.destination, protocol)
        link.total += 1
        link.open += 1

    def closed(self) -> None:
        """Gives the counts back. Idempotent."""
        self._register.remove(self)
        if self._counters is not None:
            self._counters.unlink(self.source, self.destination, self.protocol)
            self._counters = None


@final
class Register:
    """The open connections of callers."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self._by_pod: dict[str, int] = {}

    def add(self, arrival: Arrival, since: float) -> Connection:
        """One more."""
        connection = Connection(self, arrival, since)
        self.connections.add(connection)
        self._by_pod[arrival.pod] = self._by_pod.get(arrival.pod, 0) + 1
        return connection

    def remove(self, connection: Connection) -> None:
        """One less; no fault when it was not there."""
        if connection in self.connections:
            self.connections.discard(connection)
            pod = connection.arrival.pod
            left = self._by_pod[pod] - 1
            if left:
                self._by_pod[pod] = left
            else:
                del self._by_pod[pod]

    def judge_again(self) -> None:
        """A snapshot came into force. Requests are judged one by one anyway; what has none is judged here."""
        for connection in list(self.connections):
            if connection.opaque is not None:
                connection.opaque.judge_again()

    def cut(self, reason: Reason) -> None:
        """Ends all of them."""
        for connection in list(self.connections):
            if connection.speaker is not None:
                connection.speaker.cut(reason)
            elif connection.opaque is not None:
                connection.opaque.cut(reason)

    def of(self, pod: str) -> int:
        """How many came by this pod's listener; empty: by doors."""
        return self._by_pod.get(pod, 0)
