"""Laws of reading bodies, against a model that sees the whole body at once."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.support.framing import REQUESTS
from tests.support.h1_reading import LIMITS
from tests.support.h1_wire import cut, cuts, fields, payloads
from tulle.http.h1 import CHUNKED, NO_BODY, SIZED, UNTIL_CLOSE, BodyReader, chunk, last_chunk

SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t -~\x80-\xff]*)?\r\n")
TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")

CHUNKED_BODIES = [
    row.wire.partition(b"\r\n\r\n")[2]
    for row in REQUESTS
    if b"encoding: chunked" in row.wire.lower() and len(row.wire) < 300
]


def model(wire: bytes) -> tuple[bytes, int] | None:
    """Payload and octets of a whole chunked body; None when it is malformed or not complete. Knows no forbidden names."""
    payload = b""
    at = 0
    while found := SIZE_LINE.match(wire, at):
        size = int(found[1], 16)
        at = found.end()
        if size == 0:
            while trailer := TRAILER.match(wire, at):
                at = trailer.end()
            return (payload, at + 2) if wire[at : at + 2] == b"\r\n" else None
        if wire[at + size : at + size + 2] != b"\r\n":
            return None
        payload += wire[at : at + size]
        at += size + 2
    return None


def read(wire: bytes, places: list[int], framing: int, length: int) -> tuple[BodyReader, bytes, int]:
    reader = BodyReader(framing, length, LIMITS)
    out: list[bytes] = []
    consumed = 0
    for piece in cut(wire, places):
        # Some octets of another message in front, as in a relay's buffer.
        consumed += reader.feed(b"##" + piece, 2, out) - 2
        if reader.done or reader.failed:
            break
    assert all(out)
    return reader, b"".join(out), consumed


@given(payloads, fields, st.binary(max_size=20), cuts)
def test_chunked_body_gives_its_payload_and_no_octet_of_the_next(
    pieces: list[bytes], trailers: list[tuple[bytes, bytes]], rest: bytes, places: list[int]
) -> None:
    body = b"".join(map(chunk, pieces)) + last_chunk(trailers)

    reader, payload, consumed = read(body + rest, places, CHUNKED, -1)

    assert reader.done
    assert not reader.failed
    assert payload == b"".join(pieces)
    assert reader.trailers == trailers
    assert consumed == len(body)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(st.sampled_from(CHUNKED_BODIES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        size = draw(st.integers(0, 2))
        body[at : at + size] = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"0", b"1", b"f", b";", b" ", b"\x00"])
        )
    return bytes(body)


@given(spoilt(), cuts)
def test_chunked_body_is_done_exactly_where_the_model_says(wire: bytes, places: list[int]) -> None:
    expected = model(wire)

    reader, payload, _ = read(wire, places, CHUNKED, -1)
    reader.end()

    if reader.fault == "forbidden field in trailers":
        return
    assert reader.done == (expected is not None), reader.fault
    assert reader.failed == (expected is None)
    if expected is not None:
        assert payload == expected[0]


@given(st.binary(max_size=100), st.integers(0, 120), cuts)
def test_sized_body_takes_what_was_said_and_no_more(wire: bytes, length: int, places: list[int]) -> None:
    reader, payload, consumed = read(wire, places, SIZED, length)

    assert payload == wire[:length]
    assert consumed == len(payload)
    assert reader.done == (len(wire) >= length)
    reader.end()
    assert reader.failed == (len(wire) < length)


@given(st.integers(1, 120), st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=12))
def test_sized_body_counts_what_goes_by_unread(length: int, steps: list[tuple[bool, int]]) -> None:
    wire = bytes(range(200))
    reader = BodyReader(SIZED, length, LIMITS)
    at = 0
    for is_read, size in steps:
        assert reader.plain == length - at
        assert reader.done == (at == length)
        if is_read:
            out: list[bytes] = []
            reader.feed(wire[at : at + size], 0, out)
            assert b"".join(out) == wire[at : min(at + size, length)]
        elif not reader.done:
            reader.skip(min(size, reader.plain))
        at = min(at + size, length)
    reader.end()
    assert reader.failed == (at < length)


@given(st.sampled_from([CHUNKED, UNTIL_CLOSE, NO_BODY]), st.binary(max_size=100))
def test_of_a_body_that_is_not_sized_nothing_is_plain(framing: int, wire: bytes) -> None:
    reader = BodyReader(framing, -1, LIMITS)
    assert reader.plain == 0
    reader.feed(wire, 0, [])
    assert reader.plain == 0


@given(st.binary(max_size=100), cuts)
def test_body_until_close_is_done_by_close_only(wire: bytes, places: list[int]) -> None:
    reader, payload, _ = read(wire, places, UNTIL_CLOSE, -1)

    assert not reader.done
    reader.end()
    assert reader.done
    assert payload == wire
