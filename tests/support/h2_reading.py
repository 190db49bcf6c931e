"""Drives a connection of the codec and writes down what it reports: the smallest honest user of `tulle.http.h2`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tulle.http.h2.connection import CLIENT, SERVER, Connection
from tulle.http.h2.field import Field, FieldStore
from tulle.http.h2.frames import CODES, GOAWAY, PREFACE, RST_STREAM
from tulle.http.h2.limits import Http2Limits
from tulle.http.h2.stream import Handler, Stream
from tulle.http.head import Limits, Refusal, RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LIMITS = Http2Limits(Limits())

type_of_event = tuple[object, ...]


class Recorder(Handler):
    """Writes down; consumes data at once unless told otherwise."""

    def __init__(self, role: int = SERVER, limits: Http2Limits = LIMITS, store: FieldStore | None = None) -> None:
        self.events: list[type_of_event] = []
        self.heads: list[RequestHead | ResponseHead] = []
        self.streams: dict[int, Stream] = {}
        self.consumes = True
        self.outputs = 0
        self.sent = b""
        self.now = 0.0
        self.store = store or FieldStore()
        self.connection = Connection(role, self, self.store, limits, 0.0)

    def read(self, pieces: Iterable[bytes]) -> Recorder:
        """Receives all pieces, and keeps what is sent."""
        for piece in pieces:
            self.connection.receive(piece, self.now)
            self.sent += self.connection.take()
        return self

    def fields(self, *pairs: tuple[bytes, bytes]) -> list[Field]:
        """Fields to send."""
        return [self.store.field(name, value) for name, value in pairs]

    def on_output(self) -> None:
        self.outputs += 1

    def on_request(self, stream: Stream, head: RequestHead, done: bool) -> None:
        self.streams[stream.id] = stream
        self.heads.append(head)
        self.events.append(
            ("request", stream.id, head.method, head.target, head.authority, tuple(head.fields), head.framing, done)
        )

    def on_refused(self, stream: Stream, refusal: Refusal) -> None:
        self.streams[stream.id] = stream
        self.events.append(("refused", stream.id, refusal.status, refusal.detail))

    def on_response(self, stream: Stream, head: ResponseHead, done: bool) -> None:
        self.heads.append(head)
        self.events.append(("response", stream.id, head.status, tuple(head.fields), head.framing, done))

    def on_data(self, stream: Stream, payload: bytes, done: bool) -> None:
        self.events.append(("data", stream.id, payload, done))
        if self.consumes:
            self.connection.consume(stream, len(payload))

    def on_trailers(self, stream: Stream, trailers: list[Field]) -> None:
        self.events.append(("trailers", stream.id, tuple(field.pair for field in trailers)))

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> None:
        self.events.append(("reset", stream.id, CODES[code] if code < len(CODES) else code, by_peer))

    def on_writable(self, stream: Stream) -> None:
        self.events.append(("writable", stream.id))

    def on_ready(self) -> None:
        self.events.append(("ready",))

    def on_goaway(self, code: int) -> None:
        self.events.append(("goaway", code))

    def on_pong(self) -> None:
        self.events.append(("pong",))

    def on_failed(self, code: int, detail: str) -> None:
        self.events.append(("failed", CODES[code], detail))


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
