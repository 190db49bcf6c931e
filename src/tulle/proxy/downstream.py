"""An HTTP/1.1 connection of a caller: frames one stream after the other, answers in the order they came."""

from __future__ import annotations

from typing import Final, final

from tulle.http.body import BodyReader
from tulle.http.forward import NOT_FORWARDED
from tulle.http.head import CHUNKED, NO_BODY, SIZED, UNTIL_CLOSE, Refusal, RequestHead, ResponseHead
from tulle.http.upgrade import switching_head
from tulle.http.write import chunk, closing, last_chunk, response_framing, write_response
from tulle.proxy.arrival import Connection
from tulle.proxy.counters import ABORTED
from tulle.proxy.exchange import Exchange
from tulle.proxy.head_reader import HeadReader
from tulle.proxy.http1_connect import Http1Asker
from tulle.proxy.judged import Judged
from tulle.proxy.judging import judge_connect, judge_head
from tulle.proxy.lane import Lane
from tulle.proxy.loop import READ_BYTES
from tulle.proxy.own_answers import reason_of_refusal, write_own_answer
from tulle.proxy.relay import Relay
from tulle.proxy.stream import NO_TRAILERS, CallerEnd, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.upgraded import UpgradedCaller
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import BULK_BYTES, Wire
from tulle.wire.reason import Reason

MAX_SERVED: Final = 32
"""Requests of one connection answered by ourselves in one turn; then it is the others' turn."""
LINGER: Final = 2.0
"""Seconds a closed connection's last octets are read and dropped, so that our answer is not lost to a reset."""
MAX_LINGER_BYTES: Final = 1 << 20


