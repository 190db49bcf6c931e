"""One HTTP/2 connection, either end of it. Octets in, calls to a handler out; every frame is judged by RFC 9113."""

from __future__ import annotations

from math import inf
from typing import Final, final

from tulle.http.h2.control import CLIENT, SERVER, Control
from tulle.http.h2.decoder import Decoder
from tulle.http.h2.encoder import Known
from tulle.http.h2.field import Field, FieldStore
from tulle.http.h2.frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_HEAD,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM_ID,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    settings_frame,
    window_frame,
)
from tulle.http.h2.heads import MALFORMED, judge_request, judge_response, judge_trailers
from tulle.http.h2.limits import (
    MAX_BLOCK_BYTES,
    MAX_BLOCK_FRAMES,
    MAX_DECODED_BYTES,
    MAX_EARLY_REFUSALS,
    Http2Limits,
)
from tulle.http.h2.stream import Handler, Stream
from tulle.http.head import Refusal, RequestHead, ResponseHead

MAX_REMEMBERED_BLOCKS: Final = 6
"""Each holds about a kilobyte, of idle connections too."""
MAX_REMEMBERED_BLOCK: Final = 1_024
NEVER: Final = inf
MAX_MISSES: Final = 16
"""Blocks in a row that were not remembered; then this connection stops asking."""

MAX_KEPT_PIECES: Final = 64
"""Pieces of one frame that are kept apart: small ones cost more than their octets."""

__all__ = ["CLIENT", "SERVER", "Connection"]


