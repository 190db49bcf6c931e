"""An HTTP/2 connection of a caller: every stream is an exchange of its own."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.connection import SERVER
from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.encoder import Known
from tulle.http.h2.field import Field
from tulle.http.h2.frames import ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR
from tulle.http.h2.sending import response_fields, trailer_fields
from tulle.http.h2.stream import Stream
from tulle.http.head import Refusal, RequestHead, ResponseHead
from tulle.proxy.arrival import Connection
from tulle.proxy.counters import ABORTED
from tulle.proxy.exchange import Exchange
from tulle.proxy.grpc import is_grpc_type
from tulle.proxy.http2 import Http2Link, LinkOwner
from tulle.proxy.http2_call import Http2Call, answer_unserved
from tulle.proxy.http2_connect import is_plain_connect, serve_connect
from tulle.proxy.judged import Judged
from tulle.proxy.judging import judge_head
from tulle.proxy.lane import Lane
from tulle.proxy.own_answers import reason_of_refusal
from tulle.proxy.passage import Passage
from tulle.proxy.relay import Relay
from tulle.proxy.stream import NO_TRAILERS, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.wheel import NEVER, Alarm
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

FAREWELL: Final = 5.0
"""Seconds in which a peer says that it has seen our GOAWAY."""
FAR: Final = 10.0
"""Seconds beyond which an alarm for a caller's deadline waits to be set: it outlives the connection."""
MAX_REMEMBERED_BYTES: Final = 4_096
"""Octets of a head's fields, 32 more for each, up to which its treatment is remembered: longer ones seldom come again."""
MAX_REMEMBERED: Final = 64
"""Heads of either direction whose treatment a connection remembers; beyond, all are forgotten."""
NO_KNOWN: Final = Known([])