@final
class HttpDownstream(CallerEnd):
    """Reads requests, writes answers. One exchange at a time; what is pipelined waits unread or in `_buffer`."""

    def __init__(self, relay: Relay, connection: Connection, lane: Lane, wire: Wire) -> None:
        super().__init__()
        self.is_http2 = False
        self._relay = relay
        self._connection = connection
        self._lane = lane
        self._wire = wire
        self._buffer = b""
        """Octets read and not yet judged."""
        self._exchange: Exchange | None = None
        self._body: BodyReader | None = None
        """Of the request being served."""
        self._framing = NO_BODY
        """Of the answer being sent."""
        self._closes = False
        """After this answer."""
        self._is_answered = False
        """All of the answer has been written; some may still be kept."""
        self._is_reading = False
        self._is_postponed = False
        """What is in `_buffer` waits for the next turn; nothing is read until then."""
        self._lingers = False
        self._dropped = 0
        self._heads = HeadReader()
        self.deadline = relay.dispatcher.now + relay.idle_timeout

    def on_octets(self, octets: bytes) -> None:
        if self._exchange is None:
            if self._lingers:
                self._dropped += len(octets)
                if self._dropped > MAX_LINGER_BYTES:
                    self._end()
                return
            if self._buffer:
                self._buffer += octets
            else:
                self._buffer = octets
                self.deadline = self._relay.dispatcher.now + self._relay.head_timeout
            self._read_requests()
            if self._wire.is_clogged and len(self._buffer) >= self._relay.buffered_bytes:
                self._wire.pause()
            return
        body = self._body
        if body is None or body.done:
            self._buffer += octets
            if len(self._buffer) >= self._relay.buffered_bytes:
                self._wire.pause()
            return
        if self._is_answered:
            self._wire.pause()  # nobody takes the rest of this body: what waits is our answer, then the end
            return
        out: list[bytes] = []
        end = body.feed(octets, 0, out)
        if body.failed:
            self._refuse_body()
            return
        if body.done:
            self._buffer = octets[end:]
            self.deadline = self._relay.dispatcher.now + self._relay.request_timeout
            self._exchange.forward(out, True, body.trailers)
        else:
            self.deadline = self._relay.dispatcher.now + self._relay.idle_timeout
            if out:
                self._exchange.forward(out, False, NO_TRAILERS)
            if len(octets) == READ_BYTES and self._exchange is not None:
                self._exchange.move_request()

    def on_moved(self, octets: int) -> None:
        exchange = self._exchange
        body = self._body
        if exchange is None or body is None:
            return
        body.skip(octets)
        exchange.bytes_in += octets
        relay = self._relay
        if body.done:
            self.deadline = relay.dispatcher.now + relay.request_timeout
            exchange.forward([], True, NO_TRAILERS)
        else:
            self.deadline = relay.dispatcher.now + relay.idle_timeout

    def on_end(self) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.on_caller_gone()
        elif self._buffer:
            self._relay.count_unread(self._lane, "http", ABORTED, None)
        self._end()

    def on_lost(self) -> None:
        self.on_end()

    def on_defect(self) -> None:
        exchange = self._exchange
        if exchange is None:
            if self._buffer and not self._lingers:
                self._refuse(Reason.INTERNAL, 0)
            else:
                self._end()
        elif exchange.status == 0 and not exchange.is_over:
            self._closes = True
            exchange.answer(Reason.INTERNAL)
        else:
            self.on_end()

    def on_drained(self) -> None:
        exchange = self._exchange
        if exchange is not None:
            self.deadline = self._relay.dispatcher.now + self._relay.idle_timeout
            if self._is_answered:
                exchange.complete()
                self._next()
                self._read_requests()
            else:
                exchange.resume_endpoint()
        elif self._lingers:
            self._wire.shut()
        else:
            self._wire.resume()
            self._read_requests()

    def on_deadline(self, now: float) -> None:
        exchange = self._exchange
        if exchange is None:
            if self._buffer and not self._lingers:
                self._refuse(Reason.REQUEST_TIMEOUT, 0)
            else:
                self._end()
        elif exchange.status == 0:
            self._closes = True
            self.deadline = now + self._relay.idle_timeout
            exchange.answer(Reason.UPSTREAM_TIMEOUT if exchange.request_done else Reason.REQUEST_TIMEOUT)
        elif self._wire.is_clogged:
            exchange.on_caller_gone()
            self._end()
        else:
            exchange.break_off(Reason.UPSTREAM_TIMEOUT)

    def on_turn(self) -> None:
        self._is_postponed = False
        if self._wire.is_open and self._exchange is None:
            self._wire.resume()
            self._read_requests()

    def inform(self, head: ResponseHead) -> None:
        if self._exchange is not None and self._exchange.judged.head.version_minor == 1:
            self._wire.write(write_response(head, 1, False))

    def deliver(
        self, head: ResponseHead | None, wire: bytes, payload: list[bytes], done: bool, trailers: Trailers
    ) -> bool:
        exchange = self._exchange
        if exchange is None:
            return True
        if head is not None:
            request = exchange.judged.head
            minor = request.version_minor
            framing = head.framing
            if framing >= CHUNKED:
                framing = response_framing(head, minor)
            self._framing = framing
            if framing == UNTIL_CLOSE or not request.keep_alive or not exchange.request_done or self._relay.is_draining:
                self._closes = True
            if not wire or minor == 0:
                wire = write_response(head, minor, self._closes, method=request.method)
            elif self._closes:
                wire = closing(wire)
        elif not wire:
            framing = self._framing
        if framing == CHUNKED:
            parts = [wire] if wire else []
            parts.extend([chunk(piece) for piece in payload])
            if done:
                parts.append(last_chunk(trailers))
            octets = b"".join(parts)
        elif payload:
            octets = payload[0] if not wire and len(payload) == 1 else wire + b"".join(payload)
        else:
            octets = wire
        is_sent = self._wire.write(octets) if octets else not self._wire.is_clogged
        if not done:
            self.deadline = self._relay.dispatcher.now + self._relay.idle_timeout
            return is_sent
        self._is_answered = True
        if is_sent:
            exchange.complete()
            self._next()
            if self._buffer:
                self._read_requests()
        return is_sent

    def answer_wire(self) -> Wire | None:
        return self._wire if self._framing == SIZED else None

    def move_request(self, sink: Wire) -> None:
        body = self._body
        if body is not None and body.plain >= BULK_BYTES:
            self._wire.move_to(sink, body.plain)

    def answer(self, reason: Reason, request_id: str) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        head = exchange.judged.head
        if not exchange.request_done or not head.keep_alive or self._relay.is_draining or reason is Reason.BAD_REQUEST:
            self._closes = True
        octets = write_own_answer(
            reason,
            request_id,
            close=self._closes,
            with_body=head.method != "HEAD",
            client_minor=head.version_minor,
        )
        self._wire.write(octets)
        self._next()
        if self._buffer:
            self._read_requests()

    def break_off(self) -> None:
        self._exchange = None
        self._buffer = b""
        self._lingers = True  # whatever followed would be read as the rest of the body
        if self._framing == UNTIL_CLOSE:
            self._connection.closed()
            self._wire.reset()
        else:
            self._connection.closed()
            self._wire.finish()

    def switch(self, upgrade: Upgrade, protocol: bytes, head: ResponseHead) -> CallerEnd | None:
        wire = self._wire
        if self._buffer or not wire.is_open:
            return None
        self._exchange = None
        self.deadline = NEVER
        connection = self._connection
        upgrade.belong(connection, protocol)
        connection.turn_into(upgrade.label)
        caller = UpgradedCaller(self._relay, connection, wire, upgrade)
        connection.speaker = caller
        wire.write(switching_head(head, protocol, upgrade.proof()))
        return caller

    def pause_request(self) -> None:
        self._wire.pause()

    def resume_request(self) -> None:
        self._wire.resume()

    def close_when_idle(self) -> None:
        """The proxy drains: ends now when nothing is being served, else after the answer."""
        self._closes = True
        if self._exchange is None and not self._buffer and not self._wire.is_clogged:
            self._end()

    def cut(self, reason: Reason) -> None:
        exchange = self._exchange
        self._closes = True
        if exchange is None or exchange.is_over:
            self._end()
        elif exchange.status == 0:
            exchange.answer(reason)
        elif self._is_answered:
            self.on_end()  # it waits for its caller to read
        else:
            exchange.break_off(reason)

    def say_last(self, octets: bytes) -> None:
        """The last answer of this connection, whole."""
        self._closes = True
        self._wire.write(octets)
        self._linger()

    def renew(self) -> None:
        if self._exchange is None:
            self._lane = self._relay.lane(self._connection.arrival)
            self._heads.forget()

    def _read_requests(self) -> None:
        """Serves what is in the buffer until one has to be waited for."""
        if self._is_reading or self._is_postponed:
            return
        self._is_reading = True
        served = 0
        while (
            self._exchange is None
            and self._buffer
            and not self._lingers
            and self._wire.is_open
            and not self._wire.is_clogged
        ):
            if served == MAX_SERVED:
                self._is_postponed = True
                self._wire.pause()
                self._relay.dispatcher.postpone(self)
                break
            served += 1
            if not self._read_request():
                break
        self._is_reading = False

    def _read_request(self) -> bool:
        """Serves one request; False: its head is not complete yet, or the connection ends."""
        relay = self._relay
        lane = self._lane
        if lane.tables is not relay.tables:
            lane = self._lane = relay.lane(self._connection.arrival)
        buffer = self._buffer
        heads = self._heads
        judged = heads.recall(lane, buffer)
        if judged is not None:
            return self._begin(judged, judged.head.size, b"")
        judged, begun, size = heads.recall_alike(relay, lane, buffer)
        if judged is not None:
            return self._begin(judged, size, begun)
        head = heads.read(relay, lane, buffer)
        if head is None:
            return False
        if isinstance(head, Refusal):
            if lane.is_forward:
                self._lane = relay.lane(self._connection.arrival)
            self._refuse(Reason.ORIGIN_FORM if head is NOT_FORWARDED else reason_of_refusal(head.status), head.status)
            return False
        if lane.is_forward:
            lane = self._lane = relay.lane_named(self._connection.arrival, head)
            if head.method == "CONNECT":
                return self._connect(lane, head)
        judged = judge_head(relay, lane, head)
        heads.keep(relay, lane, buffer, judged)
        return self._begin(judged, head.size, b"")

    def _connect(self, lane: Lane, head: RequestHead) -> bool:
        """Serves CONNECT: what follows is another connection, or nothing."""
        relay = self._relay
        refused = judge_connect(relay, lane, head)
        port = lane.port
        if refused is not None or port is None:
            return refused is not None and self._begin(refused, head.size, b"")
        rest = self._buffer[head.size :]
        self._buffer = b""
        self.deadline = NEVER
        relay.passages.lead_on(
            self._connection, port, self._wire, rest, Http1Asker(relay, self, self._wire, lane, head)
        )
        return False

    def _begin(self, judged: Judged, end: int, begun: bytes) -> bool:
        """Serves the request whose head ends there. `begun`: it as it is sent, where it is one of many judged alike."""
        relay = self._relay
        head = judged.head
        buffer = self._buffer
        size = end
        out: list[bytes] = []
        trailers = NO_TRAILERS
        done = True
        if head.framing == NO_BODY:
            self._body = None
            self._buffer = buffer[end:] if end < len(buffer) else b""
        else:
            body = self._body = BodyReader(head.framing, head.content_length, relay.head_limits)
            end = body.feed(buffer, end, out)
            if body.failed:
                self._refuse(Reason.BAD_REQUEST, 400)
                return False
            done = body.done
            trailers = body.trailers
            self._buffer = buffer[end:]
        self._is_answered = False
        exchange = self._exchange = Exchange(relay, self._lane, judged, self)
        if begun:
            exchange.begun = begun
            exchange.octets = buffer if size == len(buffer) else buffer[:size]
        self.deadline = exchange.started + (relay.request_timeout if done else relay.idle_timeout)
        if relay.is_overloaded():
            exchange.request_done = done
            exchange.identify()
            exchange.answer(Reason.OVERLOADED)
        else:
            exchange.begin(out, done, trailers)
        return True

    def _next(self) -> None:
        """The answer is written and sent, or kept: on to the next request, or to the end."""
        self._exchange = None
        if self._closes:
            self._linger()
            return
        self._body = None
        relay = self._relay
        self.deadline = relay.dispatcher.now + (relay.head_timeout if self._buffer else relay.idle_timeout)
        if not self._wire.is_clogged:
            self._wire.resume()

    def _linger(self) -> None:
        """Nothing more is served; what still comes is dropped until the caller has closed."""
        self._lingers = True
        self._buffer = b""
        self.deadline = self._relay.dispatcher.now + LINGER
        self._wire.resume()
        if not self._wire.is_clogged:
            self._wire.shut()

    def _refuse(self, reason: Reason, status: int) -> None:
        """Answers what is no request, and closes."""
        request_id = self._relay.refuse_unread(self._lane, "http", status or reason.status, reason)
        self.say_last(write_own_answer(reason, request_id, close=True, with_body=True, client_minor=1, status=status))

    def _refuse_body(self) -> None:
        """The body of a request that is being served is malformed."""
        exchange = self._exchange
        self._closes = True
        if exchange is None:
            return
        if exchange.status == 0:
            exchange.answer(Reason.BAD_REQUEST)
        else:
            exchange.on_caller_gone()
            self._end()

    def _end(self) -> None:
        self._exchange = None
        self.deadline = NEVER
        self._connection.closed()
        self._wire.close()
