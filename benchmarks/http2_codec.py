"""Microseconds per header block and per call of the HTTP/2 codec, without any socket: `python -m benchmarks.http2_codec`.

The fields are those of a unary gRPC call. Each figure is the best of many rounds, since only disturbance makes it larger.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hpack import Encoder as TheirEncoder

from tulle.http.h2 import decoder as decoder_module
from tulle.http.h2 import frames
from tulle.http.h2.connection import SERVER, Connection
from tulle.http.h2.decoder import Decoder
from tulle.http.h2.encoder import Encoder
from tulle.http.h2.events import Events
from tulle.http.h2.field import FieldStore, integer
from tulle.http.h2.frames import PREFACE, frame
from tulle.http.h2.heads import judge_request
from tulle.http.h2.limits import Http2Limits
from tulle.http.head import Limits

BLOCKS = 200
ROUNDS = 40
MOST = 1 << 20
LIMITS = Http2Limits(Limits())

FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/shop.Orders/Place"),
    (b":authority", b"orders.shop:50051"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-python/1.60.0 grpc-c/37.0.0 (linux; chttp2)"),
    (b"grpc-accept-encoding", b"identity, deflate, gzip"),
]


def main() -> None:
    """Prints the table."""
    print(f"codec: {'interpreted' if str(decoder_module.__file__).endswith('.py') else 'compiled'}")
    for name, blocks in (
        ("traceparent always the same, all indexed", blocks_of(lambda _: 1, False, False)),
        ("traceparent differs, literal in plain octets", blocks_of(lambda number: number, False, True)),
        ("traceparent differs, literal in Huffman code", blocks_of(lambda number: number, True, True)),
        ("traceparent differs, Huffman code, inserted", blocks_of(lambda number: number, True, False)),
    ):
        print(f"{name:46} {len(blocks[-1]):3} octets  {block_figures(blocks)}")
    print(f"a call: request read, answer and trailers written  {call_figure():.2f}")
    idle = held_octets(True)
    print(f"an idle connection that has served: {idle:,.0f} octets; an open stream: {held_octets(False) - idle:,.0f}")


def blocks_of(trace: Callable[[int], int], huffman: bool, literal: bool) -> list[bytes]:
    """The header blocks of one client, in order."""
    theirs = TheirEncoder()
    blocks = []
    for number in range(5 + BLOCKS * ROUNDS):
        value = b"00-%032x-%016x-01" % (trace(number) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128), 1 << 60)
        if not literal:
            blocks.append(theirs.encode([*FIELDS, (b"traceparent", value)], huffman=huffman))
            continue
        if huffman:
            value = theirs.huffman_coder.encode(value)
        string = integer(0x80 if huffman else 0, 7, len(value)) + value
        blocks.append(theirs.encode(FIELDS, huffman=huffman) + b"\x00\x0btraceparent" + string)
    return blocks


def block_figures(blocks: list[bytes]) -> str:
    """Decoding, judging and encoding, each alone."""
    store = FieldStore()
    decoder, encoder = Decoder(store), Encoder()
    for block in blocks[:5]:
        encoder.encode(decoder.decode(block, 0, len(block), MOST))
    best = [1.0, 1.0, 1.0]
    with quiet():
        for start in range(5, len(blocks), BLOCKS):
            part = blocks[start : start + BLOCKS]
            begun = time.perf_counter()
            read = [decoder.decode(block, 0, len(block), MOST) for block in part]
            decoded = time.perf_counter()
            for fields in read:
                judge_request(fields, False, LIMITS.head, False)
            judged = time.perf_counter()
            for fields in read:
                encoder.encode(fields)
            encoded = time.perf_counter()
            round_ = (decoded - begun, judged - decoded, encoded - judged)
            best = [min(pair) for pair in zip(best, round_, strict=True)]
    decode, judge, encode = (seconds * 1e6 / BLOCKS for seconds in best)
    return f"decode {decode:.2f}  judge {judge:.2f}  encode {encode:.2f}"


def call_figure() -> float:
    """Microseconds of the codec for one unary call, the loop that drives it included; reads of 32 calls."""
    theirs, store, events = TheirEncoder(), FieldStore(), Events()
    connection = Connection(SERVER, events, store, LIMITS, 0.0)
    connection.receive(PREFACE + frame(frames.SETTINGS, 0, 0) + frame(frames.SETTINGS, frames.ACK, 0), 0.0)
    events.take()
    head = [store.field(b":status", b"200"), store.field(b"content-type", b"application/grpc")]
    trailers = [store.field(b"grpc-status", b"0")]
    best = 1.0
    stream_id = 1
    with quiet():
        for _ in range(ROUNDS):
            wire = b""
            for _ in range(32):
                wire += frame(frames.HEADERS, 0x4, stream_id, theirs.encode(FIELDS))
                wire += frame(frames.DATA, 0x1, stream_id, bytes(20))
                stream_id += 2
            begun = time.perf_counter()
            connection.receive(wire, 0.0)
            for event in events.take():
                stream = event.stream
                if stream is not None and event.done:
                    connection.consume(stream, 20)
                    connection.send_head(stream, head, False)
                    connection.send_data(stream, b"answer of 20 octets.", False)
                    connection.send_trailers(stream, trailers)
            connection.take()
            best = min(best, time.perf_counter() - begun)
            connection.receive(frame(frames.WINDOW_UPDATE, 0, 0, (20 * 32).to_bytes(4, "big")), 0.0)
    return best * 1e6 / 32


def held_octets(done: bool) -> float:
    """Memory of a connection and one stream: answered, so that only the connection is left, or still open."""
    block = TheirEncoder().encode(FIELDS)
    wire = PREFACE + frame(frames.SETTINGS, 0, 0) + frame(frames.HEADERS, 0x5, 1, block)
    store = FieldStore()
    kept = []
    count = 500
    for number in range(count + 1):
        if number == 1:
            tracemalloc.start()
        events = Events()
        connection = Connection(SERVER, events, store, LIMITS, 0.0)
        connection.receive(wire, 0.0)
        seen = events.take()
        if done and seen[-1].stream is not None:
            connection.send_head(seen[-1].stream, [store.field(b":status", b"200")], True)
        connection.take()
        kept.append((connection, events, None if done else seen[-1].head))
        del seen
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / count


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection while the clock runs."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