@final
class Connection(Control):
    """A connection in one role. Once `has_failed`, nothing is read any more."""

    def __init__(self, role: int, handler: Handler, store: FieldStore, limits: Http2Limits, now: float) -> None:
        super().__init__(role, handler, limits, now)
        self.head_since = NEVER
        """Since when a head is coming that is not complete yet, in the caller's clock; infinite: none is."""
        self._decoder = Decoder(store)
        self._kept: list[bytes] = []
        """The beginning of a frame that is not complete."""
        self._kept_bytes = 0
        self._needed = FRAME_HEAD
        self._preface_left = len(PREFACE) if role == SERVER else 0
        self._refused = 0
        self._block: list[bytes] = []
        """Fragments of a header block that is not complete."""
        self._block_id = 0
        self._block_bytes = 0
        self._block_ends = False
        self.is_head_kept = False
        """The last request's head is remembered here: the same object may come again."""
        self._requests: dict[bytes, RequestHead] = {}
        self._responses: dict[bytes, ResponseHead] = {}
        self._trailers: dict[bytes, list[Field]] = {}
        self._misses = 0
        self._changes = 0
        self._is_pure = True
        """The last block left the table alone, and so will the same octets until another changes it."""
        self._greet()

    @property
    def head_bytes(self) -> int:
        """Octets of the fields that were decoded last, 32 more for each."""
        return self._decoder.list_bytes

    def forget_heads(self) -> None:
        """Keeps less while nothing happens: heads that come again are judged again."""
        self._requests.clear()
        self._responses.clear()
        self._trailers.clear()
        self._encoder.forget()

    @property
    def can_open(self) -> bool:
        """Whether a stream may be opened now."""
        return (
            not self.is_going_away
            and not self.has_failed
            and len(self.streams) < min(self.peer_streams, self.limits.streams)
            and self._last_id < MAX_STREAM_ID
        )

    def open(
        self, fields: list[Field], method: str, done: bool, known: Known | None = None, literals: bytes = b""
    ) -> Stream:
        """Sends a request's head on a new stream; only where `can_open`. First `known`, at last fields encoded already."""
        stream_id = self._last_id + 2 if self._last_id else 1
        self._last_id = stream_id
        stream = Stream(stream_id, self._peer_window, self._initial_window, method)
        self.streams[stream_id] = stream
        block = self._encoder.encode(known) if known is not None else b""
        if fields:
            block += self._encoder.encode(fields)
        self._write_block(stream, block + literals, done)
        if done:
            self._end_local(stream)
        return stream

    def receive(self, octets: bytes, now: float) -> None:
        """Reads what came, cut anywhere."""
        if self.has_failed:
            return
        self._floods.tick(now)
        if self._kept_bytes:
            self._kept.append(octets)
            self._kept_bytes += len(octets)
            if self._kept_bytes < self._needed:
                if len(self._kept) > MAX_KEPT_PIECES:
                    self._kept = [b"".join(self._kept)]
                return
            octets = b"".join(self._kept)
            self._kept.clear()
            self._kept_bytes = 0
        size = len(octets)
        at = 0
        block_id = self._block_id
        if self._preface_left:
            at = self._read_preface(octets, size)
            if self._preface_left:
                return
        self._needed = FRAME_HEAD
        while size - at >= FRAME_HEAD:
            length = (octets[at] << 16) | (octets[at + 1] << 8) | octets[at + 2]
            if length > DEFAULT_FRAME_SIZE:
                self._fail(FRAME_SIZE_ERROR, "frame larger than announced")
                return
            start = at + FRAME_HEAD
            end = start + length
            if end > size:
                self._needed = FRAME_HEAD + length
                break
            stream_id = (
                ((octets[at + 5] & 0x7F) << 24) | (octets[at + 6] << 16) | (octets[at + 7] << 8) | octets[at + 8]
            )
            self._read_frame(octets[at + 3], octets[at + 4], stream_id, octets, start, end)
            if self.has_failed:
                return
            at = end
        rest = size - at
        if rest:
            self._kept.append(octets[at:] if at else octets)
            self._kept_bytes = rest
        if self._block_id or (rest and (rest < 4 or octets[at + 3] == HEADERS)):
            if self.head_since == NEVER or (at and (block_id == 0 or self._block_id != block_id)):
                self.head_since = now
        else:
            self.head_since = NEVER

    def _greet(self) -> None:
        limits = self.limits
        settings = [(MAX_HEADER_LIST_SIZE, limits.head.header_bytes)]
        if self._is_server:
            settings.append((MAX_CONCURRENT_STREAMS, limits.streams))
            if limits.extended_connect:
                settings.append((ENABLE_CONNECT_PROTOCOL, 1))
        else:
            settings.append((ENABLE_PUSH, 0))
        if limits.stream_window != DEFAULT_WINDOW:
            settings.append((INITIAL_WINDOW_SIZE, limits.stream_window))
        hello = settings_frame(settings)
        if limits.connection_window > DEFAULT_WINDOW:
            hello += window_frame(0, limits.connection_window - DEFAULT_WINDOW)
            self._receive_window = limits.connection_window
        self._write(hello if self._is_server else PREFACE + hello)

    def _read_preface(self, octets: bytes, size: int) -> int:
        """The index after what of the preface is there."""
        left = self._preface_left
        begun = len(PREFACE) - left
        end = min(left, size)
        if octets[:end] != PREFACE[begun : begun + end]:
            self._fail(PROTOCOL_ERROR, "no preface")
        else:
            self._preface_left = left - end
        return end

    def _read_frame(self, kind: int, flags: int, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if self._block_id and (kind != CONTINUATION or stream_id != self._block_id):
            self._fail(PROTOCOL_ERROR, "header block interrupted")
        elif not self.is_ready and (kind != SETTINGS or flags & ACK):
            self._fail(PROTOCOL_ERROR, "first frame is not SETTINGS")
        elif kind == DATA:
            self._on_data(flags, stream_id, octets, at, end)
        elif kind == HEADERS:
            self._on_headers(flags, stream_id, octets, at, end)
        elif kind == WINDOW_UPDATE:
            self._on_window_update(stream_id, octets, at, end)
        elif kind == RST_STREAM:
            self._on_rst_stream(stream_id, octets, at, end)
        elif kind == SETTINGS:
            self._on_settings(flags, stream_id, octets, at, end)
        elif kind == PING:
            self._on_ping(flags, stream_id, octets, at, end)
        elif kind == CONTINUATION:
            self._on_continuation(flags, stream_id, octets, at, end)
        elif kind == GOAWAY:
            self._on_goaway(stream_id, octets, at, end)
        elif kind == PUSH_PROMISE:
            self._fail(PROTOCOL_ERROR, "PUSH_PROMISE, which nobody may send here")
        elif kind == PRIORITY and stream_id == 0:
            self._fail(PROTOCOL_ERROR, "PRIORITY on stream 0")
        elif kind == PRIORITY and end - at != 5:
            self._break_id(stream_id, FRAME_SIZE_ERROR)
        else:
            self._note_useless()

    def _on_headers(self, flags: int, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if stream_id == 0:
            self._fail(PROTOCOL_ERROR, "HEADERS on stream 0")
            return
        padding = 0
        if flags & (PADDED | PRIORITIZED):
            if end - at < (1 if flags & PADDED else 0) + (5 if flags & PRIORITIZED else 0):
                self._fail(FRAME_SIZE_ERROR, "HEADERS too short for its flags")
                return
            if flags & PADDED:
                padding = octets[at]
                at += 1
            if flags & PRIORITIZED:
                at += 5
            end -= padding
            if end < at:
                self._fail(PROTOCOL_ERROR, "padding longer than the frame")
                return
        if flags & END_HEADERS:
            self._on_block(stream_id, flags & END_STREAM != 0, octets, at, end)
            return
        self._block_id = stream_id
        self._block_ends = flags & END_STREAM != 0
        self._block.append(octets[at:end])
        self._block_bytes = end - at

    def _on_continuation(self, flags: int, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if self._block_id == 0:
            self._fail(PROTOCOL_ERROR, "CONTINUATION of nothing")
            return
        self._block_bytes += end - at
        if len(self._block) > MAX_BLOCK_FRAMES or self._block_bytes > MAX_BLOCK_BYTES:
            self._fail(ENHANCE_YOUR_CALM, "header block too long")
            return
        self._block.append(octets[at:end])
        if flags & END_HEADERS:
            block = b"".join(self._block)
            self._block.clear()
            self._block_id = 0
            self._on_block(stream_id, self._block_ends, block, 0, len(block))

    def _on_block(self, stream_id: int, done: bool, octets: bytes, at: int, end: int) -> None:
        """A whole header block: of a new stream, an answer or trailers. It changes the table whatever becomes of it."""
        stream = self.streams.get(stream_id)
        if stream is None and (self._is_server and stream_id & 1 and stream_id > self._last_id):
            self._last_id = stream_id
            self._open_by_peer(stream_id, done, octets, at, end)
            return
        block = b""
        if (
            stream is not None
            and not self._is_server
            and self._misses < MAX_MISSES
            and end - at <= MAX_REMEMBERED_BLOCK
            and not stream.is_remote_done
        ):
            block = octets[at:end]
            if stream.has_head:
                ending = self._trailers.get(block)
                if ending is not None and done and stream.expected <= 0:
                    self._misses = 0
                    self._finish(stream, ending)
                    return
            elif stream.method != "HEAD":
                known = self._responses.get(block)
                if known is not None and (known.framing == 0) == done:
                    self._misses = 0
                    self._respond(stream, known, done)
                    return
        fields = self._decode(octets, at, end)
        if self.has_failed:
            return
        if stream is None:
            self._on_late(stream_id, True)
            return
        if stream.is_remote_done:
            self._break(stream, STREAM_CLOSED)
            return
        size = self._decoder.list_bytes
        if size > self.limits.head.header_bytes or len(fields) > self.limits.head.header_count:
            self._break(stream, PROTOCOL_ERROR)
            return
        if self._is_server or stream.has_head:
            trailers = judge_trailers(fields)
            if not done or isinstance(trailers, Refusal) or stream.expected > 0:
                self._break(stream, PROTOCOL_ERROR)
                return
            if block:
                self._misses += 1
                if self._is_pure and len(self._trailers) < MAX_REMEMBERED_BLOCKS:
                    self._trailers[block] = trailers
            self._finish(stream, trailers)
            return
        head = judge_response(fields, done, stream.method)
        if isinstance(head, Refusal):
            self._break(stream, PROTOCOL_ERROR)
            return
        if block and head.status >= 200 and stream.method != "HEAD":
            self._remember_response(block, head)
        self._respond(stream, head, done)

    def _finish(self, stream: Stream, trailers: list[Field]) -> None:
        self._floods.note_useful()
        self._end_remote(stream)
        self.handler.on_trailers(stream, trailers)

    def _respond(self, stream: Stream, head: ResponseHead, done: bool) -> None:
        self._floods.note_useful()
        if head.status >= 200:
            stream.has_head = True
            stream.expected = head.content_length if head.framing else 0
            if done:
                self._end_remote(stream)
        self.handler.on_response(stream, head, done)

    def _open_by_peer(self, stream_id: int, done: bool, octets: bytes, at: int, end: int) -> None:
        self._floods.note_opened()
        self.is_head_kept = False
        head: RequestHead | Refusal | None = None
        method = ""
        block = b""
        if self._misses < MAX_MISSES and end - at <= MAX_REMEMBERED_BLOCK:
            block = octets[at:end]
            known = self._requests.get(block)
            if known is not None and (known.framing == 0) == done:
                self._misses = 0
                self.is_head_kept = True
                head = known
        if head is None:
            fields = self._decode(octets, at, end)
            if self.has_failed:
                return
            limits = self.limits
            if self._decoder.list_bytes > limits.head.header_bytes or len(fields) > limits.head.header_count:
                head = Refusal(431, "head too long")
            else:
                judged = judge_request(fields, done, limits.head, limits.extended_connect, limits.connect)
                head = judged
                if block and isinstance(judged, RequestHead):
                    self._remember_request(block, judged)
            if isinstance(head, Refusal):
                for field in fields:
                    if field.pair[0] == b"content-type":
                        head.content_type = field.value
                    elif field.pair == (b":method", b"HEAD"):
                        method = "HEAD"  # what answers it has no body, whatever is wrong with it
        if stream_id > self._last_served:
            return
        if len(self.streams) >= self.limits.streams:
            self._refused += 1
            self._write_reset(stream_id, REFUSED_STREAM)
            self.handler.on_turned_away()
            if self._is_acknowledged or self._refused > MAX_EARLY_REFUSALS:
                self._note_reset()
            return
        if isinstance(head, RequestHead):
            method = head.method
        stream = Stream(stream_id, self._peer_window, self._initial_window, method)
        stream.since = self._floods.now
        stream.has_head = True
        stream.is_remote_done = done
        self.streams[stream_id] = stream
        if isinstance(head, RequestHead):
            stream.expected = head.content_length
            self.handler.on_request(stream, head, done)
            return
        if head.status == MALFORMED:
            self._write_reset(stream_id, PROTOCOL_ERROR)
            self._close(stream)
            self._note_reset()
            if self.has_failed:
                return
        self.handler.on_refused(stream, head)

    def _decode(self, octets: bytes, at: int, end: int) -> list[Field]:
        decoder = self._decoder
        fields = decoder.decode(octets, at, end, self.limits.head.header_bytes)
        if decoder.fault:
            self._fail(COMPRESSION_ERROR, decoder.fault)
        elif decoder.list_bytes > MAX_DECODED_BYTES:
            self._fail(ENHANCE_YOUR_CALM, "header list too long")
        self._is_pure = decoder.changes == self._changes
        if not self._is_pure:
            self._changes = decoder.changes
            self._requests.clear()
            self._responses.clear()
            self._trailers.clear()
        return fields

    def _on_data(self, flags: int, stream_id: int, octets: bytes, at: int, end: int) -> None:
        size = end - at
        if stream_id == 0:
            self._fail(PROTOCOL_ERROR, "DATA on stream 0")
            return
        self._receive_window -= size
        if self._receive_window < 0:
            self._fail(FLOW_CONTROL_ERROR, "more DATA than the connection's window")
            return
        if flags & PADDED:
            if size == 0:
                self._fail(FRAME_SIZE_ERROR, "DATA too short for its flags")
                return
            end -= octets[at]
            at += 1
            if end < at:
                self._fail(PROTOCOL_ERROR, "padding longer than the frame")
                return
        stream = self.streams.get(stream_id)
        if stream is None or stream.is_remote_done or not stream.has_head:
            self._give_credit(size)
            if stream is None:
                self._on_late(stream_id, True)
            else:
                self._break(stream, STREAM_CLOSED if stream.is_remote_done else PROTOCOL_ERROR)
            return
        stream.receive_window -= size
        if size and stream.receive_window < 0:
            self._give_credit(size)
            self._break(stream, FLOW_CONTROL_ERROR)
            return
        done = flags & END_STREAM != 0
        length = end - at
        if length != size:
            self._give_credit(size - length)
            self._give_stream_credit(stream, size - length)
        if stream.expected >= 0:
            stream.expected -= length
            if stream.expected < 0 or (done and stream.expected > 0):
                self._give_credit(length)
                self._break(stream, PROTOCOL_ERROR)
                return
        if length == 0 and not done:
            self._note_useless()
            return
        stream.unconsumed += length
        if self._credits_at_once:
            self._give_credit(length)
        self._floods.note_useful()
        if done:
            self._end_remote(stream)
        self.handler.on_data(stream, octets[at:end], done)

    def _remember_request(self, block: bytes, head: RequestHead) -> None:
        self._misses += 1
        if self._is_pure and len(self._requests) < MAX_REMEMBERED_BLOCKS:
            self._requests[block] = head
            self.is_head_kept = True

    def _remember_response(self, block: bytes, head: ResponseHead) -> None:
        self._misses += 1
        if self._is_pure and len(self._responses) < MAX_REMEMBERED_BLOCKS:
            self._responses[block] = head
