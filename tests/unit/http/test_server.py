"""The small server and both clients, over a unix socket in a temporary directory."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tulle.http.async_client import AsyncUnixConnection
from tulle.http.client import RefusedError, ResponseError, UnixConnection
from tulle.http.client import request as ask
from tulle.http.server import HttpError, Request, Response, ServerLimits, serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from tulle.http.server import Handler


@asynccontextmanager
async def served(
    path: Path, handler: Handler, *, uids: frozenset[int] | None = None, limits: ServerLimits | None = None
) -> AsyncIterator[Path]:
    listening = path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(listening))
        sock.listen()
        async with asyncio.TaskGroup() as group:
            server = group.create_task(serve(sock, handler, uids=uids, limits=limits))
            try:
                yield listening
            finally:
                server.cancel()


async def echo(request: Request) -> Response:
    peer = request.peer
    assert peer is not None
    seen = {"method": request.method, "path": request.path, "query": request.query, "uid": peer.uid, "pid": peer.pid}
    return Response(200, json.dumps({**seen, "octets": len(request.body)}).encode(), headers={"x-a": "b"})


async def raw(path: Path, wire: bytes) -> bytes:
    """What the server sends until it closes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(wire)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_request_reaches_the_handler_with_its_peer(tmp_path: Path) -> None:
    async with served(tmp_path, echo) as path:
        reply = await AsyncUnixConnection(path).request("PUT", "/a%20b?x=1&y=&x=2", b"z" * 300_000)

    assert reply.is_ok
    assert json.loads(reply.body) == {
        "method": "PUT",
        "path": "/a b",
        "query": {"x": "2", "y": ""},
        "uid": os.getuid(),
        "pid": os.getpid(),
        "octets": 300_000,
    }


async def test_blocking_client_reads_replies_and_lines(tmp_path: Path) -> None:
    async def numbers() -> AsyncGenerator[bytes, None]:
        for piece in (b"1\n2", b"2\n", b"3"):
            yield piece

    async def handler(request: Request) -> Response:
        return Response(200, numbers()) if request.path == "/lines" else Response(404, b"{}")

    async with served(tmp_path, handler) as path:
        reply = await asyncio.to_thread(ask, path, "GET", "/other")
        lines = await asyncio.to_thread(lambda: list(UnixConnection(path).lines("/lines")))
        with pytest.raises(RefusedError) as refused:
            await asyncio.to_thread(lambda: list(UnixConnection(path).lines("/other")))

    assert (reply.status, reply.body, reply.content_type) == (404, b"{}", "application/json")
    assert lines == [b"1", b"22", b"3"]
    assert refused.value.reply == reply


async def test_asynchronous_client_knows_before_the_first_line_whether_there_will_be_any(tmp_path: Path) -> None:
    more = asyncio.Event()

    async def numbers() -> AsyncGenerator[bytes, None]:
        await more.wait()
        yield b"1\n2\n"

    async def handler(request: Request) -> Response:
        return Response(200, numbers()) if request.path == "/lines" else Response(503, b"full")

    async with served(tmp_path, handler) as path:
        lines = await AsyncUnixConnection(path).lines("/lines")
        more.set()
        assert [line async for line in lines] == [b"1", b"2"]
        with pytest.raises(RefusedError, match="full") as refused:
            await AsyncUnixConnection(path).lines("/other")

    assert refused.value.reply.status == 503


async def test_stream_ends_when_the_client_leaves(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def forever() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one\n"
            await asyncio.Event().wait()
        finally:
            left.set()

    async def handler(_: Request) -> Response:
        return Response(200, forever())

    async with served(tmp_path, handler) as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"one\n")
        writer.close()
        async with asyncio.timeout(10):
            await left.wait()


async def test_broken_stream_never_looks_complete(tmp_path: Path) -> None:
    async def breaking() -> AsyncGenerator[bytes, None]:
        yield b"one\n"
        raise ValueError

    async def handler(_: Request) -> Response:
        return Response(200, breaking())

    async with served(tmp_path, handler) as path:
        with pytest.raises(ResponseError, match="closed within the body"):
            await AsyncUnixConnection(path).request("GET", "/")


