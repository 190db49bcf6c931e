"""The caller's end of one HTTP/2 stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from tulle.http.h2.frames import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from tulle.http.h2.stream import Stream
from tulle.http.head import ResponseHead
from tulle.http.upgrade import connected_fields
from tulle.proxy.exchange import Exchange
from tulle.proxy.own_answers import grpc_trailers, own_answer_fields
from tulle.proxy.stream import CallerEnd, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.wheel import NEVER
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.http2_downstream import Http2Downstream

LINGER: Final = 1.0
"""Seconds that a request may still take to end after its answer."""
MAX_DROPPED: Final = 65_536
"""Octets that it may still send."""


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
        if payload or (ends_bare and head is None):
            is_sent = codec.send_pieces(stream, payload, ends_bare)
        if done:
            if trailers:
                codec.send_trailers(stream, owner.trailers_of(trailers))
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
        is_sent = self._codec.send_pieces(self._stream, payload, done)
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


def answer_unserved(
    owner: Http2Downstream, stream: Stream, reason: Reason, request_id: str, status: int = 0, grpc_status: int = -1
) -> None:
    """Answers a stream that no exchange serves."""
    codec = owner.codec
    with_body = stream.method != "HEAD"
    fields, body = own_answer_fields(owner.relay.fields, reason, request_id, with_body, status, grpc_status)
    codec.send_head(stream, fields, not body)
    if body:
        codec.send_data(stream, body, True)
    call = Http2Call(owner, stream)
    call.is_answered = True
    stream.owner = call
    if stream.queued:
        owner.expect(call, owner.relay.dispatcher.now + owner.relay.idle_timeout)
    else:
        call.linger()
