"""What all connections share: the tables in force, lanes, counters, limits, ids."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import getrandbits
from typing import Final, final

from tulle.core.authority import named_port
from tulle.core.authorize import judge, judge_connection
from tulle.core.backends import RouteTable
from tulle.core.policies import ANONYMOUS, CallerRef
from tulle.core.request import RequestView, canonical_host, canonical_path
from tulle.core.route import match_route
from tulle.core.tables import ServicePortTable, Tables
from tulle.core.verdict import Allow, Deny
from tulle.http.fields import CRLF, PlainLines
from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.encoder import Known
from tulle.http.h2.field import GRPC_TIMEOUT, Field, FieldStore, value_of
from tulle.http.h2.limits import Http2Limits
from tulle.http.h2.sending import asked_fields, told_fields
from tulle.http.h2.stream import Stream
from tulle.http.head import Limits as HeadLimits
from tulle.http.head import RequestHead, ResponseHead
from tulle.http.opening import Opening, learn_opening
from tulle.http.request import END
from tulle.http.trace_context import NOT_SAMPLED, SAMPLED
from tulle.http.upgrade import offered_protocols
from tulle.http.write import open_request
from tulle.proxy.access_log import AccessLog
from tulle.proxy.counters import Counters, Pair
from tulle.proxy.grpc import MALFORMED, NO_TIMEOUT, protocol_of, timeout_of
from tulle.proxy.loop import Dispatcher
from tulle.proxy.refusals import Refusals
from tulle.proxy.stream import Connector, Passages
from tulle.wire.reason import Reason
from tulle.wire.snapshot import AccessLog as LogSettings
from tulle.wire.snapshot import Limits, Protocol, Tracing

MAX_REMEMBERED: Final = 512
"""Heads remembered by the whole process; beyond, all are forgotten."""
MAX_REMEMBERED_HEAD: Final = 2048
ID_OCTETS: Final = 16
"""Of a request id that is ours."""
MAX_SEEN: Final = 4096
MAX_OPENINGS: Final = 256
MAX_HOSTS: Final = 256

_LAST_OF_ID: Final = [b"%02x" % number for number in range(256)]
_NO_FIELDS: Final[list[Field]] = []
_NO_HEADERS: Final[list[tuple[bytes, bytes]]] = []

UNKNOWN: Final = "unknown"
"""Destination label of what is not declared."""
FORWARD: Final = "forward-proxy"
"""Destination label of connections to the forward proxy, and of what says there no destination."""
FORWARD_PATH: Final = "forward-path"
"""Where connections came to that dialled the forward proxy by its path."""
HTTP_PORT: Final = 80
"""Of an authority that names none."""


@final
class Arrival:
    """How a connection came: by a pod's listener, with the address it meant, by a door, or to the forward proxy."""

    __slots__ = ("address", "cgroup", "pod", "port", "uid")

    def __init__(self, pod: str, address: str, port: int, uid: int = -1, cgroup: int = 0) -> None:
        self.pod = pod
        """`namespace/workload`; empty: anonymous."""
        self.address = address
        """The virtual address that was dialled, FORWARD or FORWARD_PATH; empty: by a door."""
        self.port = port
        """The port that was dialled, or the door's."""
        self.uid = uid
        """Of the user who made the caller's socket, where the kernel was asked; -1: it was not, or did not say."""
        self.cgroup = cgroup
        """Likewise: the id of the control group where it was made."""

    @property
    def counted_as(self) -> str:
        """Whose connection it is to limits: a workload's, all doors', or those of a user of the box whom nobody attested."""
        return self.pod if self.pod or not self.address else f"uid {self.uid}"

    def as_anonymous(self) -> Arrival:
        """The same from nobody."""
        return Arrival("", self.address, self.port, self.uid, self.cgroup)

    def to(self, address: str, port: int) -> Arrival:
        """The same caller, had it dialled this."""
        return Arrival(self.pod, address, port, self.uid, self.cgroup)


