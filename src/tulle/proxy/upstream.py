"""HTTP/1.1 connections to endpoints: one stream at a time, kept between streams."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, final

from tulle.core.backends import EndpointRef
from tulle.http.body import BodyReader
from tulle.http.head import CHUNKED, SIZED, Refusal, ResponseHead
from tulle.http.write import chunk, last_chunk
from tulle.proxy.answer_reader import AnswerReader, AnswersAlike
from tulle.proxy.exchange import MAX_INTERIM, Exchange
from tulle.proxy.http2_pool import Http2Pool
from tulle.proxy.loop import READ_BYTES
from tulle.proxy.relay import Relay
from tulle.proxy.stream import NO_TRAILERS, Connector, EndpointEnd, Trailers
from tulle.proxy.upgraded import UpgradedEndpoint
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import BULK_BYTES, Wire
from tulle.wire.reason import Reason

SURPLUS: Final = 1.0
"""Seconds that a connection beyond the pool's size is kept: closed at once, it would be dialled again at once under load."""


@final
class HttpUpstream(EndpointEnd):
    """Writes requests, reads answers; goes back to the pool as soon as an answer is complete."""

    def __init__(self, pools: Pools, endpoint: EndpointRef, sock: socket.socket, alike: AnswersAlike) -> None:
        super().__init__()
        self.was_used = False
        self.keeps_request = False
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
        self._heads = AnswerReader(pools.relay, alike)
        self.wire.start()

    def begin(self, exchange: Exchange, payload: list[bytes], done: bool, trailers: Trailers) -> bool:
        self._exchange = exchange
        self.wire.is_idle = False
        self._body = None
        self._interim = 0
        self.deadline = NEVER
        upgrade = exchange.upgrade
        if upgrade is not None:
            self._is_chunked = False
            self.wire.write(upgrade.request())
            return not self.wire.is_broken
        judged = exchange.judged
        fields = exchange.own_fields
        head = exchange.begun or judged.begin()
        head += fields or judged.end(exchange.id_octets, exchange.traceparent)
        self._is_chunked = judged.head.framing == CHUNKED
        if payload or (self._is_chunked and done):
            head += self._frame(payload, done, trailers)
        if not self.wire.write(head) and not done:
            exchange.caller.pause_request()
        return not self.wire.is_broken

    def transmit(self, payload: list[bytes], done: bool, trailers: Trailers) -> None:
        octets = self._frame(payload, done, trailers)
        if octets and not self.wire.write(octets) and not done and self._exchange is not None:
            self._exchange.caller.pause_request()

    def request_wire(self) -> Wire | None:
        return None if self._is_chunked else self.wire

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
            if len(octets) == READ_BYTES:
                self._move_answer(exchange, body)

    def on_moved(self, octets: int) -> None:
        exchange = self._exchange
        body = self._body
        if exchange is None or body is None:
            return
        body.skip(octets)
        exchange.bytes_out += octets
        if body.done:
            self._finish(exchange, None, b"", [], True)
        else:
            exchange.caller.deadline = self._relay.dispatcher.now + self._relay.idle_timeout

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

    def on_defect(self) -> None:
        if self._exchange is None:
            self._pools.drop(self)
        else:
            self._lose(Reason.INTERNAL)

    def on_drained(self) -> None:
        if self._exchange is not None:
            self._exchange.caller.resume_request()

    def on_deadline(self, now: float) -> None:
        if self._exchange is None:
            self._pools.drop(self)

    def _read_head(self, exchange: Exchange, buffer: bytes) -> None:
        heads = self._heads
        asked = exchange.judged.head
        method = asked.method
        if asked.version_minor == 1 and method != "HEAD" and not exchange.caller.is_http2:
            alike, wire, size = heads.read_alike(buffer)
            if alike is not None:
                self._begin_body(exchange, alike, buffer, size, wire)
                return
        while buffer:
            head = heads.read(method, buffer)
            if head is None:
                self._buffer = buffer
                if len(buffer) > self._relay.head_limits.header_bytes:
                    self._lose(Reason.UPSTREAM_PROTOCOL)
                return
            if isinstance(head, Refusal):
                self._lose(Reason.UPSTREAM_PROTOCOL)
                return
            if head.status >= 200:
                self._begin_body(exchange, head, buffer, head.size, head.wire)
                return
            if head.status == 101:
                self._switch(exchange, head, buffer[head.size :])
                return
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self._lose(Reason.UPSTREAM_PROTOCOL)
                return
            exchange.caller.inform(head)
            buffer = buffer[head.size :]
        self._buffer = b""

    def _switch(self, exchange: Exchange, head: ResponseHead, rest: bytes) -> None:
        """The endpoint says that it changes the protocol: so it is, if that was asked for."""
        upgrade = exchange.upgrade
        protocol = upgrade.accepted(head) if upgrade is not None else b""
        if upgrade is None or not protocol:
            self._buffer = rest or b"101"
            self._lose(Reason.UPSTREAM_PROTOCOL)
            return
        self._exchange = None
        self.deadline = NEVER
        exchange.endpoint_end = UpgradedEndpoint(self._relay, self.wire, upgrade)
        upgrade.switch(protocol, head)
        if rest and upgrade.is_switched:
            upgrade.from_endpoint([rest], False)

    def _begin_body(self, exchange: Exchange, head: ResponseHead, buffer: bytes, begin: int, wire: bytes) -> None:
        self._buffer = b""
        self._keep_alive = (
            head.keep_alive and exchange.upgrade is None
        )  # who knows what an endpoint makes of a failed one
        end = begin + head.content_length
        if head.framing == SIZED and end <= len(buffer):
            self._finish(exchange, head, wire, [buffer[begin:end]], end == len(buffer))
            return
        body = BodyReader(head.framing, head.content_length, self._relay.head_limits)
        self._body = body
        out: list[bytes] = []
        end = body.feed(buffer, begin, out)
        if body.failed:
            self._lose(Reason.UPSTREAM_PROTOCOL)
        elif body.done:
            self._finish(exchange, head, wire, out, end == len(buffer))
        else:
            exchange.deliver(head, wire, out, False, NO_TRAILERS)
            if len(buffer) >= READ_BYTES:
                self._move_answer(exchange, body)

    def _move_answer(self, exchange: Exchange, body: BodyReader) -> None:
        """What is left of the answer's body goes on unread, if it is much and goes on as it comes."""
        if body.plain >= BULK_BYTES and self._exchange is exchange:
            sink = exchange.caller.answer_wire()
            if sink is not None:
                self.wire.move_to(sink, body.plain)

    def _finish(
        self, exchange: Exchange, head: ResponseHead | None, wire: bytes, out: list[bytes], is_clean: bool
    ) -> None:
        """The answer is complete: first the connection goes back, then the answer goes on."""
        body = self._body
        trailers = body.trailers if body is not None else NO_TRAILERS
        self._body = None
        self._exchange = None
        exchange.give_back()
        if (
            is_clean
            and self._keep_alive
            and exchange.request_done
            and not self.wire.is_clogged
            and not self.wire.is_broken
        ):
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
class Pool:
    """Kept connections to one endpoint."""

    __slots__ = ("alike", "idle", "returned", "turn")

    def __init__(self) -> None:
        self.alike = AnswersAlike()
        self.idle: list[HttpUpstream] = []
        """Last used last. The kernel was asked since whether anything came on them."""
        self.returned: list[HttpUpstream] = []
        """Given back in `turn`."""
        self.turn = 0

    def settle(self, turn: int) -> None:
        """What was given back in an earlier turn may be taken now."""
        if self.turn != turn:
            self.turn = turn
            if self.returned:
                self.idle.extend(self.returned)
                self.returned.clear()


