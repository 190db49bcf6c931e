"""One stream: who calls, what is asked, where it goes, how far it is. Connections of either side come and go around it."""

from __future__ import annotations

from random import getrandbits
from typing import Final, final

from tulle.core.backends import BackendTable, EndpointRef
from tulle.core.balance import pick_backend, pick_endpoint
from tulle.core.retry import is_repeatable, may_reconnect, may_retry, may_retry_refused
from tulle.core.verdict import Deny
from tulle.http.head import ResponseHead
from tulle.http.trace_context import trace_id
from tulle.proxy.access_log import is_failure
from tulle.proxy.counters import ABORTED, TRUNCATED
from tulle.proxy.grpc import CANCELLED, class_of, status_of, status_of_reset
from tulle.proxy.judged import Judged
from tulle.proxy.lane import Lane
from tulle.proxy.relay import Relay
from tulle.proxy.request_ids import id_in, traceparent_in
from tulle.proxy.stream import NO_TRAILERS, CallerEnd, EndpointEnd, Trailers, failure_of
from tulle.proxy.upgrade import Upgrade
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Protocol

MAX_INTERIM: Final = 16
"""Interim answers (1xx) to one request."""
_DETECT: Final = Protocol.DETECT
_HTTP2: Final = Protocol.HTTP2
REPLAY_BYTES: Final = 65_536
"""Octets of a request's body kept until an endpoint that may refuse the stream has begun to answer."""