@final
class Judged:
    """A request head, all that was decided about it, and the head to send: a function of its octets, lane and generation."""

    __slots__ = (
        "_asked",
        "_known",
        "_told",
        "_wire",
        "head",
        "is_grpc",
        "pairs",
        "protocol",
        "refusal",
        "route",
        "target",
        "timeout",
        "upgrade",
        "verdict",
    )

    def __init__(
        self,
        head: RequestHead,
        refusal: Reason | None,
        verdict: Allow | Deny,
        route: RouteTable | None,
        target: bytes,
        pairs: dict[str, Pair],
        protocol: str,
        asked: Known | None = None,
    ) -> None:
        self.head = head
        self.protocol = protocol
        """The label under which it is counted."""
        self.refusal = refusal
        """Why it is answered before anything is asked of policies."""
        self.verdict = verdict
        self.route = route
        self.target = target
        """In place of the one that came; empty: that one goes on."""
        self.pairs = pairs
        """By backend name: where this request is counted. Shared by those of one route and protocol."""
        self.upgrade = offered_protocols(head)
        """What the caller asks to change to and may, separated by `, `; empty: the request is served in HTTP."""
        self.is_grpc = protocol == "grpc"
        self.timeout = NO_TIMEOUT
        """Seconds that the caller waits (`grpc-timeout`); negative: it did not say."""
        self._wire = b""
        self._asked = asked
        self._told: list[Field] | None = None
        self._known: Known | None = None
        """All fields, once they have been sent before."""
        if self.is_grpc and head.going is not None:
            self.timeout = timeout_of(value_of(head.going, GRPC_TIMEOUT))
            if self.timeout == MALFORMED and refusal is None:
                self.refusal = Reason.BAD_REQUEST

    def write(self, request_id: bytes, traceparent: bytes) -> bytes:
        """The head for HTTP/1.1, with these where the caller named none."""
        head = self.head
        wire = self._wire
        if not wire:
            wire = self._wire = open_request(head, b"", self.target)
        is_own = head.request_id is None
        if head.is_traced or not traceparent:
            return b"".join([wire, b"x-request-id: ", request_id, END]) if is_own else wire + CRLF
        if is_own:
            return b"".join([wire, b"traceparent: ", traceparent, b"\r\nx-request-id: ", request_id, END])
        return b"".join([wire, b"traceparent: ", traceparent, END])

    def open(self, codec: Codec, store: FieldStore, done: bool, literals: bytes) -> Stream:
        """Sends the head over HTTP/2, and `literals` behind it: a request id and a traceparent that are ours."""
        head = self.head
        known = self._known
        if known is not None:
            return codec.open(_NO_FIELDS, head.method, done, known, literals)
        asked = self._asked
        told = self._told
        if asked is None:
            asked = self._asked = Known(asked_fields(head, store, self.target))
        if told is None:
            told = self._told = told_fields(head, store)
        else:
            self._known = Known(asked.fields + told)
        return codec.open(told, head.method, done, asked, literals)

    def patience(self, relay: Relay) -> float:
        """Seconds from the end of the request to the beginning of its answer; a gRPC caller may say more."""
        return max(relay.request_timeout, self.timeout)

    def id_octets(self, relay: Relay) -> bytes:
        """The caller's own, or a new one."""
        own = self.head.request_id
        return relay.next_id_octets() if own is None else own

    def trace(self, relay: Relay, request_id: bytes) -> bytes:
        """The traceparent of the request: continued, or a new one; empty where none is to be made."""
        traceparent = self.head.traceparent
        if traceparent or not relay.makes_traces:
            return traceparent
        if self.head.request_id is not None:
            relay.next_id_octets()
        return relay.next_traceparent()


@final
class HeadView(RequestView):
    """What decisions see of a head; its fields are read when one asks for them.

    An extended CONNECT is a GET to them: what a policy says of a WebSocket holds whichever HTTP asks for it.
    """

    def __init__(self, head: RequestHead, path: str, folded: str, host: str) -> None:
        super().__init__(head.method if not head.protocol else "GET", path, folded, host, _NO_HEADERS)
        self._head = head
        self.are_read = False
        """A decision asked for a field."""

    def header(self, name: bytes) -> bytes | None:
        if not self.are_read:
            self.are_read = True
            named = self._head.named
            self.headers = [field for field in self._head.fields if field[0] not in named]
        return super().header(name)


@final
class Lane:
    """One caller to one service port, in one generation: what its requests share."""

    def __init__(
        self,
        tables: Tables,
        caller: CallerRef,
        port: ServicePortTable | None,
        is_forward: bool = False,
        takes_host: bool = False,
    ) -> None:
        self.tables = tables
        self.caller = caller
        self.port = port
        """None: nothing is declared there."""
        self.is_forward = is_forward
        """It came to the forward proxy: the next request of the same connection may name another service."""
        self.takes_host = takes_host
        """It came by the path: what names no host in its target means that of Host. There is no address to be confused with."""
        self.source = caller.service
        self.destination = port.service if port is not None else UNKNOWN
        self.memo: dict[bytes, Judged] = {}
        self.opening: Opening | None = None
        """What the fields of heads that came here last begin with."""
        self.stray = b""
        """The last head that began otherwise."""
        self.decisions: dict[tuple[str, bytes, bytes, str], Decision] = {}
        """By method, target, authority and protocol: what no other field has a say in."""
        self._pairs: dict[tuple[str, str], dict[str, Pair]] = {}

    def pairs_of(self, route: RouteTable | None, protocol: str) -> dict[str, Pair]:
        """Where requests by this route and protocol are counted, by backend name; filled by who counts."""
        key = (route.name if route is not None else "", protocol)
        found = self._pairs.get(key)
        if found is None:
            found = self._pairs[key] = {}
        return found


