"""What hostile callers send, for the codec's tests and for the proxy behind a socket. Each attack would go on for ever.

Every attack is what follows the preface and SETTINGS; `ends` is the GOAWAY that it must meet within `within` of its pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tests.support.h2_script import literal_block, octets_of
from tulle.http.h2 import frames
from tulle.http.h2.field import integer
from tulle.http.h2.frames import frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = literal_block([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"shop")])
POST = literal_block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"shop")])
OPEN = frame(frames.HEADERS, 0x4, 1, POST)
"""A stream whose body is still to come."""


@dataclass(frozen=True, slots=True)
class Attack:
    name: str
    pieces: Callable[[], Iterator[bytes]]
    ends: str
    within: int


def again(script: str, first: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """The same frames for ever, after others."""

    def pieces() -> Iterator[bytes]:
        if first:
            yield first
        octets = octets_of(script)
        while True:
            yield octets

    return pieces


def on_new_streams(*makers: Callable[[int], bytes]) -> Callable[[], Iterator[bytes]]:
    """Frames for stream 1, 3, 5 …"""

    def pieces() -> Iterator[bytes]:
        for stream_id in count(1, 2):
            yield b"".join(make(stream_id) for make in makers)

    return pieces


def get(stream_id: int) -> bytes:
    return frame(frames.HEADERS, 0x5, stream_id, GET)


def post(stream_id: int) -> bytes:
    return frame(frames.HEADERS, 0x4, stream_id, POST)


def malformed(stream_id: int) -> bytes:
    return frame(frames.HEADERS, 0x5, stream_id, GET + literal_block([(b"te", b"gzip")]))


def cancel(stream_id: int) -> bytes:
    return frames.reset_frame(stream_id, frames.CANCEL)


def data_behind_the_end(stream_id: int) -> bytes:
    return frame(frames.DATA, 0, stream_id, b"x")


def window_by_zero(stream_id: int) -> bytes:
    return frames.window_frame(stream_id, 0)


def window_overflow(stream_id: int) -> bytes:
    return frames.window_frame(stream_id, 0x7FFFFFFF)


def indexed_bomb(stream_id: int) -> bytes:
    """4 KB into the table, then one octet for each further 4 KB."""
    entry = b"\x40\x01x" + integer(0, 7, 4_000) + b"a" * 4_000
    return frame(frames.HEADERS, 0x5, stream_id, GET + entry + b"\xbe" * 12_000)


def block_of(size: int) -> Callable[[int], bytes]:
    """A header block in several frames, each value small enough for a field."""

    def make(stream_id: int) -> bytes:
        block = GET + literal_block([(b"x", b"a" * 4_000)]) * (size // 4_000)
        parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
        octets = frame(frames.HEADERS, 0x1, stream_id, parts[0])
        for part in parts[1:-1]:
            octets += frame(frames.CONTINUATION, 0, stream_id, part)
        return octets + frame(frames.CONTINUATION, 0x4, stream_id, parts[-1])

    return make


CALM = "connection ENHANCE_YOUR_CALM"
FLOW = "connection FLOW_CONTROL_ERROR"

ATTACKS: tuple[Attack, ...] = (
    Attack("rapid reset", on_new_streams(get, cancel), CALM, 201),
    Attack("rapid reset of uploads", on_new_streams(post, cancel), CALM, 201),
    Attack("resets provoked by windows of 0", on_new_streams(post, window_by_zero), CALM, 201),
    Attack("resets provoked by windows too large", on_new_streams(post, window_overflow), CALM, 201),
    Attack("resets provoked by data behind the end", on_new_streams(get, data_behind_the_end), CALM, 201),
    Attack("malformed requests", on_new_streams(malformed), CALM, 201),
    Attack("streams beyond the limit", on_new_streams(post), CALM, 1_400),
    Attack("CONTINUATION flood", again("CONTINUATION 1 1000*00", octets_of("HEADERS 1 {get}")), CALM, 10),
    Attack("CONTINUATION flood, large", again("CONTINUATION 1 16384*00", octets_of("HEADERS 1 {get}")), CALM, 4),
    Attack("CONTINUATION flood, empty", again("CONTINUATION 1", octets_of("HEADERS 1 {get}")), CALM, 10),
    Attack("empty DATA", again("DATA 1", OPEN), CALM, 1_002),
    Attack("DATA of padding only", again("DATA 1 PAD #08 8*00", OPEN), CALM, 1_002),
    Attack("PING flood", again("PING 0 8*00"), CALM, 1_001),
    Attack("PING answers nobody asked for", again("PING 0 ACK 8*00"), CALM, 1_001),
    Attack("SETTINGS flood", again("SETTINGS 0 #000300000064"), CALM, 1_001),
    Attack("SETTINGS acknowledged again and again", again("SETTINGS 0 ACK"), CALM, 1_002),
    Attack(
        "windows that SETTINGS shrink and grow",
        again("SETTINGS 0 #000400000000; SETTINGS 0 #00047fffffff", b"".join(post(n) for n in range(1, 256, 2))),
        CALM,
        502,
    ),
    Attack("SETTINGS of too many entries", again("SETTINGS 0 198*00"), CALM, 1),
    Attack("table size that changes", again("SETTINGS 0 #000100000000 #000100001000"), CALM, 1_001),
    Attack("PRIORITY flood", again("PRIORITY 1 #0000000010"), CALM, 1_001),
    Attack("WINDOW_UPDATE flood", again("WINDOW_UPDATE 0 #00000001"), CALM, 1_001),
    Attack("frames of unknown types", again("99 0"), CALM, 1_001),
    Attack("GOAWAY flood", again("GOAWAY 0 8*00"), CALM, 1_001),
    Attack("resets of a closed stream", again("RST_STREAM 1 #00000008", get(1)), CALM, 1_003),
    Attack("header bomb by index", on_new_streams(indexed_bomb), CALM, 1),
    Attack("header block of 40 KB", on_new_streams(block_of(40_000)), CALM, 1),
    Attack("window overflow of the connection", again("WINDOW_UPDATE 0 #7fffffff"), FLOW, 1),
    Attack(
        "DATA beyond the connection's window", on_new_streams(post, lambda n: frame(0, 0, n, bytes(16_384))), FLOW, 17
    ),
    Attack("stream id reuse", again("HEADERS 1 ES EH {get}; RST_STREAM 1 #00000008"), "connection STREAM_CLOSED", 2),
    Attack(
        "stream ids backwards", again("HEADERS 9 ES EH {get}; HEADERS 7 ES EH {get}"), "connection STREAM_CLOSED", 1
    ),
    Attack("frames that are too large", again("99 0 len=16777215"), "connection FRAME_SIZE_ERROR", 1),
)
