"""A stream that CONNECT opened: its octets are those of another connection, which is served like any."""

from __future__ import annotations

import socket
from typing import Final, final

from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.frames import CANCEL, CONNECT_ERROR, ENHANCE_YOUR_CALM, NO_ERROR
from tulle.http.h2.stream import Stream
from tulle.proxy.http2 import Http2Link
from tulle.proxy.party import Party
from tulle.proxy.relay import Relay
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire

LOOK: Final = 1.0
"""Seconds between looks whether the inner connection has ended."""


@final
class Passage(Party):
    """Carries octets both ways, with half-close, resets and back-pressure. Time-outs are the inner connection's own."""

    def __init__(
        self, relay: Relay, link: Http2Link, codec: Codec, stream: Stream, near: socket.socket, inner: Wire
    ) -> None:
        super().__init__()
        self._relay = relay
        self._moved = relay.dispatcher.now
        """When the caller last took octets."""
        self._link = link
        self._codec = codec
        self._stream = stream
        self._inner = inner
        """Where the far end is served."""
        self._wire = Wire(relay.dispatcher, near, self)
        self._unconsumed = 0
        """Octets of the caller's that the inner connection has not taken yet."""
        self._is_over = False

    def start(self) -> None:
        """Carries from now on."""
        self.deadline = self._relay.dispatcher.now + LOOK
        self._wire.start()

    def on_octets(self, octets: bytes) -> None:
        self._moved = self._relay.dispatcher.now
        if not self._codec.send_data(self._stream, octets, False):
            self._wire.pause()
            if self._relay.is_full:
                self._end(ENHANCE_YOUR_CALM)
        self._link.flush_if_large()

    def on_end(self) -> None:
        if self._inner.was_reset:
            self._end(CONNECT_ERROR)
        else:
            self._codec.send_data(self._stream, b"", True)
            if self._stream.is_closed:
                self._end(NO_ERROR)

    def on_lost(self) -> None:
        if self._inner.was_reset or not self._wire.is_ended:
            self._end(CONNECT_ERROR)
        else:
            self._end(NO_ERROR)

    def on_defect(self) -> None:
        self._end(CANCEL)

    def on_drained(self) -> None:
        octets = self._unconsumed
        if octets:
            self._unconsumed = 0
            self._codec.consume(self._stream, octets)

    def on_deadline(self, now: float) -> None:
        self.deadline = now + LOOK
        if self._stream.is_closed:
            self._end(NO_ERROR)
        elif not self._inner.is_open:
            if self._inner.was_reset:
                self._end(CONNECT_ERROR)
            elif self._wire.is_ended and not self._stream.queued:
                self._end(NO_ERROR)
            elif now - self._moved >= self._relay.idle_timeout:
                self._end(CANCEL)

    def on_data(self, payload: bytes, done: bool) -> None:
        """More of the caller's octets, and perhaps the end of its half."""
        if payload:
            self._unconsumed += len(payload)
            if self._wire.write(payload):
                self.on_drained()
        if done:
            self._wire.shut()

    def on_writable(self) -> None:
        """The caller takes more."""
        self._moved = self._relay.dispatcher.now
        if self._stream.is_closed:
            self._end(NO_ERROR)
        else:
            self._wire.resume()

    def lose(self) -> None:
        """The caller is gone: the inner connection breaks, as that of one who dialled."""
        if not self._is_over:
            self._is_over = True
            self.deadline = NEVER
            self._wire.close()
            if self._inner.is_open:
                self._inner.lose()

    def let_go(self) -> None:
        """Nothing came of it: both ends close, and the stream is somebody else's."""
        self._is_over = True
        self.deadline = NEVER
        self._wire.close()
        self._inner.close()

    def _end(self, code: int) -> None:
        """The inner connection is over; what waits for the caller's window still goes, unless it was reset."""
        if self._is_over:
            return
        stream = self._stream
        if code == NO_ERROR and stream.queued:
            return
        self._is_over = True
        self.deadline = NEVER
        self._wire.close()
        if code != NO_ERROR and self._inner.is_open:
            self._inner.lose()
        if not stream.is_closed:
            self._codec.reset(stream, code)
        stream.owner = None
        self._link.gather()
