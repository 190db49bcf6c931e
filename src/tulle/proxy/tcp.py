"""Opaque TCP: octets both ways, with half-close and back-pressure."""

from __future__ import annotations

import socket
from collections.abc import Callable
from random import getrandbits
from typing import final

from tulle.core.authorize import judge
from tulle.core.backends import BackendTable, EndpointRef
from tulle.core.balance import pick_backend, pick_endpoint
from tulle.core.retry import may_reconnect
from tulle.core.verdict import Deny
from tulle.proxy.access_log import is_failure
from tulle.proxy.arrival import Connection, Opaque
from tulle.proxy.counters import CLOSED, RESET
from tulle.proxy.lane import Lane
from tulle.proxy.loop import READ_BYTES
from tulle.proxy.party import Party
from tulle.proxy.relay import Relay
from tulle.proxy.stream import Asker, failure_of
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

Dial = Callable[[EndpointRef, Callable[[socket.socket | None], None]], None]


@final
class OpaqueEnd(Party):
    """One side of a tunnel."""

    def __init__(self, tunnel: Tunnel, wire: Wire) -> None:
        super().__init__()
        self._tunnel = tunnel
        self.wire = wire
        self.other: OpaqueEnd | None = None
        """None while the endpoint is being dialled."""
        self.early = b""
        """What came before there was another side."""
        self.received = 0

    def on_octets(self, octets: bytes) -> None:
        self.received += len(octets)
        other = self.other
        if other is None:
            self.early += octets
            if len(self.early) >= self._tunnel.relay.buffered_bytes:
                self.wire.pause()
            return
        self.deadline = other.deadline = self._tunnel.next_deadline()
        if not other.wire.write(octets):
            self.wire.pause()
        if len(octets) == READ_BYTES:
            self.wire.move_to(other.wire)

    def on_moved(self, octets: int) -> None:
        self.received += octets
        other = self.other
        if other is not None:
            self.deadline = other.deadline = self._tunnel.next_deadline()

    def on_end(self) -> None:
        other = self.other
        if other is None:
            return
        if other.wire.is_ended:
            self._tunnel.finish()  # closing tells it as well
        else:
            other.wire.shut()

    def on_lost(self) -> None:
        self._tunnel.reset(None)

    def on_defect(self) -> None:
        self._tunnel.reset(Reason.INTERNAL)

    def on_drained(self) -> None:
        other = self.other
        if other is not None:
            self.deadline = other.deadline = self._tunnel.next_deadline()
            other.wire.resume()

    def on_finished(self) -> None:
        self._tunnel.let_go()

    def on_deadline(self, now: float) -> None:
        self._tunnel.reset(Reason.UPSTREAM_TIMEOUT)


