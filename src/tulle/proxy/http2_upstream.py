"""An HTTP/2 connection to an endpoint: many streams, opened as long as it allows."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, final

from tulle.core.backends import EndpointRef
from tulle.http.h2.connection import CLIENT
from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.field import Field
from tulle.http.h2.frames import INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from tulle.http.h2.stream import Stream
from tulle.http.head import Refusal, RequestHead, ResponseHead
from tulle.proxy.exchange import MAX_INTERIM, Exchange
from tulle.proxy.http2 import Http2Link, LinkOwner
from tulle.proxy.http2_end import Http2End
from tulle.proxy.stream import NO_TRAILERS, Trailers
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

if TYPE_CHECKING:
    from tulle.proxy.http2_pool import Http2Pool


@final
class Http2Upstream(LinkOwner):
    """One connection to an endpoint."""

    def __init__(self, pool: Http2Pool, endpoint: EndpointRef, sock: socket.socket) -> None:
        relay = pool.relay
        self.relay = relay
        self.endpoint = endpoint
        self.link = Http2Link(relay.dispatcher, self)
        self.codec = Codec(CLIENT, self, relay.fields, relay.http2_limits, relay.dispatcher.now)
        self.was_used = False
        """It carried a stream to its end."""
        self.waiting: list[Exchange] = []
        """Those that wait for the endpoint's SETTINGS."""
        self.unasked: list[Http2End] = []
        """Extended CONNECTs that wait for the endpoint's SETTINGS."""
        self._doubted = NEVER
        """Since when we wait for it to say anything."""
        self._pool = pool
        self._trailers: list[Field] = []
        """The last that came; a codec gives the same list when it can."""
        self._pairs: Trailers = []
        wire = Wire(relay.dispatcher, sock, self.link)
        wire.start()
        self.link.attach(self.codec, wire)
        self._rest()

    def on_output(self) -> None:
        self.link.gather()

    def on_request(self, stream: Stream, head: RequestHead, done: bool) -> None:
        """Never: we are the client."""

    def on_refused(self, stream: Stream, refusal: Refusal) -> None:
        """Never: we are the client."""

    def on_response(self, stream: Stream, head: ResponseHead, done: bool) -> None:
        end = stream.owner
        if not isinstance(end, Http2End) or end.exchange is None:
            return
        if head.status < 200:
            end.interim += 1
            if end.interim > MAX_INTERIM:
                exchange = end.exchange
                end.exchange = None
                end.was_used = False
                end.drop()
                exchange.on_endpoint_lost(False, Reason.UPSTREAM_PROTOCOL)
                self.note_end()
            else:
                end.exchange.caller.inform(head)
            return
        end.has_answer = True
        upgrade = end.asks
        if upgrade is not None and head.status < 300:
            upgrade.switch(upgrade.protocol, head)
            if done:
                upgrade.from_endpoint([], True)
        elif done:
            self._finish(end, head, [], NO_TRAILERS)
        else:
            end.exchange.deliver(head, b"", [], False, NO_TRAILERS)

    def on_data(self, stream: Stream, payload: bytes, done: bool) -> None:
        end = stream.owner
        exchange = end.exchange if isinstance(end, Http2End) else None
        if not isinstance(end, Http2End) or exchange is None:
            return
        pieces = [payload] if payload else []
        upgrade = end.asks
        is_tunnel = upgrade is not None and upgrade.is_switched
        if done and not is_tunnel:
            self._finish(end, None, pieces, NO_TRAILERS)
            return
        end.unconsumed += len(payload)
        if upgrade is not None and is_tunnel:
            upgrade.from_endpoint(pieces, done)
        else:
            exchange.deliver(None, b"", pieces, False, NO_TRAILERS)
        if not end.is_paused:
            end.consume()

    def on_trailers(self, stream: Stream, trailers: list[Field]) -> None:
        end = stream.owner
        if isinstance(end, Http2End) and end.exchange is not None:
            if end.asks is not None and end.asks.is_switched:
                end.asks.from_endpoint([], True)
                return
            if trailers is not self._trailers:
                self._trailers = trailers
                self._pairs = [field.pair for field in trailers]
            self._finish(end, None, [], self._pairs)

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> None:
        end = stream.owner
        if isinstance(end, Http2End):
            exchange = end.exchange
            end.exchange = None
            if exchange is not None:
                if code == REFUSED_STREAM and by_peer:
                    exchange.on_refused()
                else:
                    reason = Reason.UPSTREAM_RESET if by_peer else Reason.UPSTREAM_PROTOCOL
                    end.was_used = False  # the endpoint has spoken: this is no stale connection
                    exchange.on_endpoint_lost(not end.has_answer, reason, code if by_peer else -1)
        self._settle()

    def on_writable(self, stream: Stream) -> None:
        end = stream.owner
        exchange = end.exchange if isinstance(end, Http2End) else None
        if exchange is not None and (exchange.caller.is_http2 or not exchange.request_done):
            exchange.caller.resume_request()

    def on_ready(self) -> None:
        unasked = self.unasked
        self.unasked = []
        for end in unasked:
            end.ask()
        waiting = self.waiting
        self.waiting = []
        self._pool.arrange(self, waiting)

    def on_goaway(self, code: int) -> None:
        self._pool.forget(self)
        self._turn_away()
        self._end_if_idle()

    def on_pong(self) -> None:
        pass

    def on_failed(self, code: int, detail: str) -> None:
        self._pool.forget(self)
        self._lose(Reason.UPSTREAM_PROTOCOL)
        self.link.finish()

    def on_link_end(self) -> None:
        self._pool.forget(self)
        self.link.close()
        self._lose(Reason.UPSTREAM_RESET)

    def on_link_idle(self) -> None:
        self.retire()

    def on_link_cut(self, reason: Reason) -> None:
        """Never: a caller's link is cut."""

    def on_link_defect(self) -> None:
        self._pool.forget(self)
        self._lose(Reason.INTERNAL)
        self.codec.close(INTERNAL_ERROR)
        self.link.finish()

    def on_link_deadline(self, now: float) -> None:
        if self._doubted < NEVER:
            if self.link.last_read <= self._doubted:
                self.on_link_end()
                return
            self._doubted = NEVER
        if self.codec.streams:
            self._rest()
            for stream in list(self.codec.streams.values()):
                end = stream.owner
                if isinstance(end, Http2End) and end.exchange is None:
                    end.expire()
        elif now - self.link.last_read >= self.relay.limits.pool_idle_timeout:
            self.retire()
        else:
            self.link.deadline = self.link.last_read + self.relay.limits.pool_idle_timeout

    def doubt(self) -> None:
        """An answer was waited for in vain. If nothing else comes either, not even to a PING, the connection is dead."""
        if self._doubted == NEVER and self.link.is_open:
            relay = self.relay
            self._doubted = relay.dispatcher.now
            self.codec.ping()
            self.link.deadline = min(self.link.deadline, self._doubted + relay.limits.connect_timeout)

    def retire(self) -> None:
        """Opens no more streams; ends when the last is over."""
        self._pool.forget(self)
        self.codec.drain()
        self._turn_away()
        self._end_if_idle()

    def note_end(self) -> None:
        """A stream is over."""
        self.was_used = True
        self._settle()

    def _finish(self, end: Http2End, head: ResponseHead | None, payload: list[bytes], trailers: Trailers) -> None:
        """The answer is complete: first the stream is given up, then the answer goes on."""
        exchange = end.exchange
        if exchange is None:
            return
        end.exchange = None
        exchange.give_back()
        end.drop()
        self.note_end()
        exchange.deliver(head, b"", payload, True, trailers)

    def _settle(self) -> None:
        """Ends when the last stream was the last: we were told so, or no other could be opened."""
        codec = self.codec
        if codec.is_going_away:
            self._end_if_idle()
        elif not codec.streams and (codec.peer_streams == 0 or self.link.is_stuck):
            self.retire()

    def _rest(self) -> None:
        self.link.deadline = self.relay.dispatcher.now + self.relay.limits.pool_idle_timeout

    def _turn_away(self) -> None:
        """This connection takes no more, nor those that wait for it."""
        waiting = self.waiting
        self.waiting = []
        for exchange in waiting:
            exchange.on_connect_failed()

    def _end_if_idle(self) -> None:
        if self.codec.is_going_away and not self.codec.streams and self.link.is_open:
            self._pool.forget(self)
            self.codec.close(NO_ERROR)
            self.link.finish()

    def _lose(self, reason: Reason) -> None:
        self._turn_away()
        unasked = self.unasked
        self.unasked = []
        ends: list[object] = [stream.owner for stream in self.codec.streams.values()]
        for end in [*ends, *unasked]:
            if isinstance(end, Http2End):
                exchange = end.exchange
                end.exchange = None
                if exchange is not None:
                    exchange.on_endpoint_lost(not end.has_answer, reason)
