"""HTTP/1.1 connections to endpoints: one stream at a time, kept between streams."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, final

from tulle.core.backends import EndpointRef
from tulle.http.body import BodyReader
from tulle.http.head import CHUNKED, Refusal, ResponseHead
from tulle.http.request import find_head_end
from tulle.http.response import parse_response
from tulle.http.write import chunk, last_chunk, write_response
from tulle.proxy.exchange import NO_TRAILERS, Exchange
from tulle.proxy.relay import Relay
from tulle.proxy.stream import Connector, EndpointEnd, Trailers
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

MAX_MISSES: Final = 16
MAX_INTERIM: Final = 16
"""Interim answers (1xx) to one request."""


@final
class HttpUpstream(EndpointEnd):
    """Writes requests, reads answers; goes back to the pool as soon as an answer is complete."""

    def __init__(self, pools: Pools, endpoint: EndpointRef, sock: socket.socket) -> None:
        super().__init__()
        self.was_used = False
        self.endpoint = endpoint
        self.wire = Wire(pools.relay.dispatcher, sock, self)
        self._pools = pools
        self._relay = pools.relay
        self._exchange: Exchange | None = None
        self._buffer = b""
        self._body: BodyReader | None = None
        """Of the answer, once its head is there."""
        self._keep_alive = False
        self._is_chunked = False
        self._interim = 0
        self._misses = 0
        self.wire.start()

    def begin(self, exchange: Exchange, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        judged = exchange.judged
        self._exchange = exchange
        self._body = None
        self._interim = 0
        self.deadline = NEVER
        head = judged.wire
        if not judged.has_id:
            head += b"x-request-id: %b\r\n\r\n" % exchange.request_id.encode()
        self._is_chunked = judged.head.framing == CHUNKED
        if payload or (self._is_chunked and done):
            head += self._frame(payload, done, trailers)
        if not self.wire.write(head) and not done:
            exchange.caller.pause_request()

    def transmit(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        octets = self._frame(payload, done, trailers)
        if octets and not self.wire.write(octets) and not done and self._exchange is not None:
            self._exchange.caller.pause_request()

    def pause_answer(self) -> None:
        self.wire.pause()

    def resume_answer(self) -> None:
        self.wire.resume()

    def abandon(self) -> None:
        if self._exchange is None and not self.was_used and self.wire.is_open:
            self._pools.keep(self)
            return
        self._exchange = None
        self.close()

    def close(self) -> None:
        """Ends the connection. Idempotent."""
        if self.wire.is_open:
            self._relay.counters.upstreams -= 1
            self.deadline = NEVER
            self.wire.close()

    def on_octets(self, octets: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self._pools.drop(self)
            return
        body = self._body
        if body is None:
            self._read_head(exchange, self._buffer + octets if self._buffer else octets)
            return
        out: list[bytes] = []
        end = body.feed(octets, 0, out)
        if body.failed:
            self._lose(Reason.UPSTREAM_PROTOCOL)
            return
        if body.done:
            self._finish(exchange, None, b"", out, end == len(octets))
        elif out:
            exchange.deliver(None, b"", out, False, NO_TRAILERS)

    def on_end(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self._pools.drop(self)
            return
        body = self._body
        if body is not None:
            body.end()
            if body.done:
                self._finish(exchange, None, b"", [], False)
                return
        self._lose(Reason.UPSTREAM_RESET)

    def on_lost(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self._pools.drop(self)
            return
        while self._exchange is exchange and (octets := self.wire.read_rest()):
            self.on_octets(octets)  # an answer sent before the request was read, and the reset right behind it
        if self._exchange is exchange:
            self._lose(Reason.UPSTREAM_RESET)

    def on_drained(self) -> None:
        if self._exchange is not None:
            self._exchange.caller.resume_request()

    def on_deadline(self, now: float) -> None:
        if self._exchange is None:
            self._pools.drop(self)

    def _read_head(self, exchange: Exchange, buffer: bytes) -> None:
        relay = self._relay
        if self._misses < MAX_MISSES:
            remembered = relay.answers.get(buffer)
            if remembered is not None and exchange.judged.head.method != "HEAD":
                self._misses = 0
                self._begin_body(exchange, remembered.head, remembered.wire, buffer, len(buffer))
                return
        while True:
            end = find_head_end(buffer, 0)
            if end < 0:
                self._buffer = buffer
                if len(buffer) > relay.head_limits.header_bytes:
                    self._lose(Reason.UPSTREAM_PROTOCOL)
                return
            octets = buffer if end == len(buffer) else buffer[:end]
            wire = b""
            head: ResponseHead | Refusal | None = None
            method = exchange.judged.head.method
            probes = method != "HEAD" and self._misses < MAX_MISSES
            if probes:
                remembered = relay.answers.get(octets)
                if remembered is not None:
                    self._misses = 0
                    self._begin_body(exchange, remembered.head, remembered.wire, buffer, end)
                    return
            head = parse_response(octets, method, relay.head_limits)
            if isinstance(head, Refusal) or head.status == 101:
                self._lose(Reason.UPSTREAM_PROTOCOL)
                return
            if head.status >= 200:
                if probes:
                    self._misses += 1
                    wire = write_response(head, 1, False)
                    relay.remember_answer(octets, head, wire)
                self._begin_body(exchange, head, wire, buffer, end)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self._lose(Reason.UPSTREAM_PROTOCOL)
                return
            exchange.caller.inform(head)
            buffer = buffer[end:]
            if not buffer:
                self._buffer = b""
                return

    def _begin_body(self, exchange: Exchange, head: ResponseHead, wire: bytes, buffer: bytes, end: int) -> None:
        self._buffer = b""
        self._keep_alive = head.keep_alive
        body = BodyReader(head.framing, head.content_length, self._relay.head_limits)
        self._body = body
        out: list[bytes] = []
        end = body.feed(buffer, end, out)
        if body.failed:
            self._lose(Reason.UPSTREAM_PROTOCOL)
        elif body.done:
            self._finish(exchange, head, wire, out, end == len(buffer))
        else:
            exchange.deliver(head, wire, out, False, NO_TRAILERS)

    def _finish(
        self, exchange: Exchange, head: ResponseHead | None, wire: bytes, out: list[bytes], is_clean: bool
    ) -> None:
        """The answer is complete: first the connection goes back, then the answer goes on."""
        body = self._body
        trailers = body.trailers if body is not None else NO_TRAILERS
        self._body = None
        self._exchange = None
        exchange.give_back()
        if is_clean and self._keep_alive and exchange.request_done and not self.wire.kept and not self.wire.is_broken:
            self.was_used = True
            self._pools.keep(self)
        else:
            self.close()
        exchange.deliver(head, wire, out, True, trailers)

    def _lose(self, reason: Reason) -> None:
        exchange = self._exchange
        nothing_received = self._body is None and not self._buffer and self._interim == 0
        self._exchange = None
        self.close()
        if exchange is not None:
            exchange.on_endpoint_lost(nothing_received, reason)

    def _frame(self, payload: list[bytes], done: bool, trailers: Trailers) -> bytes:
        if not self._is_chunked:
            return payload[0] if len(payload) == 1 else b"".join(payload)
        parts = [chunk(piece) for piece in payload]
        if done:
            parts.append(last_chunk(trailers))
        return b"".join(parts)


@final
class Pools(Connector):
    """Kept connections by endpoint, last used first."""

    def __init__(
        self, relay: Relay, dial: Callable[[EndpointRef, Callable[[socket.socket | None], None]], None]
    ) -> None:
        self.relay = relay
        self._dial = dial
        self._idle: dict[EndpointRef, list[HttpUpstream]] = {}

    def take(self, endpoint: EndpointRef) -> EndpointEnd | None:
        idle = self._idle.get(endpoint)
        while idle:
            found = idle.pop()
            if found.wire.is_open and not found.wire.is_broken:
                return found
        return None

    def dial(self, endpoint: EndpointRef, exchange: Exchange) -> None:
        self._dial(endpoint, Dialled(self, endpoint, exchange).arrive)

    def keep(self, end: HttpUpstream) -> None:
        """Takes back a connection that carries nothing."""
        limits = self.relay.limits
        idle = self._idle.get(end.endpoint)
        if idle is None:
            idle = self._idle[end.endpoint] = []
        if len(idle) >= limits.pool_size or self.relay.is_draining:
            end.close()
            return
        end.deadline = self.relay.dispatcher.now + limits.pool_idle_timeout
        end.wire.resume()
        idle.append(end)

    def drop(self, end: HttpUpstream) -> None:
        """A kept connection has ended, or is no longer wanted."""
        idle = self._idle.get(end.endpoint)
        if idle is not None and end in idle:
            idle.remove(end)
        end.close()

    def keep_only(self, endpoints: set[EndpointRef]) -> None:
        """Closes what is kept to others."""
        for endpoint in list(self._idle):
            if endpoint not in endpoints or not endpoint.ready:
                for end in self._idle.pop(endpoint):
                    end.close()


@final
class Dialled:
    """An exchange that waits for a connection."""

    def __init__(self, pools: Pools, endpoint: EndpointRef, exchange: Exchange) -> None:
        self._pools = pools
        self._endpoint = endpoint
        self._exchange = exchange

    def arrive(self, sock: socket.socket | None) -> None:
        """The connection, or None when it failed."""
        if sock is None:
            self._exchange.on_connect_failed()
            return
        self._pools.relay.counters.upstreams += 1
        self._exchange.on_connected(HttpUpstream(self._pools, self._endpoint, sock))
