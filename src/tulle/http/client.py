"""Asks a control socket, blocking: for the command line. Imports no asyncio and no `http.client`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

from tulle.http.exchange import Exchange, Lines, RefusedError, Reply, ResponseError

__all__ = ["RefusedError", "Reply", "ResponseError", "UnixConnection", "request"]

READ_BYTES = 65_536


def request(path: Path | str, method: str, target: str, body: bytes = b"", *, timeout: float = 30.0) -> Reply:
    """One request to the unix socket at `path`. Raises OSError when nobody answers, ResponseError when it is no answer."""
    return UnixConnection(path, timeout=timeout).request(method, target, body)


class UnixConnection:
    """A way to one unix socket; each request connects anew."""

    def __init__(self, path: Path | str, *, timeout: float | None = 30.0) -> None:
        self._path = str(path)
        self._timeout = timeout

    def request(self, method: str, target: str, body: bytes = b"", content_type: str = "application/json") -> Reply:
        """The whole answer. Raises OSError, TimeoutError and ResponseError."""
        exchange = Exchange(method, target, body, content_type)
        with self._connect() as sock:
            _send(sock, exchange)
            return exchange.reply(b"".join(_pieces(sock, exchange)))

    def lines(self, target: str, *, timeout: float | None = None) -> Iterator[bytes]:
        """The answer's lines as they come, once there is an answer; no limit on the wait between them unless given.

        Raises as `request` does, and RefusedError for an answer other than 2xx.
        """
        lines = self._lines(target, timeout)
        next(lines)
        return lines

    def _lines(self, target: str, timeout: float | None) -> Iterator[bytes]:
        """An empty one first: the answer is good."""
        exchange = Exchange("GET", target)
        lines = Lines()
        with self._connect() as sock:
            _send(sock, exchange)
            pieces = _pieces(sock, exchange)
            first = next(pieces, b"")
            if not exchange.reply(b"").is_ok:
                raise RefusedError(exchange.reply(first + b"".join(pieces)))
            yield b""
            yield from lines.feed(first)
            sock.settimeout(timeout)
            for piece in pieces:
                yield from lines.feed(piece)
            yield from lines.rest()

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        return sock


def _send(sock: socket.socket, exchange: Exchange) -> None:
    """Sends the request; a peer that refuses before it read all still has an answer to read."""
    try:
        sock.sendall(exchange.request)
    except (BrokenPipeError, ConnectionResetError):
        return


def _pieces(sock: socket.socket, exchange: Exchange) -> Iterator[bytes]:
    """Payload as it comes; the first piece is empty and comes with the head."""
    while not exchange.is_done:
        knew = exchange.head is not None
        piece = exchange.feed(sock.recv(READ_BYTES))
        if piece or (not knew and exchange.head is not None):
            yield piece