async def test_errors_are_json_and_the_connection_lives(tmp_path: Path) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/refused":
            raise HttpError(409, "not now")
        raise ValueError("secret")

    async with served(tmp_path, handler) as path:
        head = b" HTTP/1.1\r\nHost: a\r\n"
        got = await raw(path, b"GET /boom" + head + b"\r\nGET /refused" + head + b"Connection: close\r\n\r\n")

    assert got.count(b"HTTP/1.1 500 Internal Server Error") == 1
    assert b"secret" not in got
    assert got.endswith(b'{"error": "not now"}')
    assert b"HTTP/1.1 409 Conflict" in got


async def test_bad_request_is_answered_and_closed(tmp_path: Path) -> None:
    async with served(tmp_path, echo) as path:
        for wire, status in (
            (b"GET / HTTP/1.1\r\n\r\n", b"400"),
            (b"GET / HTTP/2.0\r\n", b"505"),
            (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
            (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        ):
            got = await raw(path, wire)
            assert got.startswith(b"HTTP/1.1 " + status)
            assert b"connection: close" in got


async def test_chunked_body_is_bounded(tmp_path: Path) -> None:
    async with served(tmp_path, echo, limits=ServerLimits(body_bytes=10)) as path:
        got = await raw(
            path, b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"
        )

    assert got.startswith(b"HTTP/1.1 413")


async def test_slow_head_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path, echo, limits=ServerLimits(head_seconds=0.05, idle_seconds=0.05)) as path:
        assert (await raw(path, b"GET / HT")).startswith(b"HTTP/1.1 408")
        assert await raw(path, b"") == b""


async def test_continue_is_said_before_a_body(tmp_path: Path) -> None:
    async with served(tmp_path, echo) as path:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"a")
        await reader.readuntil(b'"octets": 1}')
        writer.close()


async def test_other_users_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path, echo, uids=frozenset([os.getuid() + 1])) as path:
        reply = await AsyncUnixConnection(path).request("GET", "/")

    assert reply.status == 403


async def test_head_is_answered_without_body(tmp_path: Path) -> None:
    async with served(tmp_path, echo) as path:
        reply = await AsyncUnixConnection(path).request("HEAD", "/")

    assert (reply.status, reply.body) == (200, b"")


async def test_connections_beyond_the_limit_wait(tmp_path: Path) -> None:
    async with served(tmp_path, echo, limits=ServerLimits(connections=1)) as path:
        _, first = await asyncio.open_unix_connection(str(path))
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(AsyncUnixConnection(path).request("GET", "/"))
            done, _ = await asyncio.wait([waiting], timeout=0.05)
            assert not done
            first.close()
        assert waiting.result().is_ok


async def test_who_comes_as_a_server_stops_is_the_next_ones(tmp_path: Path) -> None:
    path = tmp_path / "s"
    until = asyncio.Event()
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
        sock.bind(str(path))
        sock.listen()
        async with asyncio.TaskGroup() as group:
            first = group.create_task(serve(sock, echo, until=until))
            group.create_task(come_as_it_stops(client, path, until))
            await first
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        client.setblocking(False)
        async with asyncio.TaskGroup() as group:
            second = group.create_task(serve(sock, echo, limits=ServerLimits(keeps_alive=False)))

            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65536), 10)

            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer.lower()
            second.cancel()


async def come_as_it_stops(client: socket.socket, path: Path, until: asyncio.Event) -> None:
    """The loop hears of both in one turn."""
    client.connect(str(path))
    until.set()


async def test_who_was_let_in_is_answered_by_a_server_that_stops(tmp_path: Path) -> None:
    until, begun, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> Response:
        begun.set()
        await go_on.wait()
        return Response(200, b"late")

    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(serve(sock, slow, limits=ServerLimits(keeps_alive=False), until=until))
            asked = group.create_task(raw(path, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"))
            await begun.wait()
            until.set()
            go_on.set()

            assert (await asked).endswith(b"late")