@final
class Http2Downstream(LinkOwner):
    """Opens an exchange for each stream, under the lane's policies as they are when it opens."""

    def __init__(self, relay: Relay, connection: Connection, lane: Lane, wire: Wire) -> None:
        self.relay = relay
        self.link = Http2Link(relay.dispatcher, self)
        limits = relay.forward_limits if lane.is_forward else relay.http2_limits
        self.codec = Codec(SERVER, self, relay.fields, limits, relay.dispatcher.now)
        self.connection = connection
        self._lane = lane
        self._judged: dict[RequestHead, Judged] = {}
        self._answers: dict[ResponseHead, Known] = {}
        self._trailers = NO_TRAILERS
        """The last that were sent; who speaks with the endpoint gives the same list when it can."""
        self._known_trailers = NO_KNOWN
        self._precise = NEVER
        """When the next deadline that must be met on time is looked for."""
        self._farewell = NEVER
        """Until when the peer may answer that it knows of our going; never: it has, or need not."""
        self.link.deadline = relay.dispatcher.now + relay.head_timeout
        self.link.head_timeout = relay.head_timeout
        wire.pass_to(self.link)
        self.link.attach(self.codec, wire)

    def on_output(self) -> None:
        self.link.gather()

    def on_request(self, stream: Stream, head: RequestHead, done: bool) -> None:
        relay = self.relay
        if self._lane.tables is not relay.tables:
            self.on_link_renewed()
        lane = self._lane
        if lane.is_forward:
            lane = relay.lane_named(self.connection.arrival, head)
            if is_plain_connect(head):
                serve_connect(self, lane, stream, head, done)
                return
        judged = self._judged.get(head)
        if judged is None:
            judged = judge_head(relay, lane, head)
            if lane.is_forward and is_https(head):
                judged.refusal = Reason.UNSUPPORTED
            if self.codec.is_head_kept and self.codec.head_bytes <= MAX_REMEMBERED_BYTES:
                if len(self._judged) >= MAX_REMEMBERED:
                    self._judged.clear()
                self._judged[head] = judged
        call = Http2Call(self, stream)
        stream.owner = call
        exchange = Exchange(relay, lane, judged, call)
        call.exchange = exchange
        is_whole = done or bool(judged.upgrade)
        self.expect(
            call, exchange.started + (judged.patience(relay.request_timeout) if is_whole else relay.idle_timeout)
        )
        if judged.timeout >= 0.0:
            call.limit = exchange.started + judged.timeout
            self._meet(call.limit)
        if relay.is_overloaded():
            exchange.request_done = done
            exchange.identify()
            exchange.answer(Reason.OVERLOADED)
        else:
            exchange.begin([], done, NO_TRAILERS)

    def on_refused(self, stream: Stream, refusal: Refusal) -> None:
        relay = self.relay
        reason = reason_of_refusal(refusal.status)
        is_grpc = is_grpc_type(refusal.content_type)
        grpc_status = reason.grpc_status if is_grpc else -1
        protocol = "grpc" if is_grpc else "http2"
        request_id = relay.refuse_unread(self._lane, protocol, refusal.status, reason, grpc_status)
        if not stream.is_closed:
            answer_unserved(self, stream, reason, request_id, refusal.status, grpc_status)

    def on_turned_away(self) -> None:
        self.relay.counters.turn_away(self._lane.source, self._lane.destination)

    def on_data(self, stream: Stream, payload: bytes, done: bool) -> None:
        call = stream.owner
        exchange = call.exchange if isinstance(call, Http2Call) else None
        tunnel = call.tunnel if isinstance(call, Http2Call) else None
        if isinstance(call, Http2Call) and tunnel is not None:
            self._carry(call, tunnel, payload, done)
        elif isinstance(call, Http2Call) and exchange is not None and not call.is_answered:
            self._note_progress(call, done)
            call.unconsumed += len(payload)
            exchange.forward([payload] if payload else [], done, NO_TRAILERS)
            if not call.is_paused:
                call.consume()
        elif isinstance(call, Passage):
            call.on_data(payload, done)
        else:
            self.codec.consume(stream, len(payload))
            if isinstance(call, Http2Call):
                call.drop(len(payload))
            self.note_end()

    def on_trailers(self, stream: Stream, trailers: list[Field]) -> None:
        call = stream.owner
        if isinstance(call, Http2Call) and call.tunnel is not None:
            self._carry(call, call.tunnel, b"", True)
        elif isinstance(call, Http2Call) and call.exchange is not None and not call.is_answered:
            self._note_progress(call, True)
            call.exchange.forward([], True, [field.pair for field in trailers])
        elif isinstance(call, Passage):
            call.on_data(b"", True)
        else:
            self.note_end()

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> None:
        call = stream.owner
        if isinstance(call, (Http2Call, Passage)):
            call.lose()

    def on_writable(self, stream: Stream) -> None:
        call = stream.owner
        if isinstance(call, Passage):
            call.on_writable()
            self.note_end()
        if not isinstance(call, Http2Call):
            return
        if call.exchange is None:
            call.linger()
            self.note_end()
            return
        self.expect(call, self.relay.dispatcher.now + self.relay.idle_timeout)
        if call.is_answered:
            call.end()
        else:
            call.exchange.resume_endpoint()

    def on_ready(self) -> None:
        pass

    def on_goaway(self, code: int) -> None:
        self._farewell = NEVER
        self._end_if_idle()

    def on_pong(self) -> None:
        """It knows that we go: no stream comes any more."""
        self._farewell = NEVER
        self._end_if_idle()

    def on_failed(self, code: int, detail: str) -> None:
        self._lose_calls()
        self.connection.closed()
        self.link.finish()

    def on_link_end(self) -> None:
        self._lose_calls()
        self.connection.closed()
        self.link.close()

    def on_link_idle(self) -> None:
        self._farewell = NEVER
        self.codec.drain()
        self._end_if_idle()

    def on_link_retired(self) -> None:
        codec = self.codec
        if codec.is_going_away:
            return
        codec.drain()
        if codec.is_draining:
            self._farewell = self.relay.dispatcher.now + FAREWELL
            self.link.deadline = min(self.link.deadline, self._farewell)

    def on_link_cut(self, reason: Reason) -> None:
        for call in self._calls():
            exchange = call.exchange
            if exchange is None:
                continue
            if exchange.status == 0:
                exchange.answer(reason)
            else:
                exchange.break_off(reason)
        self._lose_calls()
        self._leave(NO_ERROR)

    def on_link_renewed(self) -> None:
        self._lane = self.relay.lane(self.connection.arrival)
        self._judged.clear()

    def on_link_defect(self) -> None:
        for call in self._calls():
            if call.exchange is not None and call.exchange.status == 0:
                call.exchange.answer(Reason.INTERNAL)
        self._lose_calls()
        self._leave(INTERNAL_ERROR)

    def on_link_deadline(self, now: float) -> None:
        if self.codec.head_since + self.link.head_timeout <= now:
            self.relay.refuse_unread(self._lane, "http2", Reason.REQUEST_TIMEOUT.status, Reason.REQUEST_TIMEOUT)
            self.codec.close(ENHANCE_YOUR_CALM)
            self.on_failed(ENHANCE_YOUR_CALM, "a head that does not end")
            return
        self._look(now)
        if self._farewell <= now:
            self.on_pong()  # it does not answer
            if not self.link.is_open:
                return
        elif self._farewell < NEVER:
            self.link.deadline = min(self.link.deadline, self._farewell)
        streams = self.codec.streams
        if streams:
            return
        self._judged.clear()
        self._answers.clear()
        self._trailers = NO_TRAILERS
        self._known_trailers = NO_KNOWN
        self.codec.forget_heads()
        idle_since = self.link.last_read
        if not self.codec.is_ready or now - idle_since >= self.relay.idle_timeout:
            if not self.codec.is_ready:
                self.relay.count_unread(self._lane, "http2", ABORTED, None)
            self._leave(NO_ERROR)
        else:
            self.link.deadline = min(self.link.deadline, idle_since + self.relay.idle_timeout)

    def expect(self, call: Http2Call, deadline: float) -> None:
        """The call's next deadline."""
        call.deadline = deadline
        link = self.link
        link.deadline = min(link.deadline, deadline)

    def trailers_of(self, trailers: Trailers) -> Known:
        """The trailers as fields."""
        if trailers is not self._trailers:
            self._trailers = trailers
            self._known_trailers = Known(trailer_fields(trailers, self.relay.fields))
        return self._known_trailers

    def fields_of(self, head: ResponseHead) -> Known:
        """The answer's head as fields."""
        found = self._answers.get(head)
        if found is None:
            found = Known(response_fields(head, self.relay.fields))
            if sum([field.size for field in found.fields]) <= MAX_REMEMBERED_BYTES:
                if len(self._answers) >= MAX_REMEMBERED:
                    self._answers.clear()
                self._answers[head] = found
        return found

    def note_end(self) -> None:
        """A stream is over."""
        if self.codec.is_going_away:
            self._end_if_idle()

    def _carry(self, call: Http2Call, tunnel: Upgrade, payload: bytes, done: bool) -> None:
        self.expect(call, self.relay.dispatcher.now + self.relay.idle_timeout)
        call.unconsumed += len(payload)
        tunnel.from_caller([payload] if payload else [], done)
        if not call.is_paused:
            call.consume()

    def _note_progress(self, call: Http2Call, done: bool) -> None:
        relay = self.relay
        exchange = call.exchange
        seconds = relay.idle_timeout
        if done and exchange is not None and exchange.status == 0:
            seconds = exchange.judged.patience(relay.request_timeout)
        self.expect(call, relay.dispatcher.now + seconds)

    def _meet(self, deadline: float) -> None:
        """Looks at the calls when this time has come, not a wheel's revolution later; what is far off again before."""
        if deadline > self.relay.dispatcher.now + FAR:
            self.link.deadline = min(self.link.deadline, deadline - FAR / 2)
        elif deadline < self._precise:
            self._precise = deadline
            self.relay.dispatcher.soon(Alarm(deadline, self._on_precise), deadline)

    def _on_precise(self, now: float) -> None:
        self._precise = NEVER
        if self.link.is_open:
            self._look(now)

    def _look(self, now: float) -> None:
        """Ends the calls whose time is over, and finds the next deadlines."""
        earliest = NEVER
        precise = NEVER
        for stream in list(self.codec.streams.values()):
            call = stream.owner
            if not isinstance(call, Http2Call):
                continue
            if call.deadline <= now or call.limit <= now:
                call.on_deadline(now)
            if not stream.is_closed:
                earliest = min(earliest, call.deadline)
                precise = min(precise, call.limit)
        if earliest == NEVER:
            earliest = self.link.last_read + self.relay.idle_timeout
        self.link.deadline = min(earliest, self.codec.head_since + self.link.head_timeout)
        if precise < NEVER:
            self._meet(precise)

    def _end_if_idle(self) -> None:
        if not self.codec.streams and self.link.is_open and self._farewell == NEVER:
            self.connection.closed()
            self.link.finish()

    def _leave(self, code: int) -> None:
        """Says the last word; the connection closes once it has gone out."""
        self.codec.close(code)
        self.connection.closed()
        self.link.finish()

    def _calls(self) -> list[Http2Call]:
        """Those of all streams, as they are now: what is done to one may end it."""
        calls: list[Http2Call] = []
        for stream in self.codec.streams.values():
            call = stream.owner
            if isinstance(call, Http2Call):
                calls.append(call)
        return calls

    def _lose_calls(self) -> None:
        for stream in list(self.codec.streams.values()):
            call = stream.owner
            if isinstance(call, (Http2Call, Passage)):
                call.lose()


def is_https(head: RequestHead) -> bool:
    """What it asks for is to be had by TLS only."""
    return any(field.name.octets == b":scheme" and field.value.lower() == b"https" for field in head.came or [])