@final
class Pools(Connector):
    """Kept connections by endpoint, last used first.

    What an endpoint sends without being asked must not be taken for the answer to somebody's next request. So a kept connection
    stays watched, and octets or an end on it close it; they are served before a turn's other events; and what was given back in a
    turn is not taken in that same turn. Hence nothing had come on a connection that is taken when this turn began, and for a
    request that may not be repeated the kernel is asked once more. What comes after that look cannot be told from an answer.
    """

    def __init__(
        self, relay: Relay, dial: Callable[[EndpointRef, Callable[[socket.socket | None], None]], None]
    ) -> None:
        self.relay = relay
        self._dial = dial
        self._http2 = Http2Pool(relay, dial)
        self._pools: dict[EndpointRef, Pool] = {}

    def take(self, endpoint: EndpointRef, is_http2: bool, looks_again: bool) -> EndpointEnd | None:
        if is_http2:
            return self._http2.take(endpoint)
        pool = self._pools.get(endpoint)
        if pool is None:
            return None
        dispatcher = self.relay.dispatcher
        pool.settle(dispatcher.turns)
        idle = pool.idle
        while idle:
            found = idle.pop()
            wire = found.wire
            if not wire.is_open or wire.is_broken:
                continue
            if (looks_again or dispatcher.is_partial) and wire.has_news():
                found.close()
                continue
            return found
        return None

    def dial(self, endpoint: EndpointRef, is_http2: bool, exchange: Exchange) -> None:
        if is_http2:
            self._http2.dial(endpoint, exchange)
            return
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = Pool()
        self._dial(endpoint, Dialled(self, endpoint, pool.alike, exchange).arrive)

    def keep(self, end: HttpUpstream) -> None:
        """Takes back a connection that carries nothing. One to an endpoint that is gone since it was dialled is closed."""
        relay = self.relay
        limits = relay.limits
        pool = self._pools.get(end.endpoint)
        if pool is None or relay.is_draining or not limits.pool_size:
            end.close()
            return
        pool.settle(relay.dispatcher.turns)
        end.was_used = True
        is_surplus = len(pool.idle) + len(pool.returned) >= limits.pool_size
        lasts = min(SURPLUS, limits.pool_idle_timeout) if is_surplus else limits.pool_idle_timeout
        end.deadline = relay.dispatcher.now + lasts
        end.wire.is_idle = True
        end.wire.resume()
        pool.returned.append(end)

    def drop(self, end: HttpUpstream) -> None:
        """A kept connection has ended, or is no longer wanted."""
        pool = self._pools.get(end.endpoint)
        if pool is not None:
            if end in pool.idle:
                pool.idle.remove(end)
            elif end in pool.returned:
                pool.returned.remove(end)
        end.close()

    def keep_only(self, endpoints: set[EndpointRef]) -> None:
        """Closes what is kept to others."""
        self._http2.keep_only(endpoints)
        for endpoint in list(self._pools):
            if endpoint not in endpoints or not endpoint.ready:
                pool = self._pools.pop(endpoint)
                for end in pool.idle + pool.returned:
                    end.close()


@final
class Dialled:
    """An exchange that waits for a connection."""

    def __init__(self, pools: Pools, endpoint: EndpointRef, alike: AnswersAlike, exchange: Exchange) -> None:
        self._pools = pools
        self._endpoint = endpoint
        self._alike = alike
        self._exchange = exchange

    def arrive(self, sock: socket.socket | None) -> None:
        """The connection, or None when it failed."""
        exchange = self._exchange
        try:
            if sock is None:
                exchange.on_connect_failed()
                return
            end = HttpUpstream(self._pools, self._endpoint, sock, self._alike)
            self._pools.relay.counters.upstreams += 1
            exchange.on_connected(end)
        except Exception:  # noqa: BLE001  (one defect must not end the process)
            self._pools.relay.dispatcher.defect(None)
            exchange.answer(Reason.INTERNAL)
