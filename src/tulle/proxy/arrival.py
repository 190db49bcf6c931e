"""A connection of a caller, from accept to close: how it came, and the counts it holds."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, final

from tulle.proxy.counters import Counters
from tulle.proxy.lane import Arrival, Lane
from tulle.proxy.stream import Speaker
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Limits

MANY: Final = 64
"""Connections looked after in one piece: some tens of microseconds."""


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
        """`http`, `http2` or `tcp`, `websocket` or `upgrade` once HTTP/1.1 changed to it; empty until it is known."""
        self.speaker: Speaker | None = None
        """Set once it speaks HTTP."""
        self.opaque: Opaque | None = None
        """Set once it is known to speak something else."""
        self._upgraded: set[Opaque] | None = None
        """Tunnels that requests of this connection became."""
        self.counted_as = arrival.counted_as
        """The limit's holder, as long as it is open."""
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

    def lead_on(self, arrival: Arrival) -> None:
        """What it was is over: from here on it is as one that came like this."""
        if self._counters is not None:
            self._counters.unlink(self.source, self.destination, self.protocol)
            self._counters = None
        self.arrival = arrival
        self.source = self.destination = self.protocol = ""
        self.speaker = None

    def disown(self) -> None:
        """Its caller is not any more who it was. What it speaks is cut; before that is known, it goes on as nobody's."""
        if self.speaker is not None:
            self.speaker.cut(Reason.DENIED)
        elif self.opaque is not None:
            self.opaque.cut(Reason.DENIED)
        else:
            self.arrival = self.arrival.as_anonymous()

    def turn_into(self, protocol: str) -> None:
        """All of it speaks another protocol from now on."""
        counters = self._counters
        if counters is not None:
            counters.unlink(self.source, self.destination, self.protocol)
            link = counters.link(self.source, self.destination, protocol)
            link.total += 1
            link.open += 1
        self.protocol = protocol

    def carry(self, tunnel: Opaque) -> None:
        """Has it judged again with each snapshot, until it is put down."""
        if self._upgraded is None:
            self._upgraded = set()
        self._upgraded.add(tunnel)

    def put_down(self, tunnel: Opaque) -> None:
        """The tunnel is over. Idempotent."""
        if self._upgraded is not None:
            self._upgraded.discard(tunnel)

    @property
    def tunnels(self) -> list[Opaque]:
        """What it carries that no request divides."""
        found = list(self._upgraded) if self._upgraded is not None else []
        if self.opaque is not None:
            found.append(self.opaque)
        return found

    def closed(self) -> None:
        """Gives the counts back, and lets go of who spoke. Idempotent."""
        self._register.remove(self)
        self.speaker = None
        self.opaque = None
        if self._counters is not None:
            self._counters.unlink(self.source, self.destination, self.protocol)
            self._counters = None


@final
class Register:
    """The open connections of callers."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self._counts: dict[str, int] = {}

    def add(self, arrival: Arrival, since: float) -> Connection:
        """One more."""
        connection = Connection(self, arrival, since)
        self.connections.add(connection)
        who = connection.counted_as
        self._counts[who] = self._counts.get(who, 0) + 1
        return connection

    def remove(self, connection: Connection) -> None:
        """One less; no fault when it was not there."""
        if connection in self.connections:
            self.connections.discard(connection)
            who = connection.counted_as
            left = self._counts[who] - 1
            if left:
                self._counts[who] = left
            else:
                del self._counts[who]

    def judge_again(self) -> None:
        """A snapshot came into force. Requests are judged one by one anyway; what has none is judged here."""
        for connection in list(self.connections):
            for tunnel in connection.tunnels:
                tunnel.judge_again()

    def renewing(self) -> Generator[None, None, None]:
        """Has them let go of the snapshot before, some each time it is asked to go on: one that waits for a request would keep all of it."""
        for number, connection in enumerate(list(self.connections)):
            if number % MANY == 0:
                yield
            if connection.speaker is not None:
                connection.speaker.renew()

    def cut(self, reason: Reason) -> None:
        """Ends all of them."""
        for connection in list(self.connections):
            if connection.speaker is not None:
                connection.speaker.cut(reason)
            elif connection.opaque is not None:
                connection.opaque.cut(reason)

    def limit_of(self, arrival: Arrival, limits: Limits) -> str:
        """The limit that keeps one more such connection out, as `tulle_connections_refused_total` calls it; empty: there is room."""
        if len(self.connections) >= limits.connections:
            return "limit"
        is_full = self._counts.get(arrival.counted_as, 0) >= limits.connections_per_caller
        return "caller-limit" if is_full else ""
