"""What all connections share: the tables in force, lanes, counters, limits, ids."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import getrandbits
from typing import Final, final

from tulle.core.authorize import judge
from tulle.core.backends import RouteTable
from tulle.core.policies import ANONYMOUS, CallerRef
from tulle.core.request import RequestView, canonical_host, canonical_path
from tulle.core.route import match_route
from tulle.core.tables import ServicePortTable, Tables
from tulle.core.verdict import Allow, Deny
from tulle.http.h2.field import Field, FieldStore
from tulle.http.h2.limits import Http2Limits
from tulle.http.h2.sending import request_fields
from tulle.http.head import Limits as HeadLimits
from tulle.http.head import RequestHead, ResponseHead
from tulle.http.write import write_request
from tulle.proxy.counters import Counters, Pair
from tulle.proxy.grpc import is_grpc_type, timeout_of
from tulle.proxy.loop import Dispatcher
from tulle.proxy.refusals import Refusals
from tulle.proxy.stream import Connector
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Limits

MAX_REMEMBERED: Final = 512
"""Heads remembered by the whole process; beyond, all are forgotten."""
MAX_REMEMBERED_HEAD: Final = 2048
MAX_SEEN: Final = 4096

UNKNOWN: Final = "unknown"
"""Destination label of what is not declared."""


@final
class Arrival:
    """How a connection came: by a pod's listener, with the address it meant, or by a door."""

    __slots__ = ("address", "pod", "port")

    def __init__(self, pod: str, address: str, port: int) -> None:
        self.pod = pod
        """`namespace/workload`; empty: by a door."""
        self.address = address
        """The virtual address that was dialled; empty: by a door."""
        self.port = port
        """The port that was dialled, or the door's."""


@final
class Judged:
    """A request head, all that was decided about it, and the head to send: a function of its octets, lane and generation."""

    __slots__ = (
        "_fields",
        "_wire",
        "has_id",
        "head",
        "is_grpc",
        "pairs",
        "refusal",
        "route",
        "target",
        "timeout",
        "verdict",
    )

    def __init__(
        self,
        head: RequestHead,
        refusal: Reason | None,
        verdict: Allow | Deny,
        route: RouteTable | None,
        target: bytes,
        has_id: bool,
    ) -> None:
        self.head = head
        self.refusal = refusal
        """Why it is answered before anything is asked of policies."""
        self.verdict = verdict
        self.route = route
        self.target = target
        """In place of the one that came; empty: that one goes on."""
        self.has_id = has_id
        """The caller named a request id."""
        self.is_grpc = False
        self.timeout = -1.0
        """Seconds that the caller waits (`grpc-timeout`); negative: it did not say."""
        self._wire = b""
        self._fields: list[Field] | None = None
        if head.going is not None:
            content_type = head.value(b"content-type")
            self.is_grpc = content_type is not None and is_grpc_type(content_type)
            if self.is_grpc:
                self.timeout = timeout_of(head.value(b"grpc-timeout"))
        self.pairs: dict[str, Pair] = {}
        """By backend name: where this request is counted."""

    def wire(self) -> bytes:
        """The head for HTTP/1.1: whole when the caller named a request id, else without its empty line."""
        wire = self._wire
        if not wire:
            wire = write_request(self.head, b"", self.target)
            if not self.has_id:
                wire = wire[:-2]
            self._wire = wire
        return wire

    def fields(self, store: FieldStore) -> list[Field]:
        """The head for HTTP/2, but for a request id that is ours."""
        fields = self._fields
        if fields is None:
            fields = self._fields = request_fields(self.head, store, self.target)
        return fields

    def request_id(self, relay: Relay) -> str:
        """The caller's own, or a new one."""
        if self.has_id:
            value = self.head.value(b"x-request-id")
            if value is not None:
                return value.decode("latin-1")
        return relay.next_id()


@final
class Lane:
    """One caller to one service port, in one generation: what its requests share."""

    def __init__(self, tables: Tables, caller: CallerRef, port: ServicePortTable | None) -> None:
        self.tables = tables
        self.caller = caller
        self.port = port
        """None: nothing is declared there."""
        self.source = caller.service
        self.destination = port.service if port is not None else UNKNOWN
        self.memo: dict[bytes, Judged] = {}


@final
class RememberedAnswer:
    """A response head that came before, and what was sent for it."""

    __slots__ = ("head", "wire")

    def __init__(self, head: ResponseHead, wire: bytes) -> None:
        self.head = head
        self.wire = wire


