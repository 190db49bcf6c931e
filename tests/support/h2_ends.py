"""Both ends of HTTP/2 by PyPI's `h2`: endpoints that react as a test says, and a caller that shows every event."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import StreamClosedError

from tests.support.proxy_harness import DEADLINE, dial

Fields = list[tuple[bytes, bytes]]
Kind = TypeVar("Kind", bound=Event)


class Talk:
    """One connection at an endpoint."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        """Which connection it is, from 0."""
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.asked: list[int] = []
        """Streams in the order in which they came."""

    def flush(self) -> None:
        """Sends what was said."""
        self.sock.sendall(self.h2.data_to_send())

    def head(self, stream_id: int, *fields: tuple[str, str], done: bool = False) -> None:
        """A 200 with these fields."""
        self.h2.send_headers(stream_id, [(":status", "200"), *fields], end_stream=done)

    def answer(self, stream_id: int, body: bytes = b"yes") -> None:
        """A whole answer as gRPC and everybody else reads it."""
        self.head(stream_id, ("content-type", "application/grpc"))
        self.h2.send_data(stream_id, body)
        self.h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)


class Endpoint:
    """To be served by `Backends`: reacts to each event of each connection, and keeps all of them."""

    def __init__(self, react: Callable[[Talk, Event], bool | None]) -> None:
        self.events: list[Event] = []
        self.talks: list[Talk] = []
        self._react = react
        """False ends the connection."""

    def __call__(self, sock: socket.socket) -> None:
        talk = Talk(len(self.talks), sock)
        self.talks.append(talk)
        talk.h2.initiate_connection()
        talk.flush()
        while octets := sock.recv(65536):
            for event in talk.h2.receive_data(octets):
                if isinstance(event, RequestReceived):
                    talk.asked.append(event.stream_id)
                if isinstance(event, DataReceived) and event.flow_controlled_length:
                    talk.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.events.append(event)
                with contextlib.suppress(StreamClosedError):  # the proxy's reset came in the same octets
                    if self._react(talk, event) is False:
                        return
            talk.flush()

    def seen(self, kind: type[Kind]) -> list[Kind]:
        """The events of a kind so far."""
        return [event for event in list(self.events) if isinstance(event, kind)]


def answers(talk: Talk, event: Event) -> None:
    """Reacts to each request that is complete with `yes`."""
    if isinstance(event, StreamEnded):
        talk.answer(event.stream_id)


class Caller:
    """A connection to a door, streams by their ids."""

    def __init__(self, door: int | socket.socket) -> None:
        self.sock = dial(door) if isinstance(door, int) else door
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self.events: list[Event] = []
        self._news = threading.Condition()
        self.h2.initiate_connection()
        self.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the proxy may have reset it
            self.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(DEADLINE)
        self.sock.close()

    @contextlib.contextmanager
    def saying(self) -> Iterator[H2Connection]:
        """What is said within goes out at the end; the reader, who acknowledges what comes, says nothing meanwhile."""
        with self._news:
            yield self.h2
            self.flush()

    def flush(self) -> None:
        """Sends what was said."""
        with self._news:
            self.sock.sendall(self.h2.data_to_send())

    def ask(self, path: str, *fields: tuple[str, str], body: bytes | None = b"", method: str = "POST") -> int:
        """A request; without its end when the body is None."""
        with self.saying() as h2:
            stream_id = h2.get_next_available_stream_id()
            pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "orders")]
            h2.send_headers(stream_id, [*pseudo, *fields], end_stream=body == b"")
            if body:
                h2.send_data(stream_id, body, end_stream=True)
        return stream_id

    def call(
        self, path: str = "/shop.Orders/Echo", *fields: tuple[str, str], body: bytes | None = b"\0\0\0\0\0"
    ) -> int:
        """A gRPC call."""
        return self.ask(path, ("content-type", "application/grpc"), ("te", "trailers"), *fields, body=body)

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until events make it true."""
        with self._news:
            assert self._news.wait_for(holds, DEADLINE), f"never came true: {what}; {self.events}"

    def of(self, stream_id: int, kind: type[Kind]) -> list[Kind]:
        """A stream's events of a kind so far."""
        return [one for one in self.events if isinstance(one, kind) and getattr(one, "stream_id", 0) == stream_id]

    def end(self, stream_id: int) -> dict[str, str]:
        """Waits for a stream's end; its fields and trailers in one, and `rst` with its code where it was reset."""
        self.wait(lambda: bool(self.of(stream_id, StreamEnded) or self.of(stream_id, StreamReset)), "the stream's end")
        found: dict[str, str] = {}
        heads = [one.headers for one in self.of(stream_id, ResponseReceived)]
        for fields in heads + [one.headers for one in self.of(stream_id, TrailersReceived)]:
            found |= {bytes(name).decode(): bytes(value).decode() for name, value in fields or ()}
        if not self.of(stream_id, StreamEnded):
            found["rst"] = str(int(self.of(stream_id, StreamReset)[0].error_code))
        return found

    def body(self, stream_id: int) -> bytes:
        """What came of a stream's data so far."""
        return b"".join(one.data for one in self.of(stream_id, DataReceived))

    def is_told_to_go(self) -> bool:
        """GOAWAY came."""
        return any(isinstance(one, ConnectionTerminated) for one in self.events)

    def _read(self) -> None:
        while octets := self._receive():
            with self._news:
                for event in self.h2.receive_data(octets):
                    if isinstance(event, DataReceived) and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    self.events.append(event)
                with contextlib.suppress(ConnectionError):
                    self.sock.sendall(self.h2.data_to_send())
                self._news.notify_all()

    def _receive(self) -> bytes:
        self.sock.settimeout(None)
        try:
            return self.sock.recv(65536)
        except OSError:
            return b""
