"""An HTTP/2 connection of a caller: every stream is an exchange of its own."""

from __future__ import annotations

import socket
from typing import Final, final

from tulle.http.h2.connection import SERVER
from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.encoder import Known
from tulle.http.h2.field import Field
from tulle.http.h2.frames import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from tulle.http.h2.sending import response_fields, trailer_fields
from tulle.http.h2.stream import Stream
from tulle.http.head import Refusal, RequestHead, ResponseHead
from tulle.http.upgrade import connected_fields
from tulle.proxy.arrival import Connection
from tulle.proxy.counters import ABORTED
from tulle.proxy.exchange import Exchange
from tulle.proxy.grpc import is_grpc_type
from tulle.proxy.http2 import Http2Link, LinkOwner
from tulle.proxy.judged import Judged
from tulle.proxy.judging import judge_connect, judge_head, refuse_head
from tulle.proxy.lane import Lane
from tulle.proxy.own_answers import grpc_trailers, own_answer_fields, reason_of_refusal
from tulle.proxy.passage import Passage
from tulle.proxy.relay import Relay
from tulle.proxy.stream import NO_TRAILERS, Asker, CallerEnd, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.wheel import NEVER, Alarm
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

LINGER: Final = 1.0
"""Seconds that a request may still take to end after its answer."""
MAX_DROPPED: Final = 65_536
"""Octets that it may still send."""
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
        lane = self._lane
        if lane.tables is not relay.tables:
            lane = self._lane = relay.lane(self.connection.arrival)
            self._judged.clear()
        if lane.is_forward:
            lane = relay.lane_named(self.connection.arrival, head)
            if is_plain_connect(head):
                self._connect(lane, stream, head, done)
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
        if relay.is_overloaded:
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
            fields, body = own_answer_fields(relay.fields, reason, request_id, True, refusal.status, grpc_status)
            self.codec.send_head(stream, fields, not body)
            self.codec.send_data(stream, body, True)
            call = Http2Call(self, stream)
            call.is_answered = True
            stream.owner = call
            if stream.queued:
                self.expect(call, relay.dispatcher.now + relay.idle_timeout)
            else:
                call.linger()

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

    def _connect(self, lane: Lane, stream: Stream, head: RequestHead, done: bool) -> None:
        """Serves CONNECT to a host: the stream is another connection from now on, or answered that it is not."""
        relay = self.relay
        arrival = self.connection.arrival
        port = lane.port
        refused = judge_connect(relay, lane, head)
        if refused is None and relay.passages.is_full(arrival):
            refused = refuse_head(lane, head, Reason.OVERLOADED)
        if refused is not None or port is None:
            if refused is not None:
                call = Http2Call(self, stream)
                stream.owner = call
                exchange = call.exchange = Exchange(relay, lane, refused, call)
                exchange.begin([], True, NO_TRAILERS)
            return
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        speaker = relay.passages.open(arrival, port, far, Http2Asker(self, stream, lane, head))
        inner = speaker.line
        if inner is None:
            return
        passage = Passage(relay, self.link, self.codec, stream, near, inner)
        stream.owner = passage
        passage.start()
        speaker.on_turn()
        if done:
            passage.on_data(b"", True)

    def establish(self, stream: Stream) -> None:
        """What CONNECT asked for is there."""
        self.codec.send_head(stream, [self.relay.fields.field(b":status", b"200")], False)

    def decline(self, stream: Stream, lane: Lane, head: RequestHead, reason: Reason, policy: str) -> None:
        """CONNECT came to nothing: says so."""
        relay = self.relay
        passage = stream.owner
        if isinstance(passage, Passage):
            passage.let_go()
        if stream.is_closed:
            return
        own = head.request_id
        request_id = own.decode("latin-1") if own is not None else relay.ids.next()
        relay.refusals.remember(lane, request_id, head, reason, policy)
        fields, body = own_answer_fields(relay.fields, reason, request_id, True)
        self.codec.send_head(stream, fields, not body)
        self.codec.send_data(stream, body, True)
        call = Http2Call(self, stream)
        call.is_answered = True
        stream.owner = call
        call.linger()


