"""One stream: who calls, what is asked, where it goes, how far it is. Connections of either side come and go around it."""

from __future__ import annotations

from random import getrandbits
from typing import Final, final

from tulle.core.backends import BackendTable, EndpointRef
from tulle.core.balance import pick_backend, pick_endpoint
from tulle.core.retry import is_repeatable, may_reconnect, may_retry
from tulle.core.verdict import Deny
from tulle.http.head import ResponseHead
from tulle.proxy.counters import ABORTED, TRUNCATED
from tulle.proxy.relay import Judged, Lane, Relay
from tulle.proxy.stream import CallerEnd, EndpointEnd, Trailers
from tulle.wire.reason import Reason

NO_TRAILERS: Final[Trailers] = []


@final
class Exchange:
    """A request and its answer. Ends exactly once, counted in exactly one class."""

    def __init__(self, relay: Relay, lane: Lane, judged: Judged, caller: CallerEnd) -> None:
        self.relay = relay
        self.lane = lane
        self.judged = judged
        self.caller = caller
        self.endpoint_end: EndpointEnd | None = None
        self.backend: BackendTable | None = None
        self.endpoint: EndpointRef | None = None
        """The one being tried or used; counted in its `in_flight`."""
        self.started = relay.dispatcher.now
        self.ended = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.status = 0
        """What the caller got; 0 before."""
        self.reason: Reason | None = None
        """Set when the answer is our own."""
        self.response_class = ABORTED
        """Index into CLASSES; right once it is over."""
        self.policy = ""
        """The policy that decided, when one did."""
        self.id_octets = b""
        """The request's id."""
        self.request_done = False
        self.is_over = False
        self._held: list[bytes] = []
        """Body read before there was a connection; kept for a repetition while the whole request is in it."""
        self._trailers = NO_TRAILERS
        self._is_replayable = False
        self._attempts = 0
        self._tried: list[EndpointRef] | None = None
        relay.counters.in_flight += 1

    @property
    def request_id(self) -> str:
        """What the caller, the endpoint and whoever looks call this request."""
        return self.id_octets.decode("latin-1")

    def begin(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        """Authorizes, routes, connects, forwards."""
        judged = self.judged
        self.request_done = done
        relay = self.relay
        self.id_octets = judged.id_octets(relay)
        if judged.refusal is not None:
            self.answer(judged.refusal)
            return
        verdict = judged.verdict
        if isinstance(verdict, Deny):
            lane = self.lane
            self.policy = verdict.by or ""
            is_shadow = lane.tables.shadow
            relay.counters.deny(lane.source, lane.destination, self.policy, verdict.reason.code, is_shadow)
            if not is_shadow:
                self.answer(verdict.reason)
                return
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

    def forward(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        """More of the request's body."""
        for piece in payload:
            self.bytes_in += len(piece)
        self.request_done = done
        end = self.endpoint_end
        if end is not None:
            end.transmit(payload, done, trailers)
        else:
            self._held.extend(payload)
            self._trailers = trailers

    def deliver(
        self, head: ResponseHead | None, wire: bytes, payload: list[bytes], done: bool, trailers: Trailers
    ) -> None:
        """A part of the answer. When it is the last, the endpoint's end has been given back already."""
        if head is not None:
            self.status = head.status
        for piece in payload:
            self.bytes_out += len(piece)
        end = self.endpoint_end
        if not self.caller.deliver(head, wire, payload, done, trailers) and end is not None:
            end.pause_answer()

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
            self.answer(Reason.CONNECT_FAILED)

    def on_endpoint_lost(self, nothing_received: bool, reason: Reason) -> None:
        """The endpoint's connection broke, or spoke no HTTP, before the answer was complete. It is closed already."""
        end = self.endpoint_end
        self.endpoint_end = None
        if end is not None and end.was_used and reason is Reason.UPSTREAM_RESET:
            method = self.judged.head.method
            if may_retry(method, nothing_received and self.status == 0, self._is_replayable, self._attempts):
                self._count_retry("stale")
                endpoint = self.endpoint
                if endpoint is not None:
                    self.relay.connector.dial(endpoint, self)
                    return
        if self.status == 0:
            self.answer(reason)
        else:
            self.reason = reason
            self.finish(TRUNCATED)
            self.caller.break_off()

    def break_off(self, reason: Reason) -> None:
        """The rest of a begun answer does not come in time, or is not waited for."""
        self.reason = reason
        self.finish(TRUNCATED)
        self.caller.break_off()

    def on_caller_gone(self) -> None:
        """The caller left before its answer was complete."""
        self.finish(ABORTED)

    def answer(self, reason: Reason) -> None:
        """Answers by itself and ends."""
        if self.is_over:
            return
        self.reason = reason
        self.status = reason.status
        lane = self.lane
        self.relay.counters.answer(lane.source, lane.destination, reason.code)
        self.relay.refusals.remember(lane, self.request_id, self.judged.head, reason, self.policy)
        self.finish(reason.status // 100 - 1)
        self.caller.answer(reason, self.request_id)

    def complete(self) -> None:
        """The caller has all of the answer."""
        self.finish(self.status // 100 - 1)

    def finish(self, response_class: int) -> None:
        """Ends: counted, the endpoint's end abandoned if it is still held. Idempotent."""
        if self.is_over:
            return
        self.is_over = True
        self.response_class = response_class
        relay = self.relay
        now = relay.dispatcher.now
        self.ended = now
        counters = relay.counters
        counters.in_flight -= 1
        end = self.endpoint_end
        if end is not None:
            self.endpoint_end = None
            end.abandon()
        self._leave_endpoint()
        backend = self.backend
        name = backend.name if backend is not None else ""
        pair = self.judged.pairs.get(name)
        if pair is None:
            lane = self.lane
            route = self.judged.route
            pair = counters.pair(
                lane.source,
                lane.destination,
                backend.version if backend is not None else "",
                route.name if route is not None else "",
                "http",
            )
            self.judged.pairs[name] = pair
        counters.finish(pair, response_class, now - self.started, self.bytes_in, self.bytes_out)
        if relay.taps:
            for tap in relay.taps:
                tap(self)

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
        endpoint = pick_endpoint(backend, getrandbits(32), self._tried)
        if endpoint is None:
            self.answer(Reason.CONNECT_FAILED if self._tried else Reason.NO_HEALTHY_ENDPOINT)
            return
        if self._tried:
            self._count_retry("connect")
        self.endpoint = endpoint
        endpoint.in_flight += 1
        connector = self.relay.connector
        looks_again = not is_repeatable(self.judged.head.method, self.request_done)
        while (end := connector.take(endpoint, looks_again)) is not None:
            if self._attach(end):
                return
            self.endpoint_end = None
            end.abandon()
        if not self.request_done:
            self.caller.pause_request()
        connector.dial(endpoint, self)

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
            self._held = []
        return True

    def _leave_endpoint(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None:
            endpoint.in_flight -= 1
            self.endpoint = None

    def _count_retry(self, cause: str) -> None:
        backend = self.backend
        version = backend.version if backend is not None else ""
        self.relay.counters.retry(self.lane.source, self.lane.destination, version, cause)
