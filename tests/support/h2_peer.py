"""The other end of an HTTP/2 connection, as rude as a test wants it: frames are sent as they are, and what comes is written down."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

from tests.support.h2_reading import Frame
from tests.support.h2_script import literal_block
from tests.support.proxy_harness import DEADLINE, dial, until
from tulle.http.h2.frames import (
    CODES,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    settings_frame,
    window_frame,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACKNOWLEDGED = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"


def get(stream_id: int, path: bytes = b"/", more: bytes = b"") -> bytes:
    """A whole request; `more`: header block fragments behind the pseudo-header fields."""
    return head(stream_id, 0x1, b"GET", path, more)


def post(stream_id: int, path: bytes = b"/") -> bytes:
    """A request whose body is still to come."""
    return head(stream_id, 0, b"POST", path)


def head(stream_id: int, flags: int, method: bytes, path: bytes, more: bytes = b"") -> bytes:
    """HEADERS, and CONTINUATION where they are long."""
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"shop")]
    block = literal_block(pseudo) + more
    parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    last = len(parts) - 1
    return b"".join(
        frame(
            CONTINUATION if index else HEADERS,
            (0 if index else flags) | (END_HEADERS if index == last else 0),
            stream_id,
            part,
        )
        for index, part in enumerate(parts)
    )


class Peer:
    """Reads in a thread, so that nothing is lost when the proxy closes. `reads`: False leaves everything in the kernel."""

    def __init__(self, sock: socket.socket, hello: bytes, *, reads: bool = True) -> None:
        self.sock = sock
        self.frames: list[Frame] = []
        """All that came."""
        self.is_over = False
        """The other end has closed."""
        self.bytes_read = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.send(hello)
        if reads:
            self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self._reader.ident is not None:
            self._reader.join(DEADLINE)
        self.sock.close()

    @classmethod
    def caller(cls, port: int, settings: tuple[tuple[int, int], ...] = (), *, reads: bool = True) -> Peer:
        """Of a door."""
        return cls(dial(port), PREFACE + settings_frame(list(settings)), reads=reads)

    @classmethod
    def endpoint(cls, sock: socket.socket, settings: tuple[tuple[int, int], ...] = (), *, reads: bool = True) -> Peer:
        """Of a connection that the proxy made."""
        seen = b""
        while len(seen) < len(PREFACE):
            read = sock.recv(len(PREFACE) - len(seen))
            if not read:
                break
            seen += read
        return cls(sock, settings_frame(list(settings)) + ACKNOWLEDGED, reads=reads)

    def read(self) -> None:
        """Reads from now on."""
        self._reader.start()

    def send(self, octets: bytes) -> bool:
        """As they are. False: the connection is gone."""
        try:
            self.sock.sendall(octets)
        except OSError:
            return False
        return True

    def send_all(self, pieces: Iterator[bytes], most: int, meanwhile: Callable[[], bool] = bool) -> int:
        """Sends pieces until the proxy has had enough, and no more than `most`; returns how many. `meanwhile` holds again and again."""
        for number in range(most):
            if number % 100 == 99:
                assert meanwhile is bool or meanwhile()
            if self.fate or self.is_over or not self.send(next(pieces)):
                return number
        return most

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Until a fact holds."""
        until(holds, f"{what}; seen: {self.frames[-20:]}")

    def answers(self, stream_id: int) -> bool:
        """Whether a whole answer came on a stream."""
        return any(
            seen.stream_id == stream_id and seen.kind in (HEADERS, DATA) and seen.flags & 1
            for seen in list(self.frames)
        )

    def has_head(self, stream_id: int) -> bool:
        """Whether the head of an answer came on a stream."""
        return any(seen.stream_id == stream_id and seen.kind == HEADERS for seen in list(self.frames))

    def body(self, stream_id: int) -> bytes:
        """The payload of a stream so far."""
        return b"".join(f.payload for f in list(self.frames) if f.stream_id == stream_id and f.kind == DATA)

    def reset_code(self, stream_id: int) -> str:
        """The code of RST_STREAM on a stream; empty when none came."""
        for seen in list(self.frames):
            if seen.kind == RST_STREAM and seen.stream_id == stream_id:
                return CODES[int.from_bytes(seen.payload, "big")]
        return ""

    @property
    def fate(self) -> str:
        """The code of GOAWAY; empty when none came."""
        for seen in list(self.frames):
            if seen.kind == GOAWAY:
                return CODES[int.from_bytes(seen.payload[4:8], "big")]
        return ""

    @property
    def is_greeted(self) -> bool:
        """The proxy's SETTINGS came."""
        return any(seen.kind == SETTINGS for seen in list(self.frames))

    def _receive(self) -> bytes:
        while True:
            try:
                return self.sock.recv(65536)
            except TimeoutError:
                continue

    def _read(self) -> None:
        rest = b""
        with contextlib.suppress(ConnectionError):
            while octets := self._receive():
                self.bytes_read += len(octets)
                rest += octets
                while len(rest) >= 9 and len(rest) >= (end := 9 + int.from_bytes(rest[:3], "big")):
                    self.frames.append(Frame(rest[3], rest[4], int.from_bytes(rest[5:9], "big"), rest[9:end]))
                    rest = rest[end:]
        self.is_over = True


class Bystander:
    """A well-behaved caller on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.peer = Peer.caller(port)
        self._next = 1

    def is_served(self) -> bool:
        """One request and its whole answer, on the same connection as those before."""
        stream_id = self._next
        self._next += 2
        self.peer.send(get(stream_id))
        self.peer.wait(lambda: self.peer.answers(stream_id) or self.peer.is_over, "a bystander is served")
        received = len(self.peer.body(stream_id)) + 9
        self.peer.send(window_frame(0, received))
        return self.peer.answers(stream_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves."""
        self.peer.__exit__()
