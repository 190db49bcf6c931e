"""The sending half of a connection: heads at once, data as windows allow, all of it gathered for one write."""

from __future__ import annotations

from typing import Final

from tulle.http.h2.encoder import Encoder, Known
from tulle.http.h2.field import Field
from tulle.http.h2.floods import Floods
from tulle.http.h2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    length_octets,
    reset_frame,
    window_frame,
)
from tulle.http.h2.limits import MAX_REPLIES_HELD, MAX_RESETS_REMEMBERED, Http2Limits
from tulle.http.h2.stream import NO_PIECES, Handler, Stream

MIN_USEFUL: Final = 64
"""Octets of queued data that a window must let through to be no dribble."""

_DATA: Final = bytes((DATA, 0))
_DATA_END: Final = bytes((DATA, END_STREAM))
_HEAD: Final = bytes((HEADERS, END_HEADERS))
_HEAD_END: Final = bytes((HEADERS, END_HEADERS | END_STREAM))
_HEAD_PART: Final = bytes((HEADERS, 0))
_HEAD_PART_END: Final = bytes((HEADERS, END_STREAM))
_MORE: Final = bytes((CONTINUATION, 0))
_MORE_LAST: Final = bytes((CONTINUATION, END_HEADERS))


class Outgoing:
    """Writes frames into `_out`. Bounded by what callers give it: a queue takes what one call brought and says so."""

    def __init__(self, handler: Handler, limits: Http2Limits, credits_at_once: bool, now: float) -> None:
        self.handler = handler
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        """Those that are not over."""
        self.queued = 0
        """Octets of data that wait for windows or room, of all streams."""
        self.pending_bytes = 0
        """Octets that `take` would give."""
        self.send_window = DEFAULT_WINDOW
        self._out: list[bytes] = []
        self._encoder = Encoder()
        self._floods = Floods(now)
        self._peer_window = DEFAULT_WINDOW
        """Initial window that the peer gives to streams."""
        self._frame_size = DEFAULT_FRAME_SIZE
        """The largest frame that we send."""
        self._waiting: dict[int, Stream] = {}
        """Streams with queued data, in the order in which they began to wait."""
        self._is_held = False
        self._credits_at_once = credits_at_once
        self._receive_window = DEFAULT_WINDOW
        self._credit = 0
        self._resets: dict[int, None] = {}
        """Streams that we reset lately, whose late frames are no fault."""
        self._forgotten_reset = 0
        """The highest stream that was dropped from `_resets`."""

    def take(self) -> bytes:
        """All that is to be sent now."""
        out = self._out
        if not out:
            return b""
        octets = b"".join(out)
        out.clear()
        self.pending_bytes = 0
        return octets

    def hold(self) -> None:
        """The wire is full: data waits. Do not `take` before `release`."""
        self._is_held = True

    def release(self) -> None:
        """The wire has room again."""
        self._is_held = False
        if self._waiting:
            self._pump()

    @property
    def wants_reading(self) -> bool:
        """False: the peer leaves so many replies unread that it is not to be read either."""
        return not self._is_held or self.pending_bytes <= MAX_REPLIES_HELD

    def send_head(self, stream: Stream, fields: list[Field] | Known, done: bool) -> None:
        """A head, at once."""
        if stream.is_closed or stream.is_local_done or stream.is_ending:
            return
        self._write_block(stream, self._encoder.encode(fields), done)
        if done:
            self._end_local(stream)

    def send_data(self, stream: Stream, payload: bytes, done: bool) -> bool:
        """Data, as far as windows allow; the rest is queued. False: pause the source until `on_writable`."""
        if stream.is_closed or stream.is_local_done or stream.is_ending:
            return True
        size = len(payload)
        if (
            stream.queued == 0
            and not self._is_held
            and size <= stream.send_window
            and size <= self.send_window
            and size <= self._frame_size
        ):
            if size or done:
                self._floods.note_useful()
                self._write_data(stream, payload, done)
            return True
        if size == 0 and not done:
            return False
        if size == 0 and stream.queued == 0:
            self._write_data(stream, payload, True)
            return True
        if stream.queued == 0:
            stream.queue = []
            self._waiting[stream.id] = stream
        if size:
            stream.queue.append(payload)
            stream.queued += size
            self.queued += size
        stream.is_ending = done
        while not self._is_held and self._send_some(stream, False):
            pass
        return stream.queued == 0

    def send_pieces(self, stream: Stream, pieces: list[bytes], done: bool) -> bool:
        """Pieces of a body one after the other; `done`: the last ends our half, and an empty frame does where there is none. Else as `send_data`."""
        left = len(pieces)
        if not left and done:
            return self.send_data(stream, b"", True)
        is_sent = True
        for piece in pieces:
            left -= 1
            is_sent = self.send_data(stream, piece, done and not left)
        return is_sent

    def send_trailers(self, stream: Stream, fields: list[Field] | Known) -> None:
        """Ends our half with these, after what is queued."""
        if stream.is_closed or stream.is_local_done or stream.is_ending:
            return
        if stream.queued:
            stream.is_ending = True
            stream.trailers = fields.fields if isinstance(fields, Known) else fields
            return
        self._write_block(stream, self._encoder.encode(fields), True)
        self._end_local(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """Ends a stream before its time, or the rest of a request that was answered (NO_ERROR)."""
        if not stream.is_closed:
            self._write_reset(stream.id, code)
            self._close(stream)

    def consume(self, stream: Stream, octets: int) -> None:
        """So much of a stream's received data has gone on: the peer may send as much again."""
        if stream.is_closed:
            return
        stream.unconsumed -= octets
        if not self._credits_at_once:
            self._give_credit(octets)
        self._give_stream_credit(stream, octets)

    def _give_stream_credit(self, stream: Stream, octets: int) -> None:
        stream.credit += octets
        if stream.credit * 2 >= self.limits.stream_window and not stream.is_remote_done:
            self._write(window_frame(stream.id, stream.credit))
            stream.receive_window += stream.credit
            stream.credit = 0

    def _give_credit(self, octets: int) -> None:
        self._credit += octets
        if self._credit * 2 >= self.limits.connection_window:
            self._write(window_frame(0, self._credit))
            self._receive_window += self._credit
            self._credit = 0

    def _write(self, octets: bytes) -> None:
        out = self._out
        if not out:
            self.handler.on_output()
        out.append(octets)
        self.pending_bytes += len(octets)

    def _write_reset(self, stream_id: int, code: int) -> None:
        resets = self._resets
        resets[stream_id] = None
        if len(resets) > MAX_RESETS_REMEMBERED:
            oldest = next(iter(resets))
            del resets[oldest]
            self._forgotten_reset = max(oldest, self._forgotten_reset)
        self._write(reset_frame(stream_id, code))

    def _write_block(self, stream: Stream, block: bytes, done: bool) -> None:
        out = self._out
        if not out:
            self.handler.on_output()
        size = len(block)
        most = self._frame_size
        if size <= most:
            out.append(length_octets(size))
            out.append(_HEAD_END if done else _HEAD)
            out.append(stream.octets)
            out.append(block)
            self.pending_bytes += size + 9
            return
        at = 0
        while at < size:
            part = block[at : at + most]
            out.append(length_octets(len(part)))
            if at == 0:
                out.append(_HEAD_PART_END if done else _HEAD_PART)
            else:
                out.append(_MORE_LAST if at + most >= size else _MORE)
            out.append(stream.octets)
            out.append(part)
            self.pending_bytes += len(part) + 9
            at += most

    def _write_data(self, stream: Stream, payload: bytes, done: bool) -> None:
        """One DATA frame that fits; `done`: our half ends with it."""
        out = self._out
        if not out:
            self.handler.on_output()
        size = len(payload)
        stream.send_window -= size
        self.send_window -= size
        out.append(length_octets(size))
        out.append(_DATA_END if done else _DATA)
        out.append(stream.octets)
        out.append(payload)
        self.pending_bytes += size + 9
        if done:
            self._end_local(stream)

    def _send_some(self, stream: Stream, tells: bool) -> bool:
        """Sends at most one frame of what is queued. False: no window, or nothing is left."""
        if stream.queued == 0 or stream.is_closed:
            return False
        room = min(stream.send_window, self.send_window, self._frame_size)
        if room <= 0:
            return False
        queue = stream.queue
        first = stream.queue_first
        at = stream.queue_at
        piece = queue[first]
        left = len(piece) - at
        if left > room:
            payload = piece[at : at + room]
            stream.queue_at = at + room
        else:
            payload = piece[at:] if at else piece
            queue[first] = b""
            stream.queue_at = 0
            stream.queue_first = first + 1
        size = len(payload)
        stream.queued -= size
        self.queued -= size
        is_last = stream.queued == 0
        if is_last or size >= MIN_USEFUL:
            self._floods.note_useful()
        if is_last:
            self._forget_queue(stream)
        trailers = stream.trailers
        self._write_data(stream, payload, is_last and stream.is_ending and trailers is None)
        if is_last:
            if trailers is not None:
                self._write_block(stream, self._encoder.encode(trailers), True)
                self._end_local(stream)
            if tells:
                self.handler.on_writable(stream)
        return True

    def _pump(self) -> None:
        """One frame for each stream that waits, again and again, until there is no window or no room."""
        moved = True
        while moved:
            moved = False
            for stream in list(self._waiting.values()):
                if self._is_held or self.send_window <= 0:
                    return
                if self._send_some(stream, True):
                    moved = True

    def _open_window(self, stream: Stream, increment: int) -> bool:
        """A stream's window grows; False: beyond what there can be."""
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            return False
        while not self._is_held and self._send_some(stream, True):
            pass
        return True

    def _end_local(self, stream: Stream) -> None:
        stream.is_local_done = True
        if stream.is_remote_done:
            self._close(stream)

    def _forget_queue(self, stream: Stream) -> None:
        self.queued -= stream.queued
        stream.queued = 0
        stream.queue = NO_PIECES
        stream.queue_first = 0
        stream.queue_at = 0
        self._waiting.pop(stream.id, None)

    def _close(self, stream: Stream) -> None:
        """The stream is over: what it held of the connection's window goes back."""
        if stream.is_closed:
            return
        stream.is_closed = True
        self.streams.pop(stream.id, None)
        if stream.queued:
            self._forget_queue(stream)
        stream.trailers = None
        if stream.unconsumed and not self._credits_at_once:
            self._give_credit(stream.unconsumed)
        stream.unconsumed = 0
