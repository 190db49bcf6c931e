"""A small HTTP/1.1 server for control sockets: the agent's API, the proxy's admin API, a scrape."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from tulle.http.h1 import (
    CONTINUE,
    LAST_CHUNK,
    BodyReader,
    Limits,
    Refusal,
    RequestHead,
    chunk,
    find_head_end,
    parse_request,
    refuse_early,
    write_reply,
)
from tulle.http.write import REASONS

log = logging.getLogger(__name__)

READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a unix socket, by SO_PEERCRED."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whole."""

    method: str
    path: str
    """Decoded, without the query."""
    query: dict[str, str]
    """The last value of each name."""
    body: bytes
    peer: Peer | None
    """None on TCP."""
    host: str = ""
    """Lower case, without port: a page on loopback checks it against DNS rebinding."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers: octets, or an async iterator that is sent as it comes, chunked."""

    status: int
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


class HttpError(Exception):
    """Raised by a handler to answer with this status and `{"error": message}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a client may hold of the server."""

    connections: int = 64
    """At once; further ones wait in the listen queue."""
    head: Limits = field(default_factory=Limits)
    head_seconds: float = 10.0
    """From the first octet of a head to its last."""
    idle_seconds: float = 60.0
    """Between requests."""
    body_bytes: int = 64 * 1024 * 1024
    body_seconds: float = 60.0
    keeps_alive: bool = True
    """Whether a connection may bring more than one request."""
    send_seconds: float = 30.0
    """For a client to make room for the next write."""


async def serve(
    sock: socket.socket,
    handler: Handler,
    *,
    uids: frozenset[int] | None = None,
    limits: ServerLimits | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serves a listening socket until cancelled; connections end with it. `uids`: who may ask, on a unix socket.

    `until`: once this is set nobody new is let in, and it returns when those who are have left.
    """
    limits = limits or ServerLimits()
    sock.setblocking(False)
    async with asyncio.TaskGroup() as connections:
        accepting = connections.create_task(_accept(sock, handler, uids, limits, connections))
        if until is not None:
            await until.wait()
            accepting.cancel()


async def _accept(
    sock: socket.socket,
    handler: Handler,
    uids: frozenset[int] | None,
    limits: ServerLimits,
    connections: asyncio.TaskGroup,
) -> None:
    room = asyncio.Semaphore(limits.connections)
    while True:
        await room.acquire()
        await _has_news(sock)
        try:
            client, _ = sock.accept()
        except BlockingIOError:
            room.release()
            continue
        except OSError as fault:
            room.release()
            log.warning("accept failed: %s", fault)
            await asyncio.sleep(0.1)
            continue
        client.setblocking(False)
        task = connections.create_task(_serve_connection(client, handler, uids, limits))
        task.add_done_callback(lambda _: room.release())


async def _has_news(sock: socket.socket) -> None:
    """Returns when somebody may have come. Unlike the loop's own accept, what is cancelled here has let nobody in."""
    loop = asyncio.get_running_loop()
    news = loop.create_future()

    def tell() -> None:
        if not news.done():
            news.set_result(None)

    loop.add_reader(sock.fileno(), tell)
    try:
        await news
    finally:
        loop.remove_reader(sock.fileno())


def error_response(status: int, message: str) -> Response:
    """`{"error": message}`."""
    return Response(status, json.dumps({"error": message}).encode())


def peer_of(sock: socket.socket) -> Peer | None:
    """The credentials that the kernel noted when a unix socket was connected; None for other families."""
    if sock.family != socket.AF_UNIX:
        return None
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid, gid)


