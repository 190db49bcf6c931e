"""A service for mesh tests: says who it is, and on request calls others as any program would, by name. Standard library only.

    GET /…                      200, `x-version`, JSON {"name", "version", "pid"}
    GET /size?octets=N          that many octets
    GET /call?url=U             calls U; JSON {"status", "reason", "body"} or {"error"}
    GET /tcp?host=H&port=P&send=S   sends S, shuts its half, reads to the end; JSON {"got"} or {"error"}
    GET /resolve?name=N         JSON {"address"} or {"error"}
    POST /load?… ; GET /load    starts `load.py` with these arguments; its report, or 202 while it runs
    POST /stop                  ends that load

With --tcp PORT it also listens there, and answers a whole stream, once the caller has shut its half, with the octets reversed.
"""

import argparse
import asyncio
import errno
import http.client
import json
import os
import socket
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

LOAD = Path(__file__).with_name("load.py")


class Peer(asyncio.Protocol):
    """One connection: answers plain GETs at once, hands the rest to a thread or a child."""

    name = ""
    version = ""
    load: "asyncio.Task[bytes] | None" = None
    """One for the whole process."""
    child: "asyncio.subprocess.Process | None" = None

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
            self._serve(method, target)

    def _serve(self, method: str, target: str) -> None:
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        loop = asyncio.get_running_loop()
        if url.path == "/size":
            self._answer(200, bytes(int(query["octets"])))
        elif url.path == "/call":
            self._answer_later(loop.run_in_executor(None, call, query["url"]))
        elif url.path == "/tcp":
            words = (query["host"], int(query["port"]), query["send"], query.get("shut") != "no")
            self._answer_later(loop.run_in_executor(None, exchange_tcp, *words))
        elif url.path == "/resolve":
            self._answer_later(loop.run_in_executor(None, resolve, query["name"]))
        elif url.path == "/load" and method == "POST":
            Peer.load = loop.create_task(run_load(query))
            self._answer(202, b"{}")
        elif url.path == "/stop" and Peer.child is not None:
            Peer.child.terminate()
            self._answer(202, b"{}")
        elif url.path == "/load":
            if Peer.load is None or not Peer.load.done():
                self._answer(202, b"{}")
            else:
                self._answer(200, Peer.load.result())
        else:
            me = {"name": self.name, "version": self.version, "pid": os.getpid(), "path": url.path}
            self._answer(200, json.dumps(me).encode())

    def _answer_later(self, result: "asyncio.Future[bytes]") -> None:
        result.add_done_callback(lambda done: self._answer(200, done.result()))

    def _answer(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\nx-version: {self.version}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def call(url: str) -> bytes:
    """One GET with the standard library's client, not knowing any mesh."""
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    try:
        client.request("GET", parts.path + ("?" + parts.query if parts.query else ""))
        answer = client.getresponse()
        body = answer.read().decode("latin-1")
        return json.dumps({
            "status": answer.status, "reason": answer.getheader("x-tulle-reason"),
            "version": answer.getheader("x-version"), "body": body,
        }).encode()  # fmt: skip
    except (OSError, http.client.HTTPException) as fault:
        return json.dumps({"error": type(fault).__name__}).encode()
    finally:
        client.close()


def exchange_tcp(host: str, port: int, send: str, shut: bool) -> bytes:
    """Sends, shuts its half unless told otherwise, reads until the other shuts too."""
    try:
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(send.encode())
            if shut:
                shut_half(connection)
            got = b"".join(iter(lambda: connection.recv(65536), b""))
        return json.dumps({"got": got.decode("latin-1")}).encode()
    except OSError as fault:
        return json.dumps({"error": type(fault).__name__}).encode()


def shut_half(connection: socket.socket) -> None:
    """Says that no more comes. To one that was reset by now there is nothing to say: who reads on hears of it."""
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError as fault:
        if fault.errno != errno.ENOTCONN:
            raise


def resolve(name: str) -> bytes:
    """What the resolver of this pod says."""
    try:
        return json.dumps({"address": socket.gethostbyname(name)}).encode()
    except OSError as fault:
        return json.dumps({"error": type(fault).__name__}).encode()


async def run_load(query: dict[str, str]) -> bytes:
    """The report of one run of `load.py` from within this pod."""
    arguments = [query.pop("url")]
    arguments += [f"--{name}" if value == "yes" else f"--{name}={value}" for name, value in query.items()]
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(LOAD), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    Peer.child = child
    output, _ = await child.communicate()
    Peer.child = None
    return output


async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers only once the other half is shut."""
    whole = await reader.read()
    writer.write(whole[::-1])
    await writer.drain()
    writer.close()


async def serve(address: str, port: int, tcp: int | None) -> None:
    """Serves until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Peer, address, port, backlog=1024)
    if tcp is not None:
        await asyncio.start_server(reverse, address, tcp)
    await server.serve_forever()


def main() -> None:
    """Reads its arguments and serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="peer")
    parser.add_argument("--version", default="v1")
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--tcp", type=int)
    given = parser.parse_args()
    Peer.name, Peer.version = given.name, given.version
    asyncio.run(serve(given.address, given.port, given.tcp))


if __name__ == "__main__":
    main()
