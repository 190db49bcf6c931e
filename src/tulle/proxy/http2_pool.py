"""The HTTP/2 connections to endpoints: streams of all callers share them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, final

from tulle.core.backends import EndpointRef
from tulle.proxy.exchange import Exchange
from tulle.proxy.http2_end import Http2End
from tulle.proxy.http2_upstream import Http2Upstream
from tulle.proxy.relay import Relay
from tulle.proxy.stream import EndpointEnd

MAX_WAITING: Final = 100
"""Exchanges that wait for one connection being dialled."""
EARLY: Final = 8
"""Streams opened before an endpoint's SETTINGS say how many it takes; the others wait for that."""

Dial = Callable[[EndpointRef, Callable[[socket.socket | None], None]], None]


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