async def _serve_connection(
    client: socket.socket, handler: Handler, uids: frozenset[int] | None, limits: ServerLimits
) -> None:
    try:
        peer = peer_of(client)
        reader, writer = await asyncio.open_connection(sock=client)
    except OSError:
        client.close()
        return
    connection = _Connection(reader, writer, peer, limits)
    try:
        if uids is not None and (peer is None or peer.uid not in uids):
            await connection.send_whole(error_response(403, "this user may not ask"), close=True)
        else:
            while await connection.serve_one(handler):
                pass
    except (OSError, TimeoutError):
        pass
    except Exception:
        log.exception("control connection failed")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class _Connection:
    """One client: reads a request, answers it, says whether another may follow."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer | None, limits: ServerLimits
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._limits = limits
        self._buffer = b""

    async def serve_one(self, handler: Handler) -> bool:
        head = await self._read_head()
        if head is None:
            return False
        if isinstance(head, Refusal):
            await self.send_whole(error_response(head.status, head.detail), close=True)
            return False
        body = await self._read_body(head)
        if isinstance(body, Response):
            await self.send_whole(body, close=True)
            return False
        query = dict(parse_qsl(head.query, keep_blank_values=True))
        request = Request(head.method, unquote(head.path), query, body, self._peer, head.host)
        try:
            response = await handler(request)
        except HttpError as refused:
            response = error_response(refused.status, refused.message)
        except Exception:
            log.exception("%s %s failed", head.method, head.path)
            response = error_response(500, "internal error; the log has it")
        with_body = head.method != "HEAD"
        if isinstance(response.body, bytes):
            stays = head.keep_alive and self._limits.keeps_alive
            await self.send_whole(response, close=not stays, with_body=with_body, minor=head.version_minor)
            return stays
        return await self._send_stream(response, response.body, head, with_body)

    async def send_whole(self, response: Response, *, close: bool, with_body: bool = True, minor: int = 1) -> None:
        body = response.body if isinstance(response.body, bytes) else b""
        self._writer.write(
            write_reply(
                response.status,
                body,
                response.content_type.encode(),
                _lines(response.headers),
                close=close,
                with_body=with_body,
                client_minor=minor,
            )
        )
        await self._drain()

    async def _send_stream(
        self, response: Response, body: AsyncIterator[bytes], head: RequestHead, with_body: bool
    ) -> bool:
        """Sends pieces as they come, until they end or the client leaves."""
        chunked = head.version_minor == 1
        stays = chunked and head.keep_alive and self._limits.keeps_alive
        lines = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n" % (
            response.status,
            REASONS.get(response.status, b""),
            response.content_type.encode(),
        )
        lines += b"transfer-encoding: chunked\r\n" if chunked else b""
        lines += b"" if stays else b"connection: close\r\n"
        self._writer.write(lines + _lines(response.headers) + b"\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._pump(body if with_body else None, chunked))
                leaving = group.create_task(self._client_leaves())
                await asyncio.wait((pump, leaving), return_when=asyncio.FIRST_COMPLETED)
                sent = pump.done() and pump.result()
                pump.cancel()
                leaving.cancel()
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()
        return sent and stays

    async def _pump(self, body: AsyncIterator[bytes] | None, chunked: bool) -> bool:
        """Whether the whole stream was sent; what was sent of a broken one never looks complete."""
        try:
            await self._drain()
            if body is None:
                return True
            async for piece in body:
                self._writer.write(chunk(piece) if chunked else piece)
                await self._drain()
            if chunked:
                self._writer.write(LAST_CHUNK)
                await self._drain()
        except OSError:
            return False
        except Exception:
            log.exception("a stream broke")
            return False
        return True

    async def _client_leaves(self) -> None:
        """Returns when the client closes, or sends more than belongs before the answer."""
        with suppress(OSError):
            while len(self._buffer) < READ_BYTES:
                read = await self._reader.read(READ_BYTES)
                if not read:
                    return
                self._buffer += read

    async def _read_head(self) -> RequestHead | Refusal | None:
        """The next head; None when the client closed or said nothing in time."""
        if not self._buffer:
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    self._buffer = await self._reader.read(READ_BYTES)
            except TimeoutError:
                return None
        limits = self._limits.head
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                while (end := find_head_end(self._buffer, 0)) < 0:
                    refused = refuse_early(self._buffer, 0, limits)
                    if refused is not None:
                        return refused
                    read = await self._reader.read(READ_BYTES)
                    if not read:
                        return None
                    self._buffer += read
        except TimeoutError:
            return Refusal(408, "head took too long")
        head = parse_request(self._buffer[:end], limits)
        self._buffer = self._buffer[end:]
        return head

    async def _read_body(self, head: RequestHead) -> bytes | Response:
        """The whole body, or why there is none."""
        limit = self._limits.body_bytes
        if head.content_length > limit:
            return error_response(413, f"a body has at most {limit} octets")
        body = BodyReader(head.framing, head.content_length, self._limits.head)
        if head.expect_continue and not self._buffer:
            self._writer.write(CONTINUE)
        pieces: list[bytes] = []
        total = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while not body.done:
                    if not self._buffer:
                        self._buffer = await self._reader.read(READ_BYTES)
                        if not self._buffer:
                            body.end()
                    known = len(pieces)
                    at = body.feed(self._buffer, 0, pieces)
                    self._buffer = self._buffer[at:]
                    if body.failed:
                        return error_response(400, body.fault)
                    total += sum(map(len, pieces[known:]))
                    if total > limit:
                        return error_response(413, f"a body has at most {limit} octets")
        except TimeoutError:
            return error_response(408, "body took too long")
        return b"".join(pieces)

    async def _drain(self) -> None:
        async with asyncio.timeout(self._limits.send_seconds):
            await self._writer.drain()


def _lines(headers: dict[str, str]) -> bytes:
    for name, value in headers.items():
        if not (name + value).isprintable():
            raise ValueError(f"header {name!r} is not printable")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
