"""HTTP/2 connections to endpoints: many streams on one, opened as long as the endpoint allows."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, final

from tulle.core.backends import EndpointRef
from tulle.http.h2.connection import CLIENT
from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.field import Field, integer
from tulle.http.h2.frames import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from tulle.http.h2.sending import trailer_fields
from tulle.http.h2.stream import Stream
from tulle.http.head import Refusal, RequestHead, ResponseHead
from tulle.http.trace_context import SIZE, TRACEPARENT
from tulle.proxy.counters import CLOSED
from tulle.proxy.exchange import MAX_INTERIM, Exchange
from tulle.proxy.http2 import Http2Link, LinkOwner
from tulle.proxy.relay import Relay
from tulle.proxy.request_ids import ID_OCTETS
from tulle.proxy.stream import NO_TRAILERS, EndpointEnd, Trailers
from tulle.proxy.upgrade import Upgrade
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

MAX_WAITING: Final = 100
"""Exchanges that wait for one connection being dialled."""
EARLY: Final = 8
"""Streams opened before an endpoint's SETTINGS say how many it takes; the others wait for that."""

_ID_NAME: Final = b"x-request-id"
_ID_LITERAL: Final = b"\x00" + integer(0, 7, len(_ID_NAME)) + _ID_NAME + integer(0, 7, ID_OCTETS)
"""How a request id begins that is ours: a literal without indexing."""
_TRACE_LITERAL: Final = b"\x00" + integer(0, 7, len(TRACEPARENT)) + TRACEPARENT + integer(0, 7, SIZE)
"""Likewise of a traceparent."""

Dial = Callable[[EndpointRef, Callable[[socket.socket | None], None]], None]


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
        judged = exchange.judged
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
        is_sent = True
        last = len(payload) - 1
        for index, piece in enumerate(payload):
            is_sent = codec.send_data(stream, piece, done and not trailers and index == last)
        if done and trailers:
            codec.send_trailers(stream, trailer_fields(trailers, self._upstream.relay.fields))
        elif done and not payload:
            codec.send_data(stream, b"", True)
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


@final
class Http2Pool:
    """The connections to endpoints that speak HTTP/2, and who waits for one."""

    def __init__(self, relay: Relay, dial: Dial) -> None:
        self.relay = relay
        self._dial = dial
        self._open: dict[EndpointRef, list[Http2Upstream]] = {}
        self._dialling: dict[EndpointRef, list[Waiting]] = {}
        self._rooms: dict[EndpointRef, int] = {}
        """Streams that an endpoint takes on a connection, where those are few."""

    def take(self, endpoint: EndpointRef) -> EndpointEnd | None:
        """A new stream on a connection that has room for it."""
        for upstream in self._open.get(endpoint, ()):
            codec = upstream.codec
            if not codec.can_open or not upstream.link.is_open or upstream.link.is_stuck:
                continue
            if codec.is_ready or len(codec.streams) < self._early(endpoint):
                return Http2End(upstream)
        return None

    def dial(self, endpoint: EndpointRef, exchange: Exchange) -> None:
        """A stream on a connection that is being made, or will be."""
        most = self._rooms.get(endpoint, MAX_WAITING)
        for upstream in self._open.get(endpoint, ()):
            if not upstream.codec.is_ready and len(upstream.codec.streams) + len(upstream.waiting) < most:
                upstream.waiting.append(exchange)
                return
        dialling = self._dialling.setdefault(endpoint, [])
        for waiting in dialling:
            if len(waiting.exchanges) < most:
                waiting.exchanges.append(exchange)
                return
        waiting = Waiting(self, endpoint, exchange)
        dialling.append(waiting)
        self._dial(endpoint, waiting.arrive)

    def arrived(self, waiting: Waiting, sock: socket.socket | None) -> None:
        """A connection, or None when it failed."""
        dialling = self._dialling.get(waiting.endpoint, [])
        if waiting in dialling:
            dialling.remove(waiting)
        if not dialling:
            self._dialling.pop(waiting.endpoint, None)
        exchanges = [one for one in waiting.exchanges if not one.is_over]
        if sock is None:
            for exchange in exchanges:
                exchange.on_connect_failed()
            return
        self.relay.counters.upstreams += 1
        upstream = Http2Upstream(self, waiting.endpoint, sock)
        self._open.setdefault(waiting.endpoint, []).append(upstream)
        early = self._early(waiting.endpoint)
        for exchange in exchanges:
            if upstream.codec.can_open and len(upstream.codec.streams) < early:
                exchange.on_connected(Http2End(upstream))
            else:
                upstream.waiting.append(exchange)

    def arrange(self, upstream: Http2Upstream, exchanges: list[Exchange]) -> None:
        """The endpoint's SETTINGS are there: as many as it takes, the others on further connections."""
        endpoint = upstream.endpoint
        room = upstream.codec.peer_streams
        if room < EARLY:
            self._rooms[endpoint] = room
        else:
            self._rooms.pop(endpoint, None)
        for exchange in exchanges:
            if exchange.is_over:
                continue
            if room == 0:
                exchange.on_connect_failed()
            elif upstream.codec.can_open and upstream.link.is_open:
                exchange.on_connected(Http2End(upstream))
            else:
                self.dial(endpoint, exchange)

    def _early(self, endpoint: EndpointRef) -> int:
        return self._rooms.get(endpoint, EARLY)

    def forget(self, upstream: Http2Upstream) -> None:
        """It opens no more streams. Idempotent."""
        opened = self._open.get(upstream.endpoint)
        if opened is not None and upstream in opened:
            opened.remove(upstream)
            self.relay.counters.upstreams -= 1
            if not opened:
                del self._open[upstream.endpoint]

    def keep_only(self, endpoints: set[EndpointRef]) -> None:
        """Retires connections to others."""
        for endpoint in list(self._open):
            if endpoint not in endpoints or not endpoint.ready:
                for upstream in list(self._open[endpoint]):
                    upstream.retire()
        for endpoint in list(self._rooms):
            if endpoint not in endpoints:
                del self._rooms[endpoint]


@final
class Waiting:
    """Exchanges that wait for one connection."""

    def __init__(self, pool: Http2Pool, endpoint: EndpointRef, first: Exchange) -> None:
        self.endpoint = endpoint
        self.exchanges = [first]
        self._pool = pool

    def arrive(self, sock: socket.socket | None) -> None:
        """The connection, or None."""
        self._pool.arrived(self, sock)
