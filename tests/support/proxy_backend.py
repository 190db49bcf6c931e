"""A fast small backend for load: a process of its own, so that a test's threads and it do not share an interpreter.

    GET /            200, its name
    GET /leak        the same, and never forgets 100 octets
    GET, POST /hold  never answers
    GET /half        half of what it announces, then nothing
    GET /big         200, a megabyte
    POST             200 once the body is there

It prints its port.
"""

import asyncio
import sys
from typing import ClassVar


class Answering(asyncio.Protocol):
    """Answers in order, without parsing more than it must."""

    name = b""
    leaked: ClassVar[list[bytes]] = []

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = 0
            if b"content-length: " in head:
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if head.startswith(b"get /leak"):
                self.leaked.append(bytes(100))
            if head.startswith((b"get /hold", b"post /hold")):
                return
            if head.startswith(b"get /half"):
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + bytes(1000))
                return
            body = self.name if not head.startswith(b"get /big") else bytes(1 << 20)
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    """Serves until it is killed."""
    Answering.name = sys.argv[1].encode()
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
