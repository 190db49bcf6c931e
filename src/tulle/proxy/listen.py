"""Accepts connections and says who calls: a pod's listener is its identity; on the box itself the kernel attests."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Final, final

from tulle.kit.sock_diag import place_of
from tulle.proxy.arrival import Register
from tulle.proxy.attest import Attestor, Welcome, Who
from tulle.proxy.connecting import accept_now
from tulle.proxy.detect import Detector
from tulle.proxy.lane import FORWARD, FORWARD_PATH, Arrival
from tulle.proxy.loop import READ, Watched
from tulle.proxy.relay import Relay
from tulle.proxy.tcp import Dial
from tulle.proxy.wheel import Timed

SO_ORIGINAL_DST: Final = 80
ACCEPTS_PER_EVENT: Final = 32
PAUSE: Final = 0.1
"""Seconds without accepting when the process has no descriptor left."""


@final
class Listener(Watched):
    """A listening socket that the supervisor handed over: a pod's, one at a virtual address of the box, the forward proxy's, or a door."""

    def __init__(
        self,
        relay: Relay,
        register: Register,
        dial: Dial,
        sock: socket.socket,
        pod: str,
        door: int,
        meant: tuple[str, int] | None = None,
        attestor: Attestor | None = None,
        is_forward: bool = False,
        peers: Callable[[socket.socket, Welcome], None] | None = None,
    ) -> None:
        super().__init__(sock)
        sock.setblocking(False)
        self._relay = relay
        self._register = register
        self._dial = dial
        self.pod = pod
        """`namespace/workload`; empty for others."""
        self._family = int(sock.family)
        is_at_path = self._family == socket.AF_UNIX
        if not is_at_path:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which what it accepts inherits
        self._expected = ACCEPTS_PER_EVENT
        """How many connections are asked for in one event; one that does not come costs as much as one that does."""
        self._last_turn = 0
        forward = FORWARD_PATH if is_at_path else FORWARD
        self._door = Arrival("", forward, 0) if is_forward else Arrival("", "", door)
        """What it accepts when nobody says who calls."""
        self._meant = meant
        """The address that it listens at itself; None: connections are redirected to it, or it is a door."""
        self._is_forward = is_forward
        """It is the forward proxy's: requests say which service they mean."""
        self._attestor = attestor
        """On the box itself: says who calls."""
        self._peers = peers
        """At a path: says who calls."""
        self._place = place_of(meant[0], meant[1]) if meant is not None else None
        self._attested = self._on_attested

    def open(self) -> None:
        """Accepts from now on. Idempotent."""
        if self.is_open and self.mask < 0:
            self._relay.dispatcher.watch(self, READ)

    def close(self) -> None:
        """Accepts no longer; the supervisor's own descriptor keeps the queue."""
        self._relay.dispatcher.close(self)

    def on_event(self, mask: int) -> None:
        """Accepts what waits."""
        turns = self._relay.dispatcher.turns
        if turns - self._last_turn == 1:  # so more may wait than are expected
            self._expected = min(2 * self._expected, ACCEPTS_PER_EVENT)
        self._last_turn = turns
        for number in range(self._expected):
            try:
                sock, peer = accept_now(self.sock, self._family)
            except BlockingIOError:
                self._expected = max(1, number)
                return
            except ConnectionError:
                continue  # the caller left
            except OSError:
                self._pause()
                return
            attestor = self._attestor
            place = self._place
            if attestor is not None and place is not None:
                attestor.attest(sock, place_of(peer[0], peer[1]), place, self._attested)
            elif self._peers is not None:
                self._peers(sock, self._attested)
            else:
                self._welcome(sock)

    def _pause(self) -> None:
        """Descriptors ran out: the queue stays ready, so it is not looked at for a while."""
        dispatcher = self._relay.dispatcher
        dispatcher.hush(self)
        pause = Pause(self, dispatcher.now + PAUSE)
        dispatcher.soon(pause, pause.deadline)

    def on_failure(self) -> None:
        """A defect within an accept: the listener stays."""

    def _welcome(self, sock: socket.socket) -> None:
        relay = self._relay
        arrival = self._door
        if self.pod:
            meant = self._meant or original_destination(sock)
            if meant is None:
                relay.counters.refuse(self._source(self.pod), "direct")
                sock.close()
                return
            arrival = Arrival(self.pod, meant[0], meant[1])
        self._enter(sock, arrival)

    def _on_attested(self, sock: socket.socket, who: Who) -> None:
        meant = self._meant
        if self._is_forward:
            self._enter(sock, Arrival(who.workload, self._door.address, 0, who.uid, who.cgroup))
        elif meant is not None:
            self._enter(sock, Arrival(who.workload, meant[0], meant[1], who.uid, who.cgroup))

    def _enter(self, sock: socket.socket, arrival: Arrival) -> None:
        relay = self._relay
        register = self._register
        limit = register.limit_of(arrival, relay.limits)
        if limit:
            relay.counters.refuse(self._source(arrival.pod), limit)
            sock.close()
            return
        connection = register.add(arrival, relay.dispatcher.now)
        Detector(relay, connection, relay.lane(arrival), self._dial).start(sock)

    def _source(self, pod: str) -> str:
        tables = self._relay.tables
        caller = tables.callers.get(pod) if tables is not None else None
        return caller.service if caller is not None else "anonymous"


@final
class Pause(Timed):
    """After it a listener accepts again."""

    def __init__(self, listener: Listener, deadline: float) -> None:
        super().__init__()
        self._listener = listener
        self.deadline = deadline

    def on_deadline(self, now: float) -> None:
        self._listener.open()


def original_destination(sock: socket.socket) -> tuple[str, int] | None:
    """The address and port that the caller dialled before it was redirected; None when it dialled the listener itself."""
    try:
        meant = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        port, address = struct.unpack_from("!2xH4s", meant)
        found = (socket.inet_ntoa(address), int(port))
        return None if found == sock.getsockname() else found
    except OSError:
        return None
