"""What all connections share: the tables in force, lanes, counters, limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from tulle.core.authority import named_port
from tulle.core.policies import ANONYMOUS, CallerRef
from tulle.core.tables import ServicePortTable, Tables
from tulle.core.verdict import Deny
from tulle.http.h2.field import FieldStore
from tulle.http.h2.limits import Http2Limits
from tulle.http.head import Limits as HeadLimits
from tulle.http.head import RequestHead
from tulle.proxy.access_log import AccessLog
from tulle.proxy.counters import Counters
from tulle.proxy.known_heads import KnownHeads
from tulle.proxy.lane import FORWARD, FORWARD_PATH, UNKNOWN, Arrival, Lane
from tulle.proxy.loop import Dispatcher
from tulle.proxy.refusals import Refusals
from tulle.proxy.request_ids import RequestIds
from tulle.proxy.stream import Connector, Passages
from tulle.wire.reason import Reason
from tulle.wire.snapshot import AccessLog as LogSettings
from tulle.wire.snapshot import Limits, Tracing

HTTP_PORT: Final = 80
"""Of an authority that names none."""


@final
class Relay:
    """The state of the data plane."""

    def __init__(self, dispatcher: Dispatcher, counters: Counters) -> None:
        self.dispatcher = dispatcher
        self.counters = counters
        self.connector = Connector()
        self.passages = Passages()
        self.tables: Tables | None = None
        self.limits = Limits()
        self.head_limits = HeadLimits()
        self.head_timeout = 10.0
        self.idle_timeout = 300.0
        self.request_timeout = 60.0
        self.detect_timeout = 0.3
        self.buffered_bytes = 262144
        self.requests_in_flight = 8192
        self.is_draining = False
        self.taps: list[Callable[[object], None]] = []
        """Called with each Exchange and Tunnel that has ended; empty when nobody listens."""
        self.access_log = AccessLog(dispatcher, counters)
        self.refusals = Refusals()
        self.fields = FieldStore()
        self.http2_limits = Http2Limits(self.head_limits)
        self.forward_limits = self.http2_limits
        self.ids = RequestIds()
        self._lanes: dict[tuple[str, str, int], Lane] = {}
        self.heads = KnownHeads(self._lanes)

    def adopt(self, tables: Tables) -> None:
        """Puts a new generation in force. What is in flight goes on with the one it began with."""
        limits = tables.limits
        self.tables = tables
        self.limits = limits
        self.head_limits = HeadLimits(limits.header_bytes, limits.header_count, limits.target_bytes)
        self.http2_limits = Http2Limits(
            self.head_limits, limits.streams, limits.stream_window, limits.connection_window, True
        )
        self.forward_limits = Http2Limits(
            self.head_limits, limits.streams, limits.stream_window, limits.connection_window, True, True
        )
        self.head_timeout = limits.head_timeout
        self.idle_timeout = limits.idle_timeout
        self.request_timeout = limits.request_timeout
        self.detect_timeout = limits.detect_timeout
        self.buffered_bytes = limits.buffered_bytes
        self.requests_in_flight = limits.requests_in_flight
        self.dispatcher.may_hold = limits.buffered_total
        shortest = min(limits.head_timeout, limits.idle_timeout, limits.request_timeout, limits.pool_idle_timeout)
        self.dispatcher.wheel.set_revolution(max(0.2, min(4.0, shortest / 2)))
        self.heads.forget()
        self._lanes.clear()
        sources = {caller.service for caller in tables.callers.values()} | {ANONYMOUS.service}
        self.counters.keep_only(sources, {port.service for port in tables.by_name.values()} | {UNKNOWN, FORWARD})

    def account(self, log: LogSettings, tracing: Tracing) -> None:
        """What is told of requests from now on."""
        self.access_log.configure(log)
        self.ids.configure(tracing)

    @property
    def is_full(self) -> bool:
        """More is held for slow readers than may be."""
        return self.dispatcher.held > self.dispatcher.may_hold

    def is_overloaded(self) -> bool:
        """No request is to be served beyond those that are."""
        return self.counters.in_flight > self.requests_in_flight or self.dispatcher.held > self.dispatcher.may_hold

    def lane(self, arrival: Arrival) -> Lane:
        """Who calls what, by the tables in force."""
        key = (arrival.pod, arrival.address, arrival.port)
        found = self._lanes.get(key)
        if found is not None:
            return found
        tables = self.tables
        if tables is None:
            raise RuntimeError("accepted before the first snapshot")
        address = arrival.address
        caller = tables.callers.get(arrival.pod, ANONYMOUS) if arrival.pod else ANONYMOUS
        port = tables.by_address.get((address, arrival.port)) if address else tables.doors.get(arrival.port)
        is_by_path = address == FORWARD_PATH
        is_forward = is_by_path or address == FORWARD
        lane = Lane(tables, caller, port, is_forward, is_by_path)
        if is_forward:
            lane.destination = FORWARD
        if port is not None:
            self._lanes[key] = lane
        return lane

    def lane_named(self, arrival: Arrival, head: RequestHead) -> Lane:
        """Who calls what, where the request itself names it."""
        tables = self.tables
        if tables is None:
            raise RuntimeError("accepted before the first snapshot")
        caller = tables.callers.get(arrival.pod, ANONYMOUS) if arrival.pod else ANONYMOUS
        host = self.heads.host(head.host)
        port: ServicePortTable | None = None
        if host is not None:
            port = named_port(tables, caller, host, head.port if head.port >= 0 else HTTP_PORT)
        return self._forward_lane(tables, arrival, caller, port)

    def lane_again(self, arrival: Arrival, lane: Lane) -> Lane:
        """The same caller and service, by the tables in force."""
        tables = self.tables
        before = lane.port
        if not lane.is_forward or before is None or tables is None:
            return self.lane(arrival)
        caller = tables.callers.get(arrival.pod, ANONYMOUS) if arrival.pod else ANONYMOUS
        return self._forward_lane(tables, arrival, caller, tables.by_name.get((before.service, before.port)))

    def _forward_lane(self, tables: Tables, arrival: Arrival, caller: CallerRef, port: ServicePortTable | None) -> Lane:
        takes_host = arrival.address == FORWARD_PATH
        if port is None:
            return Lane(tables, caller, None, True, takes_host)
        # What is remembered of heads holds for one way in alone: only by the path may a target name no host.
        key = (arrival.pod, port.service, -port.port if takes_host else port.port)
        found = self._lanes.get(key)
        if found is None:
            found = self._lanes[key] = Lane(tables, caller, port, True, takes_host)
        return found

    def denies(self, lane: Lane, denial: Deny) -> bool:
        """Counts what a policy denies. False: in shadow mode it is only told."""
        is_shadow = lane.tables.shadow
        self.counters.deny(lane.source, lane.destination, denial.by or "", denial.reason.code, is_shadow)
        return not is_shadow

    def note_refused(self, lane: Lane, head: RequestHead, reason: Reason, policy: str) -> str:
        """Remembers a CONNECT that came to nothing, which is counted as the connection that it asked for; returns its id."""
        own = head.request_id
        request_id = own.decode("latin-1") if own is not None else self.ids.next()
        self.refusals.remember(lane, request_id, head, reason, policy)
        return request_id

    def count_unread(
        self, lane: Lane, protocol: str, response_class: int, reason: Reason | None, grpc_status: int = -1
    ) -> None:
        """Counts a request whose head was never complete or sound."""
        if reason is not None:
            self.counters.answer(lane.source, lane.destination, reason.code)
        pair = self.counters.pair(lane.source, lane.destination, "", "", protocol)
        self.counters.finish(pair, response_class, 0.0, 0, 0, grpc_status)

    def refuse_unread(self, lane: Lane, protocol: str, status: int, reason: Reason, grpc_status: int = -1) -> str:
        """Counts, remembers and logs a request that was refused before it was one; returns its id."""
        self.count_unread(lane, protocol, status // 100 - 1, reason, grpc_status)
        request_id = self.ids.next()
        self.refusals.remember(lane, request_id, None, reason, "")
        self.access_log.note_unread(lane, protocol, status, reason, request_id)
        return request_id