@final
class Decision:
    """What was decided by what is asked, of whom, alone; and that as fields to send."""

    __slots__ = ("asked", "pairs", "route", "target", "verdict")

    def __init__(
        self, verdict: Allow | Deny, route: RouteTable | None, target: bytes, pairs: dict[str, Pair], asked: Known
    ) -> None:
        self.verdict = verdict
        self.route = route
        self.target = target
        self.pairs = pairs
        self.asked = asked


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
        self.answers: dict[bytes, RememberedAnswer] = {}
        self.plain_lines = PlainLines()
        self.taps: list[Callable[[object], None]] = []
        """Called with each Exchange and Tunnel that has ended; empty when nobody listens."""
        self.access_log = AccessLog(dispatcher, counters)
        self.refusals = Refusals()
        self.fields = FieldStore()
        self.http2_limits = Http2Limits(self.head_limits)
        self.forward_limits = self.http2_limits
        self._lanes: dict[tuple[str, str, int], Lane] = {}
        self._remembered = 0
        self._seen: set[int] = set()
        self.openings: dict[bytes, Opening] = {}
        """By their octets; beyond MAX_OPENINGS all are forgotten."""
        self.hosts: dict[str, str | None] = {}
        """Canonical hosts by what callers wrote, likewise."""
        self._id_prefix = os.urandom(5).hex().encode()
        self._id_count = getrandbits(20)
        self._id_stem = b""
        """All of an id but its last two digits."""
        self.makes_traces = True
        """A request without a valid traceparent gets one."""
        self._sampled_below = 0
        """Rolls of 32 bits below this ask services to record a trace that begins here."""
        self._random = b""
        """Random digits, 16 for each of the ids that share a stem."""
        self._trace_stem = b""
        self._trace_end = b""
        self._sampled_end = b""

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
        self._lanes = {}
        self._forget_heads()
        sources = {caller.service for caller in tables.callers.values()} | {ANONYMOUS.service}
        self.counters.keep_only(sources, {port.service for port in tables.by_name.values()} | {UNKNOWN, FORWARD})

    def account(self, log: LogSettings, tracing: Tracing) -> None:
        """What is told of requests from now on."""
        self.access_log.configure(log)
        self.makes_traces = tracing.create
        self._sampled_below = int(tracing.sample * (1 << 32))

    @property
    def is_full(self) -> bool:
        """More is held for slow readers than may be."""
        return self.dispatcher.held > self.dispatcher.may_hold

    @property
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
        host = self._canonical_host(head.host)
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
        request_id = self.next_id()
        self.refusals.remember(lane, request_id, None, reason, "")
        self.access_log.note_unread(lane, protocol, status, reason, request_id)
        return request_id

    def next_id(self) -> str:
        """A new request id, unique among the proxies of a fleet."""
        return self.next_id_octets().decode("ascii")

    def next_id_octets(self) -> bytes:
        """The same, as it stands in a head."""
        self._id_count += 1
        last = self._id_count & 0xFF
        if last == 0 or not self._id_stem:
            self._id_stem = b"%b%04x" % (self._id_prefix, (self._id_count >> 8) & 0xFFFF)
            digits = os.urandom(2056).hex().encode()
            self._random = digits[16:]
            self._trace_stem = b"00-" + self._id_stem
            self._trace_end = b"-" + digits[:16] + NOT_SAMPLED
            self._sampled_end = b"-" + digits[:16] + SAMPLED
        return self._id_stem + _LAST_OF_ID[last]

    def next_traceparent(self) -> bytes:
        """A trace that begins here, for the request whose id was made last.

        That id is the first half of the trace-id, so that one tells the other; the second is random, since samplers look at that.
        """
        last = self._id_count & 0xFF
        end = self._trace_end
        if self._sampled_below and getrandbits(32) < self._sampled_below:
            end = self._sampled_end
        at = last * 16
        return self._trace_stem + _LAST_OF_ID[last] + self._random[at : at + 16] + end

    def learn(self, lane: Lane, octets: bytes) -> Opening | None:
        """Compares a head with the last one of this lane whose opening was not known; connections share what comes of it."""
        before = lane.stray
        lane.stray = octets if len(octets) <= MAX_REMEMBERED_HEAD else b""
        learnt = learn_opening(before, octets)
        if learnt is None:
            return None
        known = self.openings.get(learnt.octets)
        if known is None:
            if len(self.openings) >= MAX_OPENINGS:
                self.openings.clear()
            known = self.openings[learnt.octets] = learnt
        lane.opening = known
        return known

    def judge_head(self, lane: Lane, head: RequestHead) -> Judged:
        """Decides all that depends on the head alone."""
        port = lane.port
        protocol = protocol_of(head)
        if port is None:
            return Judged(head, Reason.NO_SERVICE, _NOT_ASKED, None, b"", lane.pairs_of(None, protocol), protocol)
        if lane.is_forward and port.protocol is Protocol.TCP:
            opaque = judge(port, lane.caller, None)
            if isinstance(opaque, Deny) and not lane.tables.shadow:
                return Judged(head, None, opaque, None, b"", lane.pairs_of(None, protocol), protocol)
            return Judged(head, Reason.UNSUPPORTED, _NOT_ASKED, None, b"", lane.pairs_of(None, protocol), protocol)
        if head.protocol and not offered_protocols(head):
            return Judged(head, Reason.UNSUPPORTED, _NOT_ASKED, None, b"", lane.pairs_of(None, protocol), protocol)
        is_remembered = head.going is not None and not head.protocol
        key = (head.method, head.target, head.authority, protocol)
        if is_remembered:
            known = lane.decisions.get(key)
            if known is not None:
                return Judged(head, None, known.verdict, known.route, known.target, known.pairs, protocol, known.asked)
        readings = canonical_path(head.path)
        host = self._canonical_host(head.host) if head.host else ""
        if readings is None or host is None:
            return Judged(head, Reason.BAD_REQUEST, _NOT_ASKED, None, b"", lane.pairs_of(None, protocol), protocol)
        path, folded = readings
        view = HeadView(head, path, folded, host)
        verdict = judge(port, lane.caller, view)
        route = match_route(port, view)
        target = b""
        if head.path != path:
            target = path.encode("ascii")
            if head.query:
                target += b"?" + head.query.encode("ascii")
        elif not head.path and head.query:
            target = b"/?" + head.query.encode("ascii")
        pairs = lane.pairs_of(route, protocol)
        if not is_remembered or view.are_read or len(head.target) > MAX_REMEMBERED_HEAD:
            return Judged(head, None, verdict, route, target, pairs, protocol)
        asked = Known(asked_fields(head, self.fields, target))
        if self._appears_again(head.target):
            lane.decisions[key] = Decision(verdict, route, target, pairs, asked)
        return Judged(head, None, verdict, route, target, pairs, protocol, asked)

    def judge_connect(self, lane: Lane, head: RequestHead) -> Judged | None:
        """Decides whether CONNECT is refused; None: a tunnel may be opened, and what is said in it is judged as if the address were dialled."""
        port = lane.port
        refusal: Reason | None = None
        if port is None:
            refusal = Reason.NO_SERVICE
        elif self.is_draining:
            refusal = Reason.DRAINING
        elif self.is_overloaded:
            refusal = Reason.OVERLOADED
        else:
            verdict = judge_connection(port, lane.caller)
            if isinstance(verdict, Deny) and not lane.tables.shadow:
                protocol = protocol_of(head)
                return Judged(head, None, verdict, None, b"", lane.pairs_of(None, protocol), protocol)
            if port.protocol is Protocol.TCP:
                if not port.opaque.backends:
                    refusal = Reason.NO_BACKEND
                elif not any(one.ready for backend in port.opaque.backends for one in backend.endpoints):
                    refusal = Reason.NO_HEALTHY_ENDPOINT
        return self.refuse_connect(lane, head, refusal) if refusal is not None else None

    def refuse_connect(self, lane: Lane, head: RequestHead, refusal: Reason) -> Judged:
        """Refused before any policy was asked."""
        protocol = protocol_of(head)
        return Judged(head, refusal, _NOT_ASKED, None, b"", lane.pairs_of(None, protocol), protocol)

    def _canonical_host(self, name: str) -> str | None:
        found = self.hosts.get(name)
        if found is None:
            if len(self.hosts) >= MAX_HOSTS:
                self.hosts.clear()
            found = self.hosts[name] = canonical_host(name)
        return found

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
            lane.decisions.clear()
        self.answers.clear()
        self._remembered = 0


_NOT_ASKED: Final = Allow(None)
