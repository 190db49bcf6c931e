"""`/tap`: a summary of each request and opaque connection as it ends. A slow listener loses some, and learns how many."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from tulle.proxy.counters import CLASSES
from tulle.proxy.exchange import Exchange
from tulle.proxy.grpc import STATUSES
from tulle.proxy.relay import Relay
from tulle.proxy.tcp import Tunnel

QUEUE = 1024
"""Summaries kept per listener."""
MAX_PATH = 1024
"""Characters of a path that are shown, so that what is queued stays small whatever callers send."""
MAX_LISTENERS = 8


class TooManyListeners(Exception):
    """No more taps at once."""


class Tap:
    """Makes summaries only while somebody listens."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def lines(self, wanted: Callable[[dict[str, object]], bool]) -> AsyncIterator[bytes]:
        """JSON lines until the listener leaves. `{"dropped": n}` says how many are missing before the next.

        Raises TooManyListeners before the first.
        """
        if len(self._relay.taps) >= MAX_LISTENERS:
            raise TooManyListeners
        return self._lines(wanted)

    async def _lines(self, wanted: Callable[[dict[str, object]], bool]) -> AsyncIterator[bytes]:
        relay = self._relay
        queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        dropped = 0

        def offer(one: object) -> None:
            nonlocal dropped
            if isinstance(one, Exchange):
                summary = summarise(one)
            elif isinstance(one, Tunnel):
                summary = summarise_opaque(one)
            else:
                return
            if not wanted(summary):
                return
            line = json.dumps(summary).encode() + b"\n"
            if queue.qsize() >= QUEUE - 1:
                dropped += 1
                relay.counters.tap_dropped += 1
                return
            if dropped:
                queue.put_nowait(json.dumps({"dropped": dropped}).encode() + b"\n")
                dropped = 0
            queue.put_nowait(line)
            relay.dispatcher.wake()

        relay.taps.append(offer)
        try:
            while True:
                yield await queue.get()
        finally:
            relay.taps.remove(offer)


def summarise(exchange: Exchange) -> dict[str, object]:
    """What a person wants to see of a request that ended. A WebSocket has the code of its first close frame, and who sent it."""
    upgrade = exchange.upgrade
    closed = {"close": upgrade.code, "closed_by": upgrade.closed_by} if upgrade is not None and upgrade.code else {}
    backend = exchange.backend
    route = exchange.judged.route
    head = exchange.judged.head
    return {
        "time": time.time(),
        "id": exchange.request_id,
        "trace": exchange.trace_id,
        "protocol": exchange.protocol,
        "source": exchange.lane.source,
        "destination": exchange.lane.destination,
        "version": backend.version if backend is not None else "",
        "route": route.name if route is not None else "",
        "method": head.method if not head.protocol else "GET",
        "host": head.host,
        "path": head.path[:MAX_PATH],
        "status": exchange.status,
        "grpc_status": STATUSES[exchange.grpc_status] if exchange.grpc_status >= 0 else "",
        "class": CLASSES[exchange.response_class],
        "reason": exchange.reason.code if exchange.reason is not None else "",
        "policy": exchange.policy,
        "seconds": round(exchange.ended - exchange.started, 6),
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
        **closed,
    }


def summarise_opaque(tunnel: Tunnel) -> dict[str, object]:
    """Likewise of an opaque connection, which has no status, host or path."""
    backend = tunnel.backend
    port = tunnel.lane.port
    return {
        "time": time.time(),
        "protocol": "tcp",
        "source": tunnel.lane.source,
        "destination": tunnel.lane.destination,
        "version": backend.version if backend is not None else "",
        "route": port.opaque.name if port is not None else "",
        "class": CLASSES[tunnel.response_class],
        "reason": tunnel.reason.code if tunnel.reason is not None else "",
        "policy": tunnel.policy,
        "seconds": round(tunnel.ended - tunnel.started, 6),
        "bytes_in": tunnel.bytes_in,
        "bytes_out": tunnel.bytes_out,
    }