@final
class Exchange:
    """A request and its answer. Ends exactly once, counted in exactly one class."""

    __slots__ = (
        "_attempts",
        "_held",
        "_id",
        "_is_http2",
        "_is_replayable",
        "_keeps_request",
        "_traceparent",
        "_trailers",
        "_tried",
        "asked",
        "backend",
        "begun",
        "bytes_in",
        "bytes_out",
        "caller",
        "ended",
        "endpoint",
        "endpoint_end",
        "grpc_status",
        "is_over",
        "judged",
        "lane",
        "octets",
        "own_fields",
        "policy",
        "reason",
        "relay",
        "request_done",
        "reset_code",
        "response_class",
        "retries",
        "started",
        "status",
        "upgrade",
        "would_deny",
    )

    def __init__(self, relay: Relay, lane: Lane, judged: Judged, caller: CallerEnd) -> None:
        self.relay = relay
        self.lane = lane
        self.judged = judged
        self.caller = caller
        self.endpoint_end: EndpointEnd | None = None
        self.backend: BackendTable | None = None
        self.endpoint: EndpointRef | None = None
        """The one being tried or used; counted in its `in_flight`."""
        self.asked: EndpointRef | None = None
        """The last that was."""
        self.retries = 0
        self.started = relay.dispatcher.now
        self.ended = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.status = 0
        """What the caller got; 0 before."""
        self.grpc_status = -1
        """The same as gRPC says it; -1 before, and for other protocols."""
        self.reset_code = -1
        """What the endpoint's RST_STREAM said; -1: there was none."""
        self.reason: Reason | None = None
        """Set when the answer is our own."""
        self.response_class = ABORTED
        """Index into CLASSES; right once it is over."""
        self.policy = ""
        """The policy that decided, when one did."""
        self.would_deny = ""
        """The reason for which it would have been refused, but for shadow mode."""
        self.begun = b""
        """Its head for HTTP/1.1 but for how it ends, where it is one of many judged alike,"""
        self.octets = b""
        """and as it came."""
        self.own_fields = b""
        """Its id and its trace as the end of a head, where the caller said neither."""
        self._id = b""
        self._traceparent = b""
        self.request_done = False
        self.is_over = False
        self.upgrade: Upgrade | None = None
        """Set when another protocol is asked for."""
        self._held: list[bytes] = []
        """Body read before there was a connection; kept for a repetition while the whole request is in it."""
        self._keeps_request = False
        """`_held` has all of the body so far, though it has been sent."""
        self._trailers = NO_TRAILERS
        self._is_replayable = False
        self._attempts = 0
        self._is_http2 = False
        """Towards the endpoint."""
        self._tried: list[EndpointRef] | None = None
        relay.counters.in_flight += 1

    @property
    def id_octets(self) -> bytes:
        """The request's id."""
        return id_in(self.own_fields) if self.own_fields else self._id

    @property
    def traceparent(self) -> bytes:
        """The W3C trace that it belongs to, as the endpoint learns it."""
        return traceparent_in(self.own_fields) if self.own_fields else self._traceparent

    @property
    def request_id(self) -> str:
        """What the caller, the endpoint and whoever looks call this request."""
        return self.id_octets.decode("latin-1")

    @property
    def trace_id(self) -> str:
        """The trace that it belongs to; empty: none."""
        return trace_id(self.traceparent)

    @property
    def protocol(self) -> str:
        """What it counts as."""
        upgrade = self.upgrade
        return upgrade.label if upgrade is not None and upgrade.is_switched else self.judged.protocol

    def whole(self) -> Judged:
        """What was judged, with all that the head says. `judged` has of one among many alike what is common to them."""
        if self.begun:
            self.judged = self.judged.read_again(self.octets)
            self.begun = b""
        return self.judged

    def begin(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        """Authorizes, routes, connects, forwards."""
        judged = self.judged
        if judged.upgrade:
            self.upgrade = Upgrade(self, judged.upgrade)
            done = True  # whatever the caller still sends belongs to the other protocol
        self.request_done = done
        relay = self.relay
        self.identify()
        if judged.refusal is not None:
            self.answer(judged.refusal)
            return
        verdict = judged.verdict
        if isinstance(verdict, Deny):
            self.policy = verdict.by or ""
            if relay.denies(self.lane, verdict):
                self.answer(verdict.reason)
                return
            self.would_deny = verdict.reason.code
        elif verdict.by is not None:
            self.policy = verdict.by
        route = judged.route
        if route is None:
            self.answer(Reason.NO_ROUTE)
            return
        backend = pick_backend(route, getrandbits(32))
        if backend is None:
            self.answer(Reason.NO_BACKEND)
            return
        self.backend = backend
        self._held = payload
        self._trailers = trailers
        for piece in payload:
            self.bytes_in += len(piece)
        self._connect()

    def identify(self) -> None:
        """Says what the request is called from now on."""
        head = self.judged.head
        ids = self.relay.ids
        own = head.request_id
        traceparent = head.traceparent
        if own is None and not traceparent and ids.makes_traces:
            self.own_fields = ids.next_fields()
            return
        self._id = own if own is not None else ids.next_octets()
        self._traceparent = ids.next_traceparent() if not traceparent and ids.makes_traces else traceparent

    def forward(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        """More of the request's body."""
        upgrade = self.upgrade
        if upgrade is not None:
            upgrade.hold(payload, done)
            return
        for piece in payload:
            self.bytes_in += len(piece)
        self.request_done = done
        end = self.endpoint_end
        if end is None or self._keeps_request:
            self._held.extend(payload)
            self._trailers = trailers
            if end is not None and self.bytes_in > REPLAY_BYTES:
                self._forget_request()
        if end is not None:
            end.transmit(payload, done, trailers)

    def deliver(
        self, head: ResponseHead | None, wire: bytes, payload: list[bytes], done: bool, trailers: Trailers
    ) -> None:
        """A part of the answer. When it is the last, the endpoint's end has been given back already."""
        if head is not None:
            self.status = head.status
            if self._keeps_request:
                self._forget_request()
        if done and self.judged.is_grpc:
            self._read_grpc_status(head, trailers)
        for piece in payload:
            self.bytes_out += len(piece)
        end = self.endpoint_end
        if not self.caller.deliver(head, wire, payload, done, trailers) and end is not None:
            end.pause_answer()

    def move_request(self) -> None:
        """What is left of the request's body goes on unread, if it goes on as it comes."""
        end = self.endpoint_end
        if end is not None and self.upgrade is None and not self._keeps_request:
            sink = end.request_wire()
            if sink is not None:
                self.caller.move_request(sink)

    def on_connected(self, end: EndpointEnd) -> None:
        """A connection that was dialled for this exchange is there."""
        if self.is_over:
            end.abandon()
            return
        if not self._attach(end):
            return  # its failure is told at the end of the turn
        if not self.request_done:
            self.caller.resume_request()

    def on_connect_failed(self) -> None:
        """The endpoint could not be reached: another one, or the end."""
        endpoint = self.endpoint
        if self.is_over or endpoint is None:
            return
        self._leave_endpoint()
        if self._tried is None:
            self._tried = []
        self._tried.append(endpoint)
        if may_reconnect(len(self._tried)):
            self._connect()
        else:
            self.answer(failure_of(self._tried))

    def on_endpoint_lost(self, nothing_received: bool, reason: Reason, reset_code: int = -1) -> None:
        """The endpoint's connection broke, or spoke no HTTP, before the answer was complete. It is closed already."""
        self.reset_code = reset_code
        end = self.endpoint_end
        self.endpoint_end = None
        upgrade = self.upgrade
        if upgrade is not None and upgrade.is_switched:
            upgrade.lose(None if reason is Reason.UPSTREAM_RESET else reason)
            return
        if end is not None and end.was_used and reason is Reason.UPSTREAM_RESET:
            method = self.judged.head.method
            if may_retry(method, nothing_received and self.status == 0, self._is_replayable, self._attempts):
                self._count_retry("stale")
                endpoint = self.endpoint
                if endpoint is not None:
                    self.relay.connector.dial(endpoint, self._is_http2, self)
                    return
        if self.status == 0:
            self.answer(reason)
        else:
            self.break_off(reason)

    def on_refused(self) -> None:
        """The endpoint did not look at the stream: whatever was asked may be asked once more."""
        self.endpoint_end = None
        if self.status == 0 and may_retry_refused(self._keeps_request or self._is_replayable, self._attempts):
            self._count_retry("refused")
            self._leave_endpoint()
            self._connect()
        elif self.status == 0:
            self.answer(Reason.UPSTREAM_RESET)
        else:
            self.break_off(Reason.UPSTREAM_RESET)

    def break_off(self, reason: Reason) -> None:
        """The rest of a begun answer does not come, does not come in time, or is not waited for."""
        upgrade = self.upgrade
        if upgrade is not None and upgrade.is_switched:
            upgrade.lose(reason)
            return
        self.reason = reason
        self._set_grpc_status(reason)
        self.finish(TRUNCATED)
        self.caller.break_off()

    def shed(self) -> None:
        """Ends: the process holds more for slow readers than it may."""
        if self.status == 0:
            self.answer(Reason.OVERLOADED)
        else:
            self.break_off(Reason.OVERLOADED)

    def on_caller_gone(self) -> None:
        """The caller left before its answer was complete."""
        upgrade = self.upgrade
        if upgrade is not None and upgrade.is_switched:
            upgrade.lose(None)
        else:
            self.finish(ABORTED)

    def answer(self, reason: Reason) -> None:
        """Answers by itself and ends."""
        if self.is_over:
            return
        self.reason = reason
        self.status = reason.status
        self._set_grpc_status(reason)
        lane = self.lane
        self.relay.counters.answer(lane.source, lane.destination, reason.code)
        self.relay.refusals.remember(lane, self.request_id, self.judged.head, reason, self.policy, self.trace_id)
        self.finish(reason.status // 100 - 1)
        self.caller.answer(reason, self.request_id)

    def complete(self) -> None:
        """The caller has all of the answer."""
        self.finish(class_of(self.grpc_status) if self.judged.is_grpc else self.status // 100 - 1)

    def finish(self, response_class: int) -> None:
        """Ends: counted, the endpoint's end abandoned if it is still held. Idempotent."""
        if self.is_over:
            return
        self.is_over = True
        self.response_class = response_class
        if response_class == ABORTED and self.judged.is_grpc:
            self.grpc_status = CANCELLED
        relay = self.relay
        now = relay.dispatcher.now
        self.ended = now
        counters = relay.counters
        counters.in_flight -= 1
        end = self.endpoint_end
        if end is not None:
            self.endpoint_end = None
            end.abandon()
        if self.endpoint is not None:
            self._leave_endpoint()
        backend = self.backend
        name = backend.name if backend is not None else ""
        upgrade = self.upgrade
        pair = self.judged.pairs.get(name) if upgrade is None or not upgrade.is_switched else None
        if pair is None:
            lane = self.lane
            route = self.judged.route
            pair = counters.pair(
                lane.source,
                lane.destination,
                backend.version if backend is not None else "",
                route.name if route is not None else "",
                self.protocol,
            )
            if upgrade is None or not upgrade.is_switched:
                self.judged.pairs[name] = pair
        counters.finish(pair, response_class, now - self.started, self.bytes_in, self.bytes_out, self.grpc_status)
        if upgrade is not None:
            upgrade.on_over()
        log = relay.access_log
        log.due -= 1
        if log.due <= 0 or is_failure(response_class) or self.reason is not None or self.would_deny:
            log.note(self)
        if relay.taps:
            for tap in relay.taps:
                tap(self)
        if upgrade is not None:
            self.upgrade = None  # the two hold each other

    def give_back(self) -> None:
        """The answer is complete: the endpoint's end goes back before the caller has read all."""
        self.endpoint_end = None
        self._leave_endpoint()

    def resume_endpoint(self) -> None:
        """The caller takes more of the answer."""
        if self.endpoint_end is not None:
            self.endpoint_end.resume_answer()

    def _connect(self) -> None:
        backend = self.backend
        if backend is None:
            return
        roll = getrandbits(32) if len(backend.endpoints) > 1 else 0
        endpoint = pick_endpoint(backend, roll, self._tried)
        if endpoint is None:
            self.answer(failure_of(self._tried))
            return
        if self._tried:
            self._count_retry("connect")
        self.endpoint = self.asked = endpoint
        endpoint.in_flight += 1
        connector = self.relay.connector
        looks_again = not is_repeatable(self.judged.head.method, self.request_done)
        speaks = backend.protocol
        is_http2 = self._is_http2 = self.caller.is_http2 if speaks is _DETECT else speaks is _HTTP2
        while (end := connector.take(endpoint, is_http2, looks_again)) is not None:
            if self._attach(end):
                return
            self.endpoint_end = None
            end.abandon()
        if not self.request_done:
            self.caller.pause_request()
        connector.dial(endpoint, is_http2, self)

    def _attach(self, end: EndpointEnd) -> bool:
        """Sends the request. False: the connection broke before anything was sent, so another one may be tried."""
        self._attempts += 1
        self.endpoint_end = end
        payload = self._held
        if not end.begin(self, payload, self.request_done, self._trailers):
            self._attempts -= 1
            return False
        self._is_replayable = self.request_done
        if not self.request_done:
            self._keeps_request = end.keeps_request and self.bytes_in <= REPLAY_BYTES
            if not self._keeps_request:
                self._held = []
        return True

    def _forget_request(self) -> None:
        """What has been sent will not be sent again."""
        self._keeps_request = False
        self._held = []

    def _read_grpc_status(self, head: ResponseHead | None, trailers: Trailers) -> None:
        """The status of a call whose answer is complete: in its trailers, or in the head of one that has nothing else."""
        value: bytes | None = None
        for name, said in trailers:
            if name == b"grpc-status":
                value = said
        if value is None and head is not None and not trailers:
            value = head.value(b"grpc-status")
        self.grpc_status = status_of(value, self.status)

    def _set_grpc_status(self, reason: Reason) -> None:
        if self.judged.is_grpc:
            self.grpc_status = reason.grpc_status if self.reset_code < 0 else status_of_reset(self.reset_code)

    def _leave_endpoint(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None:
            endpoint.in_flight -= 1
            self.endpoint = None

    def _count_retry(self, cause: str) -> None:
        self.retries += 1
        backend = self.backend
        version = backend.version if backend is not None else ""
        self.relay.counters.retry(self.lane.source, self.lane.destination, version, cause)
