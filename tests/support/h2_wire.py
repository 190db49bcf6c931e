"""Hypothesis strategies for HTTP/2: fields, sound conversations, mutated ones."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from tests.support.h2_attacks import GET, POST
from tests.support.h2_script import literal_block
from tulle.http.h2 import frames
from tulle.http.h2.frames import PREFACE, frame

NAME = string.ascii_lowercase + string.digits + "-_."

names = st.one_of(
    st.sampled_from([b"user-agent", b"accept", b"grpc-timeout", b"cookie", b"traceparent", b"content-type", b"x-a"]),
    st.text(NAME, min_size=1, max_size=12).map(lambda text: b"x-" + text.encode()),
)
values = st.one_of(
    st.sampled_from([b"", b"application/grpc", b"gzip, deflate", b"1", b"00-0af7651916cd43dd8448eb211c80319c-b7ad-01"]),
    st.binary(max_size=40).map(
        lambda octets: bytes(octet for octet in octets if octet == 9 or (octet >= 32 and octet != 127)).strip(b" \t")
    ),
)
fields = st.lists(st.tuples(names, values), max_size=8)
paths = st.text(string.ascii_letters + string.digits + "/%?&=.-_~:@", max_size=20).map(
    lambda text: b"/" + text.encode()
)
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"BREW"])
authorities = st.sampled_from([b"shop", b"orders.shop:8080", b"[::1]:80", b"127.0.0.1"])


@st.composite
def request_heads(draw: st.DrawFn) -> list[tuple[bytes, bytes]]:
    """The fields of a sound request, pseudo-header fields first."""
    pseudo = [
        (b":method", draw(methods)),
        (b":scheme", draw(st.sampled_from([b"http", b"https"]))),
        (b":path", draw(paths)),
        (b":authority", draw(authorities)),
    ]
    return [*draw(st.permutations(pseudo)), *draw(fields)]


def padded(payload: bytes, pad: int) -> tuple[int, bytes]:
    """Flags and payload of a frame with this much padding; -1: none."""
    return (0, payload) if pad < 0 else (frames.PADDED, bytes((pad,)) + payload + bytes(pad))


@st.composite
def streams(draw: st.DrawFn, stream_id: int) -> list[bytes]:
    """The frames of one sound request."""
    block = GET if draw(st.booleans()) else POST
    block += literal_block(draw(fields))
    bodies = draw(st.lists(st.binary(max_size=50), max_size=3))
    trailers = draw(st.booleans())
    ends_here = frames.END_STREAM if not bodies and not trailers else 0
    split = draw(st.integers(0, len(block)))
    made = [
        frame(frames.HEADERS, ends_here, stream_id, block[:split])
        + frame(frames.CONTINUATION, frames.END_HEADERS, stream_id, block[split:])
    ]
    for number, body in enumerate(bodies):
        is_last = number == len(bodies) - 1 and not trailers
        flags, payload = padded(body, draw(st.integers(-1, 10)))
        made.append(frame(frames.DATA, flags | (frames.END_STREAM if is_last else 0), stream_id, payload))
    if trailers:
        made.append(frame(frames.HEADERS, 0x5, stream_id, literal_block([(b"x-sum", b"9")])))
    return made


noise_frames = st.one_of(
    st.sampled_from(
        [
            frame(frames.PING, 0, 0, bytes(8)),
            frame(frames.SETTINGS, 0, 0),
            frame(frames.SETTINGS, frames.ACK, 0),
            frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\1\0"),
            frame(frames.WINDOW_UPDATE, 0, 1, b"\0\0\1\0"),
            frame(frames.PRIORITY, 0, 3, b"\0\0\0\0\x10"),
            frame(frames.RST_STREAM, 0, 1, b"\0\0\0\x08"),
            frame(frames.CONTINUATION, 4, 1, b""),
            frame(frames.GOAWAY, 0, 0, bytes(8)),
            frame(99, 0, 1, b"unknown"),
        ]
    ),
    st.builds(frame, st.integers(0, 10), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=12)),
)


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """A client's octets: streams one after the other or mingled, control frames in between."""
    waiting = [draw(streams(2 * number + 1)) for number in range(draw(st.integers(0, 4)))]
    out = [PREFACE, frame(frames.SETTINGS, 0, 0)]
    opened = 0
    while any(waiting):
        choices = [at for at in range(min(opened + 1, len(waiting))) if waiting[at]]
        at = draw(st.sampled_from(choices))
        opened = max(opened, at + 1)
        out.append(waiting[at].pop(0))
        if draw(st.integers(0, 5)) == 0:
            out.append(frame(frames.PING, 0, 0, bytes(8)))
    return b"".join(out)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A conversation with some frames put in and some octets changed."""
    wire = bytearray(draw(conversations()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(len(PREFACE), len(wire)))
        if draw(st.booleans()):
            wire[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
        else:
            wire += draw(noise_frames)
    return bytes(wire)
