"""Asks a control socket from asyncio: the agent's way to the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tulle.http.exchange import Exchange, Lines, RefusedError, Reply, ResponseError

__all__ = ["AsyncUnixConnection", "RefusedError", "Reply", "ResponseError"]

READ_BYTES = 65_536


class AsyncUnixConnection:
    """A way to one unix socket; each request connects anew."""

    def __init__(self, path: Path | str, *, timeout: float = 30.0) -> None:
        self._path = str(path)
        self._timeout = timeout

    async def request(
        self, method: str, target: str, body: bytes = b"", content_type: str = "application/json"
    ) -> Reply:
        """The whole answer. Raises OSError, TimeoutError and ResponseError."""
        exchange = Exchange(method, target, body, content_type)
        async with asyncio.timeout(self._timeout), self._open(exchange) as reader:
            pieces = [piece async for piece in _pieces(reader, exchange)]
        return exchange.reply(b"".join(pieces))

    async def lines(self, target: str) -> AsyncIterator[bytes]:
        """The answer's lines as they come, without limit on the wait between them, once there is an answer.

        Raises as `request` does, and RefusedError for an answer other than 2xx.
        """
        lines = self._lines(target)
        await anext(lines)
        return lines

    async def _lines(self, target: str) -> AsyncIterator[bytes]:
        """An empty one first: the answer is good."""
        exchange = Exchange("GET", target)
        lines = Lines()
        async with self._open(exchange) as reader:
            pieces = _pieces(reader, exchange)
            async with asyncio.timeout(self._timeout):
                first = await anext(pieces, b"")
                if not exchange.reply(b"").is_ok:
                    raise RefusedError(exchange.reply(first + b"".join([piece async for piece in pieces])))
            yield b""
            for line in lines.feed(first):
                yield line
            async for piece in pieces:
                for line in lines.feed(piece):
                    yield line
            for line in lines.rest():
                yield line

    @asynccontextmanager
    async def _open(self, exchange: Exchange) -> AsyncIterator[asyncio.StreamReader]:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(exchange.request)
            yield reader
        finally:
            writer.close()


async def _pieces(reader: asyncio.StreamReader, exchange: Exchange) -> AsyncIterator[bytes]:
    """Payload as it comes; the first piece may be empty and comes with the head."""
    while not exchange.is_done:
        knew = exchange.head is not None
        piece = exchange.feed(await reader.read(READ_BYTES))
        if piece or (not knew and exchange.head is not None):
            yield piece