@final
class Http2Asker(Asker):
    """A caller that waits for the answer to CONNECT."""

    def __init__(self, owner: Http2Downstream, stream: Stream, lane: Lane, head: RequestHead) -> None:
        self._owner = owner
        self._stream = stream
        self._lane = lane
        self._head = head

    def established(self) -> None:
        self._owner.establish(self._stream)

    def refused(self, reason: Reason, policy: str) -> None:
        self._owner.decline(self._stream, self._lane, self._head, reason, policy)


@final
class Http2Call(CallerEnd):
    """The caller's end of one stream."""

    def __init__(self, owner: Http2Downstream, stream: Stream) -> None:
        super().__init__()
        self.is_http2 = True
        self.exchange: Exchange | None = None
        """Until the stream is over."""
        self.is_answered = False
        """All of the answer has been given to the codec; some may wait for a window."""
        self.is_paused = False
        self.unconsumed = 0
        """Octets of the request that have not gone on yet."""
        self.dropped = 0
        """Octets of a request that came after its answer."""
        self.limit = NEVER
        """When the caller gives up (`grpc-timeout`)."""
        self.tunnel: Upgrade | None = None
        """What the stream became, if it did."""
        self._owner = owner
        self._codec = owner.codec
        self._stream = stream

    def inform(self, head: ResponseHead) -> None:
        self._codec.send_head(self._stream, self._owner.fields_of(head), False)

    def deliver(
        self, head: ResponseHead | None, wire: bytes, payload: list[bytes], done: bool, trailers: Trailers
    ) -> bool:
        owner = self._owner
        codec = self._codec
        stream = self._stream
        ends_bare = done and not trailers
        if self.tunnel is not None:
            return self._give(payload, done)
        if head is not None:
            codec.send_head(stream, owner.fields_of(head), ends_bare and not payload)
        is_sent = True
        last = len(payload) - 1
        for index, piece in enumerate(payload):
            is_sent = codec.send_data(stream, piece, ends_bare and index == last)
        if done:
            if trailers:
                codec.send_trailers(stream, owner.trailers_of(trailers))
            elif head is None and not payload:
                is_sent = codec.send_data(stream, b"", True)
            self.is_answered = True
            if stream.queued == 0:
                self.end()
        elif self.exchange is not None:
            owner.expect(self, owner.relay.dispatcher.now + owner.relay.idle_timeout)
        owner.link.flush_if_large()
        return self._may_hold() and is_sent

    def answer(self, reason: Reason, request_id: str) -> None:
        exchange = self.exchange
        self.exchange = None
        self.is_answered = True
        if exchange is None:
            return
        codec = self._codec
        stream = self._stream
        judged = exchange.judged
        fields, body = own_answer_fields(
            self._owner.relay.fields, reason, request_id, judged.head.method != "HEAD", 0, exchange.grpc_status
        )
        codec.send_head(stream, fields, not body)
        if body:
            codec.send_data(stream, body, True)
        self.linger()
        self._owner.note_end()

    def break_off(self) -> None:
        exchange = self.exchange
        self.exchange = None
        stream = self._stream
        code = INTERNAL_ERROR if self.tunnel is None else CANCEL  # RFC 8441, 5
        self.limit = NEVER
        if exchange is not None:
            reason = exchange.reason
            if reason is not None and exchange.grpc_status >= 0 and not stream.queued:
                fields = grpc_trailers(self._owner.relay.fields, reason, exchange.grpc_status)
                self._codec.send_trailers(stream, fields)
                self.linger()
                self._owner.note_end()
                return
            elif exchange.reset_code not in (-1, NO_ERROR, REFUSED_STREAM):
                code = exchange.reset_code
        self._codec.reset(stream, code)
        self._owner.note_end()

    def switch(self, upgrade: Upgrade, protocol: bytes, head: ResponseHead) -> CallerEnd | None:
        owner = self._owner
        self.tunnel = upgrade
        upgrade.belong(owner.connection, protocol)
        self._codec.send_head(self._stream, connected_fields(head, owner.relay.fields), False)
        owner.expect(self, owner.relay.dispatcher.now + owner.relay.idle_timeout)
        return self

    def end_tunnel(self) -> None:
        self.exchange = None
        self._owner.note_end()

    def pause_request(self) -> None:
        self.is_paused = True

    def resume_request(self) -> None:
        self.is_paused = False
        self.consume()

    def consume(self) -> None:
        """What was received has gone on."""
        octets = self.unconsumed
        if octets:
            self.unconsumed = 0
            self._codec.consume(self._stream, octets)

    def lose(self) -> None:
        """The caller is gone, or wants no answer any more."""
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.on_caller_gone()

    def end(self) -> None:
        """The caller has been given all of the answer."""
        exchange = self.exchange
        self.exchange = None
        if exchange is not None:
            exchange.complete()
        self.linger()
        self._owner.note_end()

    def linger(self) -> None:
        """The answer is complete and the rest of the request unwanted (RFC 9113, 8.1). A reset at once would reach curl together with the
        answer, and curl shows none; so a request that is about to end may."""
        stream = self._stream
        self.limit = NEVER
        if stream.is_closed:
            stream.owner = None  # else only the collector could free the two
        elif not stream.is_remote_done and not stream.queued:
            self._owner.expect(self, self._owner.relay.dispatcher.now + LINGER)

    def drop(self, octets: int) -> None:
        """More of a request that nobody reads."""
        self.dropped += octets
        stream = self._stream
        if self.dropped > MAX_DROPPED and not stream.queued:
            self._codec.reset(stream, NO_ERROR)

    def on_deadline(self, now: float) -> None:
        exchange = self.exchange
        if exchange is None:
            self._codec.reset(self._stream, CANCEL if self._stream.queued else NO_ERROR)
            self._owner.note_end()
        elif self.tunnel is not None:
            self.tunnel.lose(Reason.UPSTREAM_TIMEOUT)
        elif exchange.status == 0:
            reason = Reason.UPSTREAM_TIMEOUT if exchange.request_done else Reason.REQUEST_TIMEOUT
            exchange.answer(Reason.DEADLINE_EXCEEDED if self.limit <= now else reason)
        elif self._stream.queued:
            exchange.on_caller_gone()
            self.break_off()
        else:
            exchange.break_off(Reason.DEADLINE_EXCEEDED if self.limit <= now else Reason.UPSTREAM_TIMEOUT)

    def _give(self, payload: list[bytes], done: bool) -> bool:
        """Octets of a tunnel."""
        owner = self._owner
        is_sent = True
        for piece in payload:
            is_sent = self._codec.send_data(self._stream, piece, False)
        if done:
            self._codec.send_data(self._stream, b"", True)
        owner.expect(self, owner.relay.dispatcher.now + owner.relay.idle_timeout)
        owner.link.flush_if_large()
        return self._may_hold() and is_sent

    def _may_hold(self) -> bool:
        """False: the process holds too much already, so the stream is given up."""
        exchange = self.exchange
        if self._stream.queued == 0 or exchange is None or not self._owner.relay.is_full:
            return True
        exchange.shed()
        return False


def is_plain_connect(head: RequestHead) -> bool:
    """CONNECT to a host, not to a resource (RFC 8441)."""
    return head.method == "CONNECT" and not head.protocol


def is_https(head: RequestHead) -> bool:
    """What it asks for is to be had by TLS only."""
    return any(field.name.octets == b":scheme" and field.value.lower() == b"https" for field in head.came or [])
