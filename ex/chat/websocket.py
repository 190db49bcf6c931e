"""As much of RFC 6455 as a chat needs, on asyncio's streams: text frames, close frames, both sides' handshake."""

import asyncio
import base64
import hashlib
import os

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8


class Refused(Exception):
    """The handshake was answered otherwise; the text is the status line."""


class WebSocket:
    """One side of a conversation that has begun. A client masks what it sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._is_client = is_client
        self._has_closed = False

    async def send(self, text: str) -> None:
        """One message."""
        await self._write(TEXT, text.encode())

    async def receive(self) -> str | None:
        """The next message; None when the other side has closed."""
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            mask = await self._reader.readexactly(4) if second & 0x80 else bytes(4)
            payload = masked(await self._reader.readexactly(size), mask)
            if first & 0x0F == TEXT:
                return payload.decode()
            if first & 0x0F == CLOSE:
                if not self._has_closed:
                    await self._write(CLOSE, payload)
                self._writer.close()
                return None

    async def close(self, code: int) -> None:
        """Says goodbye; the other side's is what `receive` ends with."""
        self._has_closed = True
        await self._write(CLOSE, code.to_bytes(2, "big"))

    async def _write(self, kind: int, payload: bytes) -> None:
        mask = os.urandom(4) if self._is_client else b""
        size = len(payload)
        head = bytes((0x80 | kind, (0x80 if mask else 0) | min(size, 126)))
        if size > 125:
            head += size.to_bytes(2, "big")
        self._writer.write(head + mask + masked(payload, mask or bytes(4)))
        await self._writer.drain()


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload masked, or unmasked."""
    return bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))


def proof_of(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a key."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


async def read_fields(reader: asyncio.StreamReader) -> tuple[str, dict[str, bytes]]:
    """The first line of a head, and its fields."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    return first.decode(), {
        name.decode().lower(): value.strip() for name, _, value in (one.partition(b":") for one in lines)
    }


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> WebSocket:
    """A caller's handshake, answered."""
    _, fields = await read_fields(reader)
    proof = proof_of(fields["sec-websocket-key"])
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n")
    writer.write(b"sec-websocket-accept: " + proof + b"\r\n\r\n")
    return WebSocket(reader, writer, is_client=False)


async def connect(host: str, path: str) -> WebSocket:
    """A conversation with a service; raises Refused."""
    reader, writer = await asyncio.open_connection(host, 80)
    key = base64.b64encode(os.urandom(16))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n".encode())
    writer.write(b"sec-websocket-version: 13\r\nsec-websocket-key: " + key + b"\r\n\r\n")
    status, fields = await read_fields(reader)
    if fields.get("sec-websocket-accept") != proof_of(key):
        writer.close()
        raise Refused(status)
    return WebSocket(reader, writer, is_client=True)
