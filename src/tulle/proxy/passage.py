"""A stream that CONNECT opened: its octets are those of another connection, which is served like any."""

from __future__ import annotations

import socket
from typing import Final, final

from tulle.http.h2.connection import Connection as Codec
from tulle.http.h2.frames import CANCEL, CONNECT_ERROR, NO_ERROR
from tulle.http.h2.stream import Stream
from tulle.proxy.http2 import Http2Link
from tulle.proxy.loop import Dispatcher
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Party, Wire

LOOK: Final = 1.0
"""Seconds between looks whether a connection that has said all has ended."""


@final
class Passage(Party):
    """Carries octets both ways, with half-close, resets and back-pressure. Time-outs are the inner connection's own."""

    def __init__(
        self, dispatcher: Dispatcher, link: Http2Link, codec: Codec, stream: Stream, near: socket.socket, inner: Wire
    ) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._link = link
        self._codec = codec
        self._stream = stream
        self._inner = inner
        """Where the far end is served."""
        self._wire = Wire(dispatcher, near, self)
        self._unconsumed = 0
        """Octets of the caller's that the inner connection has not taken yet."""
        self._is_over = False

    def start(self) -> None:
        """Carries from now on."""
        self._wire.start()

    def on_octets(self, octets: bytes) -> None:
        if not self._codec.send_data(self._stream, octets, False):
            self._wire.pause()
        self._link.flush_if_large()

    def on_end(self) -> None:
        if self._inner.was_reset:
            self._end(CONNECT_ERROR)
        else:
            self._codec.send_data(self._stream, b"", True)
            if self._stream.is_closed:
                self._end(NO_ERROR)
            else:
                self.deadline = self._dispatcher.now + LOOK

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
        if self._stream.is_closed or not self._inner.is_open:
            self._end(CONNECT_ERROR if self._inner.was_reset else NO_ERROR)

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

    def _end(self, code: int) -> None:
        """The inner connection is over; what waits for the caller's window still goes, unless it was reset."""
        if self._is_over:
            return
        stream = self._stream
        if code == NO_ERROR and stream.queued:
            self.deadline = self._dispatcher.now + LOOK
            return
        self._is_over = True
        self.deadline = NEVER
        self._wire.close()
        if not stream.is_closed:
            self._codec.reset(stream, code)
        stream.owner = None
        self._link.gather()
