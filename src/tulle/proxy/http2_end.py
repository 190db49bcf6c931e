"""The endpoint's end of one HTTP/2 stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from tulle.http.h2.field import integer
from tulle.http.h2.frames import CANCEL, NO_ERROR
from tulle.http.h2.sending import trailer_fields
from tulle.http.h2.stream import Stream
from tulle.http.trace_context import SIZE, TRACEPARENT
from tulle.proxy.counters import CLOSED
from tulle.proxy.exchange import Exchange
from tulle.proxy.request_ids import ID_OCTETS
from tulle.proxy.stream import EndpointEnd, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.http2_upstream import Http2Upstream

_ID_NAME: Final = b"x-request-id"
_ID_LITERAL: Final = b"\x00" + integer(0, 7, len(_ID_NAME)) + _ID_NAME + integer(0, 7, ID_OCTETS)
"""How a request id begins that is ours: a literal without indexing."""
_TRACE_LITERAL: Final = b"\x00" + integer(0, 7, len(TRACEPARENT)) + TRACEPARENT + integer(0, 7, SIZE)
"""Likewise of a traceparent."""


@final
class Http2End(EndpointEnd):
    """The endpoint's end of one stream."""

    def __init__(self, upstream: Http2Upstream) -> None:
        super().__init__()
        self.was_used = upstream.was_used
        self.keeps_request = True
        self.exchange: Exchange | None = None
        self.has_answer = False
        self.interim = 0
        """Interim answers so far."""
        self.is_paused = False
        self.unconsumed = 0
        """Octets of the answer that have not gone on yet."""
        self.asks: Upgrade | None = None
        """Set when the stream is an extended CONNECT."""
        self._is_expiring = False
        self._upstream = upstream
        self._codec = upstream.codec
        self._stream: Stream | None = None
        self._began = upstream.relay.dispatcher.now

    def begin(self, exchange: Exchange, payload: list[bytes], done: bool, trailers: Trailers) -> bool:
        if not self._codec.can_open:
            return False
        self.exchange = exchange
        upgrade = exchange.upgrade
        if upgrade is not None and upgrade.fits_connect:
            self.asks = upgrade
            if self._codec.is_ready:
                self.ask()
            else:
                self._upstream.unasked.append(self)
            return True
        judged = exchange.whole()
        relay = self._upstream.relay
        head = judged.head
        literals = _ID_LITERAL + exchange.id_octets if head.request_id is None else b""
        if not head.is_traced and exchange.traceparent:
            literals += _TRACE_LITERAL + exchange.traceparent
        is_bare = done and not payload and not trailers
        stream = self._stream = judged.open(self._codec, relay.fields, is_bare, literals)
        stream.owner = self
        if not is_bare and (payload or done):
            self.transmit(payload, done, trailers)
        return True

    def ask(self) -> None:
        """Sends the extended CONNECT, now that it is known whether the endpoint serves it."""
        exchange = self.exchange
        upgrade = self.asks
        if exchange is None or upgrade is None:
            return
        if not self._codec.peer_serves_connect:
            exchange.answer(Reason.NO_EXTENDED_CONNECT)
        elif not self._codec.can_open:
            self.exchange = None
            exchange.on_refused()
        else:
            stream = self._stream = self._codec.open(upgrade.fields(), "CONNECT", False)
            stream.owner = self

    def transmit(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        stream = self._stream
        if stream is None:
            return
        codec = self._codec
        is_sent = codec.send_pieces(stream, payload, done and not trailers)
        if trailers:
            codec.send_trailers(stream, trailer_fields(trailers, self._upstream.relay.fields))
        if not is_sent and not done and self.exchange is not None:
            self.exchange.caller.pause_request()
        self._upstream.link.flush_if_large()
        if stream.queued and self.exchange is not None and self._upstream.relay.is_full:
            self.exchange.shed()

    def pause_answer(self) -> None:
        self.is_paused = True

    def resume_answer(self) -> None:
        self.is_paused = False
        self.consume()

    def abandon(self) -> None:
        exchange = self.exchange
        self.exchange = None
        if self._stream is not None:
            upstream = self._upstream
            if not self.has_answer and upstream.link.last_read <= self._began:
                upstream.doubt()
            if self.asks is None or exchange is None or exchange.response_class != CLOSED:
                self.drop()
            upstream.note_end()

    def expire(self) -> None:
        """Nobody waits for the stream, and what is queued is not taken: it ends the second time that it is met so."""
        if self._is_expiring:
            self.drop()
        self._is_expiring = True

    def consume(self) -> None:
        """What was received has gone on."""
        stream = self._stream
        octets = self.unconsumed
        if octets and stream is not None:
            self.unconsumed = 0
            self._codec.consume(stream, octets)

    def drop(self) -> None:
        """Whatever still moves on the stream is unwanted."""
        stream = self._stream
        if stream is not None and not stream.is_closed:
            self._codec.reset(stream, NO_ERROR if stream.is_remote_done else CANCEL)
        if stream is not None:
            stream.owner = None  # else only the collector could free the two
