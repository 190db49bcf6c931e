"""Drives a connection of the codec and writes down what it reports: the smallest honest user of `tulle.http.h2`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tulle.http.h2.connection import CLIENT, SERVER, Connection
from tulle.http.h2.events import FAILED, GONE_AWAY, PAYLOAD, RESET, Event, Events
from tulle.http.h2.field import Field, FieldStore
from tulle.http.h2.frames import CODES, GOAWAY, PREFACE, RST_STREAM
from tulle.http.h2.limits import Http2Limits
from tulle.http.h2.stream import Stream
from tulle.http.head import Limits, RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LIMITS = Http2Limits(Limits())

Told = tuple[object, ...]


class Recorder:
    """One end of a connection. Received data is consumed at once unless `consumes` is False."""

    def __init__(self, role: int = SERVER, limits: Http2Limits = LIMITS, store: FieldStore | None = None) -> None:
        self.events: list[Told] = []
        """What was reported, in words."""
        self.heads: list[RequestHead | ResponseHead] = []
        self.streams: dict[int, Stream] = {}
        self.sent = b""
        """What `read` made the connection send."""
        self.now = 0.0
        self.consumes = True
        self.store = store or FieldStore()
        self._reported = Events()
        self.connection = Connection(role, self._reported, self.store, limits, 0.0)

    def read(self, pieces: Iterable[bytes]) -> Recorder:
        """Receives all pieces, and keeps what is sent."""
        for piece in pieces:
            self.receive(piece)
            self.sent += self.connection.take()
        return self

    def receive(self, octets: bytes) -> None:
        """Receives, and writes down what is reported."""
        self.connection.receive(octets, self.now)
        for event in self._reported.take():
            stream = event.stream
            if stream is not None:
                self.streams[stream.id] = stream
                if event.kind == PAYLOAD and self.consumes:
                    self.connection.consume(stream, len(event.payload))
            if isinstance(event.head, (RequestHead, ResponseHead)):
                self.heads.append(event.head)
            self.events.append(told(event))

    @property
    def outputs(self) -> int:
        """How often there was something to send, and nothing before."""
        return self._reported.outputs

    def fields(self, *pairs: tuple[bytes, bytes]) -> list[Field]:
        """Fields to send."""
        return [self.store.field(name, value) for name, value in pairs]


def told(event: Event) -> Told:
    """An event as values that compare."""
    parts: list[object] = [event.kind]
    if event.stream is not None:
        parts.append(event.stream.id)
    head = event.head
    if isinstance(head, RequestHead):
        parts += [head.method, head.target, head.authority, tuple(head.fields), head.framing, event.done]
    elif isinstance(head, ResponseHead):
        parts += [head.status, tuple(head.fields), head.framing, event.done]
    elif head is not None:
        parts += [head.status, head.detail]
    if event.kind == PAYLOAD:
        parts += [event.payload, event.done]
    if event.fields is not None:
        parts.append(tuple(field.pair for field in event.fields))
    if event.kind in (RESET, FAILED, GONE_AWAY):
        parts += [CODES[event.code] if event.code < len(CODES) else event.code, event.by_peer, event.detail]
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Frame:
    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frames_of(octets: bytes) -> Iterator[Frame]:
    """The frames in what was sent, behind a preface if there is one."""
    at = len(PREFACE) if octets.startswith(PREFACE) else 0
    while at < len(octets):
        end = at + 9 + int.from_bytes(octets[at : at + 3], "big")
        assert end <= len(octets), "a frame is cut off"
        yield Frame(
            octets[at + 3], octets[at + 4], int.from_bytes(octets[at + 5 : at + 9], "big"), octets[at + 9 : end]
        )
        at = end


def reaction_in(octets: bytes) -> str:
    """`connection CODE`, `stream CODE`, or `accepted`: the gravest of what was sent."""
    reaction = "accepted"
    for frame in frames_of(octets):
        if frame.kind == GOAWAY and frame.payload[4:8] != bytes(4):
            return f"connection {CODES[int.from_bytes(frame.payload[4:8], 'big')]}"
        if frame.kind == RST_STREAM:
            reaction = f"stream {CODES[int.from_bytes(frame.payload, 'big')]}"
    return reaction


__all__ = ["CLIENT", "LIMITS", "SERVER", "Frame", "Recorder", "frames_of", "reaction_in"]