@final
class Relay:
    """The state of the data plane."""

    def __init__(self, dispatcher: Dispatcher, counters: Counters) -> None:
        self.dispatcher = dispatcher
        self.counters = counters
        self.connector = Connector()
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
        self.answers: dict[bytes, RememberedAnswer] = {}
        self.taps: list[Callable[[object], None]] = []
        """Called with each Exchange and Tunnel that has ended; empty when nobody listens."""
        self.refusals = Refusals()
        self.fields = FieldStore()
        self.http2_limits = Http2Limits(self.head_limits)
        self._lanes: dict[tuple[str, str, int], Lane] = {}
        self._remembered = 0
        self._seen: set[int] = set()
        self._id_prefix = os.urandom(5).hex()
        self._id_count = getrandbits(20)

    def adopt(self, tables: Tables) -> None:
        """Puts a new generation in force. What is in flight goes on with the one it began with."""
        limits = tables.limits
        self.tables = tables
        self.limits = limits
        self.head_limits = HeadLimits(limits.header_bytes, limits.header_count, limits.target_bytes)
        self.http2_limits = Http2Limits(
            self.head_limits, limits.streams, limits.stream_window, limits.connection_window
        )
        self.head_timeout = limits.head_timeout
        self.idle_timeout = limits.idle_timeout
        self.request_timeout = limits.request_timeout
        self.detect_timeout = limits.detect_timeout
        self.buffered_bytes = limits.buffered_bytes
        self.requests_in_flight = limits.requests_in_flight
        shortest = min(limits.head_timeout, limits.idle_timeout, limits.request_timeout, limits.pool_idle_timeout)
        self.dispatcher.wheel.set_revolution(max(0.2, min(4.0, shortest / 2)))
        self._lanes = {}
        self._forget_heads()
        sources = {caller.service for caller in tables.callers.values()} | {ANONYMOUS.service}
        self.counters.keep_only(sources, {port.service for port in tables.by_name.values()} | {UNKNOWN})

    def lane(self, arrival: Arrival) -> Lane:
        """Who calls what, by the tables in force."""
        key = (arrival.pod, arrival.address, arrival.port)
        found = self._lanes.get(key)
        if found is not None:
            return found
        tables = self.tables
        if tables is None:
            raise RuntimeError("accepted before the first snapshot")
        caller = ANONYMOUS
        port: ServicePortTable | None
        if arrival.pod:
            caller = tables.callers.get(arrival.pod, ANONYMOUS)
            port = tables.by_address.get((arrival.address, arrival.port))
        else:
            port = tables.doors.get(arrival.port)
        lane = Lane(tables, caller, port)
        if port is not None:
            self._lanes[key] = lane
        return lane

    def count_unread(self, lane: Lane, response_class: int, reason: Reason | None) -> None:
        """Counts a request whose head was never complete or sound."""
        if reason is not None:
            self.counters.answer(lane.source, lane.destination, reason.code)
        pair = self.counters.pair(lane.source, lane.destination, "", "", "http")
        self.counters.finish(pair, response_class, 0.0, 0, 0)

    def next_id(self) -> str:
        """A new request id, unique among the proxies of a fleet."""
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count & 0xFFFFFF:06x}"

    def judge_head(self, lane: Lane, head: RequestHead) -> Judged:
        """Decides all that depends on the head alone."""
        has_id = head.value(b"x-request-id") is not None and b"x-request-id" not in head.named
        port = lane.port
        if port is None:
            return Judged(head, Reason.NO_SERVICE, _NOT_ASKED, None, b"", has_id)
        if head.upgrade:
            return Judged(head, Reason.UNSUPPORTED, _NOT_ASKED, None, b"", has_id)
        readings = canonical_path(head.path)
        host = canonical_host(head.host) if head.host else ""
        if readings is None or host is None:
            return Judged(head, Reason.BAD_REQUEST, _NOT_ASKED, None, b"", has_id)
        fields = [field for field in head.fields if field[0] not in head.named] if head.named else head.fields
        view = RequestView(head.method, readings[0], readings[1], host, fields)
        verdict = judge(port, lane.caller, view)
        route = match_route(port, view)
        target = b""
        if head.path != readings[0]:
            target = readings[0].encode("ascii")
            if head.query:
                target += b"?" + head.query.encode("ascii")
        elif not head.path and head.query:
            target = b"/?" + head.query.encode("ascii")
        return Judged(head, None, verdict, route, target, has_id)

    def remember(self, lane: Lane, octets: bytes, judged: Judged) -> None:
        """Keeps what was decided about a head, on its second appearance, within bounds; nothing of undeclared places."""
        if lane.port is None or len(octets) > MAX_REMEMBERED_HEAD or not self._appears_again(octets):
            return
        lane.memo[octets] = judged

    def remember_answer(self, octets: bytes, head: ResponseHead, wire: bytes) -> None:
        """Keeps a response head and what was sent for it, likewise."""
        if len(octets) > MAX_REMEMBERED_HEAD or not self._appears_again(octets):
            return
        self.answers[octets] = RememberedAnswer(head, wire)

    def _appears_again(self, octets: bytes) -> bool:
        mark = hash(octets) & 0xFFFFFFFFFFF
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return False
        self._remembered += 1
        if self._remembered > MAX_REMEMBERED:
            self._forget_heads()
        return True

    def _forget_heads(self) -> None:
        for lane in self._lanes.values():
            lane.memo.clear()
        self.answers.clear()
        self._remembered = 0


_NOT_ASKED: Final = Allow(None)
