"""What concerns a connection rather than its messages: settings, windows, resets, floods, and how it ends."""

from __future__ import annotations

from typing import Final

from tulle.http.h2.frames import (
    ACK,
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    LARGEST_FRAME_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_STREAM_ID,
    MAX_WINDOW,
    NO_ERROR,
    PING,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    frame,
    goaway_frame,
)
from tulle.http.h2.limits import MAX_SETTINGS, SHORT_LIFE, Http2Limits
from tulle.http.h2.outgoing import Outgoing
from tulle.http.h2.stream import Handler, Stream

CLIENT: Final = 0
SERVER: Final = 1

_SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)
_DRAIN: Final = b"draining"
_PING: Final = b"are you?"
"""What our two kinds of PING carry."""


class Control(Outgoing):
    """Follows the frames that open no stream and carry no message."""

    def __init__(self, role: int, handler: Handler, limits: Http2Limits, now: float) -> None:
        super().__init__(handler, limits, role == CLIENT, now)
        self.has_failed = False
        self.is_going_away = False
        """Either side said GOAWAY: no new stream."""
        self.is_ready = False
        """The peer's first SETTINGS came."""
        self.peer_streams = 100
        """Streams that the peer allows us."""
        self.peer_serves_connect = False
        """The peer serves extended CONNECT (RFC 8441)."""
        self._is_server = role == SERVER
        self._is_acknowledged = False
        """The peer follows our SETTINGS."""
        self._initial_window = DEFAULT_WINDOW
        """What the peer may send on a new stream."""
        self._last_id = 0
        """The highest stream that the client opened."""
        self._last_served = MAX_STREAM_ID
        """What our GOAWAY said."""

    def ping(self) -> None:
        """Asks whether the peer is there; `on_pong` when it answers."""
        self._write(frame(PING, 0, 0, _PING))

    def drain(self) -> None:
        """No new streams; a server still takes those on their way, until the peer has seen GOAWAY."""
        if self.is_going_away or self.has_failed:
            return
        self.is_going_away = True
        if self._is_server:
            self._write(goaway_frame(MAX_STREAM_ID, NO_ERROR))
            self._write(frame(PING, 0, 0, _DRAIN))

    @property
    def is_draining(self) -> bool:
        """GOAWAY is on its way: streams may come that were opened before the peer saw it."""
        return self._is_server and self.is_going_away and self._last_served == MAX_STREAM_ID and not self.has_failed

    def close(self, code: int) -> None:
        """The last word to the peer: send what `take` gives, then close."""
        if self.has_failed:
            return
        self.has_failed = True
        self.is_going_away = True
        self._write(goaway_frame(self._last_id if self._is_server else 0, code))

    def _on_window_update(self, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if end - at != 4:
            self._fail(FRAME_SIZE_ERROR, "WINDOW_UPDATE is not of 4 octets")
            return
        increment = _number(octets, at) & MAX_WINDOW
        if not self._note_useless():
            return
        if stream_id == 0:
            if increment == 0:
                self._fail(PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
                return
            self.send_window += increment
            if self.send_window > MAX_WINDOW:
                self._fail(FLOW_CONTROL_ERROR, "window larger than can be")
            elif self._waiting:
                self._pump()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_late(stream_id, False)
        elif increment == 0:
            self._break(stream, PROTOCOL_ERROR)
        elif not self._open_window(stream, increment):
            self._break(stream, FLOW_CONTROL_ERROR)

    def _on_rst_stream(self, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if stream_id == 0:
            self._fail(PROTOCOL_ERROR, "RST_STREAM on stream 0")
            return
        if end - at != 4:
            self._fail(FRAME_SIZE_ERROR, "RST_STREAM is not of 4 octets")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._on_late(stream_id, False)
            return
        self._close(stream)
        if self._floods.now - stream.since < SHORT_LIFE:
            self._note_reset()
        if not self.has_failed:
            self.handler.on_reset(stream, _number(octets, at), True)

    def _on_settings(self, flags: int, stream_id: int, octets: bytes, at: int, end: int) -> None:
        size = end - at
        if stream_id:
            self._fail(PROTOCOL_ERROR, "SETTINGS on a stream")
            return
        if flags & ACK:
            if size:
                self._fail(FRAME_SIZE_ERROR, "SETTINGS acknowledged with a payload")
            elif not self._is_acknowledged:
                self._is_acknowledged = True
                change = self.limits.stream_window - self._initial_window
                self._initial_window = self.limits.stream_window
                for stream in self.streams.values():
                    stream.receive_window += change
            else:
                self._note_useless()
            return
        if size % 6:
            self._fail(FRAME_SIZE_ERROR, "SETTINGS is not of entries of 6 octets")
            return
        if size > 6 * MAX_SETTINGS:
            self._fail(ENHANCE_YOUR_CALM, "too many settings")
            return
        if not self._note_useless():
            return
        window = self._peer_window
        while at < end:
            key = (octets[at] << 8) | octets[at + 1]
            value = _number(octets, at + 2)
            at += 6
            if key == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    self._fail(FLOW_CONTROL_ERROR, "initial window larger than can be")
                    return
                window = value
            elif not self._adopt(key, value):
                return
        self._write(_SETTINGS_ACK)
        if window != self._peer_window and not self._change_windows(window - self._peer_window):
            return
        if not self.is_ready:
            self.is_ready = True
            self.handler.on_ready()

    def _adopt(self, key: int, value: int) -> bool:
        """Follows one setting that is no window; False: it cannot be."""
        if key == HEADER_TABLE_SIZE:
            self._encoder.limit(value)
        elif key == MAX_CONCURRENT_STREAMS:
            self.peer_streams = value
        elif key == MAX_FRAME_SIZE:
            if value < DEFAULT_FRAME_SIZE or value > LARGEST_FRAME_SIZE:
                self._fail(PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE that cannot be")
                return False
        elif key == ENABLE_PUSH:
            if value > 1 or (value == 1 and not self._is_server):
                self._fail(PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH that cannot be")
                return False
        elif key == ENABLE_CONNECT_PROTOCOL:
            if value > 1 or (value == 0 and self.peer_serves_connect):
                self._fail(PROTOCOL_ERROR, "SETTINGS_ENABLE_CONNECT_PROTOCOL that cannot be")
                return False
            self.peer_serves_connect = value == 1
        return True

    def _change_windows(self, change: int) -> bool:
        self._peer_window += change
        for stream in list(self.streams.values()):
            if not self._open_window(stream, change):
                self._fail(FLOW_CONTROL_ERROR, "initial window takes a stream's beyond what can be")
                return False
        return True

    def _on_ping(self, flags: int, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if stream_id:
            self._fail(PROTOCOL_ERROR, "PING on a stream")
        elif end - at != 8:
            self._fail(FRAME_SIZE_ERROR, "PING is not of 8 octets")
        elif self._note_useless():
            payload = octets[at:end]
            if not flags & ACK:
                self._write(frame(PING, ACK, 0, payload))
            elif payload == _DRAIN and self.is_going_away and self._last_served == MAX_STREAM_ID:
                self._last_served = self._last_id
                self._write(goaway_frame(self._last_id, NO_ERROR))
                self.handler.on_pong()
            elif payload == _PING:
                self.handler.on_pong()

    def _on_goaway(self, stream_id: int, octets: bytes, at: int, end: int) -> None:
        if stream_id:
            self._fail(PROTOCOL_ERROR, "GOAWAY on a stream")
            return
        if end - at < 8:
            self._fail(FRAME_SIZE_ERROR, "GOAWAY of less than 8 octets")
            return
        if not self._note_useless():
            return
        self.is_going_away = True
        if not self._is_server:
            last = _number(octets, at) & MAX_STREAM_ID
            for stream in list(self.streams.values()):
                if stream.id > last and not stream.is_closed:
                    self._close(stream)
                    self.handler.on_reset(stream, REFUSED_STREAM, True)
        self.handler.on_goaway(_number(octets, at + 4))

    def _on_late(self, stream_id: int, opens: bool) -> None:
        """A frame on a stream that is not open; `opens`: one that only an open stream may get."""
        if stream_id > self._last_id or stream_id & 1 == 0:
            self._fail(PROTOCOL_ERROR, "frame on an idle stream")
        elif opens and self._forgotten_reset < stream_id <= self._last_served and stream_id not in self._resets:
            self._fail(STREAM_CLOSED, "frame on a closed stream")
        else:
            self._note_useless()

    def _end_remote(self, stream: Stream) -> None:
        stream.is_remote_done = True
        if stream.is_local_done:
            self._close(stream)

    def _break(self, stream: Stream, code: int) -> None:
        """A stream error: RST_STREAM, and its owner learns it."""
        self._write_reset(stream.id, code)
        self._close(stream)
        self._note_reset()
        if not self.has_failed:
            self.handler.on_reset(stream, code, False)

    def _break_id(self, stream_id: int, code: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._break(stream, code)
            return
        self._fail(code, "malformed frame on a stream that is not open")

    def _note_useless(self) -> bool:
        """One more frame that moves nothing; False: that was too much."""
        if self._floods.is_useless_too_often():
            self._fail(ENHANCE_YOUR_CALM, "too many frames that move nothing")
            return False
        return True

    def _note_reset(self) -> None:
        if self._floods.is_reset_too_often() and self._is_server and not self.has_failed:
            self._fail(ENHANCE_YOUR_CALM, "too many streams reset")

    def _fail(self, code: int, detail: str) -> None:
        if not self.has_failed:
            self.close(code)
            self.handler.on_failed(code, detail)


def _number(octets: bytes, at: int) -> int:
    """Four octets."""
    return (octets[at] << 24) | (octets[at + 1] << 16) | (octets[at + 2] << 8) | octets[at + 3]