@final
class Tunnel(Opaque):
    """A caller's connection and the endpoint's that belongs to it."""

    def __init__(
        self,
        relay: Relay,
        connection: Connection,
        lane: Lane,
        wire: Wire,
        early: bytes,
        dial: Dial,
        asker: Asker | None = None,
    ) -> None:
        self.relay = relay
        self.lane = lane
        self.backend: BackendTable | None = None
        self.started = relay.dispatcher.now
        self.ended = 0.0
        self.bytes_in = 0
        """Octets from the caller, counted once it is over."""
        self.bytes_out = 0
        """Octets from the endpoint, likewise."""
        self.retries = 0
        """Endpoints that were dialled after the first."""
        self.response_class = RESET
        """Index into CLASSES; right once it is over."""
        self.reason: Reason | None = None
        """Set when we refused or cut it."""
        self.policy = ""
        """The policy that decided, when one did."""
        self.would_deny = ""
        """The reason for which it would have been refused, but for shadow mode."""
        self.asked: EndpointRef | None = None
        """The last endpoint that was dialled."""
        self._connection = connection
        self._dial = dial
        self._asker = asker
        """Who waits for the answer to CONNECT, until there is an endpoint."""
        caller = OpaqueEnd(self, wire)
        caller.early = early
        caller.received = len(early)
        self._ends = [caller]
        """The caller's, then the endpoint's; none once nothing is left to send."""
        self._endpoint: EndpointRef | None = None
        self._tried: list[EndpointRef] = []
        self._is_over = False
        connection.opaque = self
        wire.pass_to(caller)

    def begin(self) -> None:
        """Authorizes and connects; what is refused is reset."""
        lane = self.lane
        port = lane.port
        if port is None:
            self.reset(Reason.NO_SERVICE)
            return
        verdict = judge(port, lane.caller, None)
        self.policy = verdict.by or ""
        if isinstance(verdict, Deny):
            if self.relay.denies(lane, verdict):
                self.reset(verdict.reason)
                return
            self.would_deny = verdict.reason.code
        backend = pick_backend(port.opaque, getrandbits(32))
        if backend is None:
            self.reset(Reason.NO_BACKEND)
            return
        self.backend = backend
        self._connect()

    def judge_again(self) -> None:
        relay = self.relay
        if self._is_over or self.lane.tables is relay.tables:
            return
        lane = relay.lane(self._connection.arrival)
        port = lane.port
        if port is None:
            self.reset(Reason.NO_SERVICE)
            return
        verdict = judge(port, lane.caller, None)
        self.lane = lane
        if isinstance(verdict, Deny) and not lane.tables.shadow:
            self.policy = verdict.by or ""
            relay.denies(lane, verdict)
            self.reset(verdict.reason)

    def cut(self, reason: Reason) -> None:
        self.reset(reason)

    def next_deadline(self) -> float:
        """When it counts as idle, if nothing moves from now on."""
        return self.relay.dispatcher.now + self.relay.idle_timeout

    def on_dialled(self, sock: socket.socket | None) -> None:
        """The endpoint's connection, or None when it failed."""
        if self._is_over:
            if sock is not None:
                sock.close()
            return
        if sock is not None:
            self._join(sock)
            return
        endpoint = self._endpoint
        self._leave_endpoint()
        if endpoint is not None:
            self._tried.append(endpoint)
        if may_reconnect(len(self._tried)):
            self._connect()
        else:
            self.reset(failure_of(self._tried))

    def finish(self) -> None:
        """Both halves are shut: closes once what is kept has gone."""
        self._count(CLOSED)
        for end in self._ends:
            end.deadline = self.next_deadline()
            end.wire.finish()
        self.let_go()

    def reset(self, reason: Reason | None) -> None:
        """One side broke: the other learns it by a reset."""
        if reason is not None and not self._is_over:
            self.reason = reason
            self.relay.counters.answer(self.lane.source, self.lane.destination, reason.code)
        self._count(RESET)
        asker = self._asker
        if asker is not None and reason is not None:
            self._asker = None
            self._ends = []
            asker.refused(reason, self.policy)
            return
        for end in self._ends:
            end.wire.reset()
        self.let_go()

    def let_go(self) -> None:
        """Once both wires have closed nothing needs the two ends, which hold each other: else only the collector could free them."""
        for end in self._ends:
            if end.wire.is_open:
                return
        for end in self._ends:
            end.other = None
        self._ends = []

    def _connect(self) -> None:
        backend = self.backend
        if backend is None:
            return
        endpoint = pick_endpoint(backend, getrandbits(32), self._tried)
        if endpoint is None:
            self.reset(failure_of(self._tried))
            return
        if self._tried:
            self.retries += 1
            self.relay.counters.retry(self.lane.source, self.lane.destination, backend.version, "connect")
        self._endpoint = self.asked = endpoint
        endpoint.in_flight += 1
        self._dial(endpoint, self.on_dialled)

    def _join(self, sock: socket.socket) -> None:
        caller = self._ends[0]
        asker = self._asker
        if asker is not None:
            self._asker = None
            asker.established()
        far = OpaqueEnd(self, caller.wire)
        far.wire = Wire(self.relay.dispatcher, sock, far)
        self._ends.append(far)
        self.relay.counters.upstreams += 1
        caller.other = far
        far.other = caller
        caller.deadline = far.deadline = self.next_deadline()
        far.wire.start()
        early = caller.early
        caller.early = b""
        if early and not far.wire.write(early):
            caller.wire.pause()
        else:
            caller.wire.resume()
        if caller.wire.is_ended:
            far.wire.shut()

    def _leave_endpoint(self) -> None:
        if self._endpoint is not None:
            self._endpoint.in_flight -= 1
            self._endpoint = None

    def _count(self, response_class: int) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._leave_endpoint()
        relay = self.relay
        self.ended = now = relay.dispatcher.now
        self.response_class = response_class
        for end in self._ends:
            end.deadline = NEVER
        self.bytes_in = self._ends[0].received
        if len(self._ends) > 1:
            self.bytes_out = self._ends[1].received
            relay.counters.upstreams -= 1
        lane = self.lane
        port = lane.port
        backend = self.backend
        pair = relay.counters.pair(
            lane.source,
            lane.destination,
            backend.version if backend is not None else "",
            port.opaque.name if port is not None else "",
            "tcp",
        )
        relay.counters.finish(pair, response_class, now - self.started, self.bytes_in, self.bytes_out)
        self._connection.closed()
        log = relay.access_log
        log.due -= 1
        if log.due <= 0 or is_failure(response_class) or self.reason is not None or self.would_deny:
            log.note_tunnel(self)
        if relay.taps:
            for tap in relay.taps:
                tap(self)
