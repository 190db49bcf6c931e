"""An HTTP/2 connection on a wire: what its codec gathers in a turn goes out in one write."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.connection import Connection
from tulle.http.h2.stream import Handler
from tulle.proxy.loop import Dispatcher
from tulle.proxy.stream import Speaker
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import Wire
from tulle.wire.reason import Reason

FLUSH_BYTES: Final = 65_536
"""Gathered output that does not wait for the end of the turn."""
FAREWELL: Final = 2.0
"""Seconds in which the peer must read the last that is sent; what it does not read by then is lost."""


class LinkOwner(Handler):
    """Who frames streams on a link. The codec's calls come here, and the connection's own fate."""

    def on_link_end(self) -> None:
        """The peer is gone, or will send nothing more; the wire is still open."""
        raise NotImplementedError

    def on_link_deadline(self, now: float) -> None:
        """The link's deadline has passed."""
        raise NotImplementedError

    def on_link_idle(self) -> None:
        """The proxy drains: no new streams."""
        raise NotImplementedError

    def on_link_retired(self) -> None:
        """Another proxy serves: a caller opens no new streams, as soon as it knows. An endpoint need not know."""

    def on_link_cut(self, reason: Reason) -> None:
        """The proxy ends: what is not answered yet is answered so."""
        raise NotImplementedError

    def on_link_renewed(self) -> None:
        """A snapshot came into force: what is asked next is judged by it, and nothing else of the one before is needed."""

    def on_link_defect(self) -> None:
        """A defect of ours hit what the link serves."""
        raise NotImplementedError


@final
class Http2Link(Speaker):
    """Between a wire and a codec, for either role."""

    codec: Connection
    """Set by `attach`; a codec has something to say as soon as it is made."""

    def __init__(self, dispatcher: Dispatcher, owner: LinkOwner) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.last_read = dispatcher.now
        """When the peer was last heard, monotonic seconds."""
        self.head_timeout = NEVER
        """Seconds in which a head that began must be complete; then `on_link_deadline` is called."""
        self._owner = owner
        self._wire: Wire | None = None
        self._is_gathering = False
        self._ends = False
        self._held = 0
        """Octets that the dispatcher knows to wait here."""

    @property
    def is_open(self) -> bool:
        """Whether streams may still move."""
        return self._wire is not None and self._wire.is_open and not self._ends

    @property
    def is_stuck(self) -> bool:
        """The peer leaves so much unread that nothing new shall go here."""
        wire = self._wire
        return wire is not None and bool(wire.kept) and self.codec.pending_bytes > FLUSH_BYTES

    def attach(self, codec: Connection, wire: Wire) -> None:
        """Speaks on this wire from now on; what is gathered already goes out with this turn."""
        self.codec = codec
        self._wire = wire
        self.gather()

    def gather(self) -> None:
        """There is something to send: it goes out at the end of the turn."""
        if not self._is_gathering and self._wire is not None:
            self._is_gathering = True
            self.dispatcher.gather(self)

    def flush_if_large(self) -> None:
        """Sends at once what is too much to wait for the end of the turn."""
        if self.codec.pending_bytes > FLUSH_BYTES:
            self._send()
        elif self.codec.queued or self._held:
            self._note_held()

    def finish(self) -> None:
        """Closes once all that is gathered has been sent."""
        self._ends = True
        self._note_held()
        self.gather()

    def close(self) -> None:
        """Closes at once. Idempotent."""
        self._ends = True
        self._note_held()
        self.deadline = NEVER
        if self._wire is not None:
            self._wire.close()

    def on_flush(self) -> None:
        self._is_gathering = False
        self._send()
        wire = self._wire
        if self._ends and wire is not None and wire.is_open:
            self.deadline = self.dispatcher.now + FAREWELL
            wire.finish()

    def on_octets(self, octets: bytes) -> None:
        if self._ends:
            return
        self.last_read = self.dispatcher.now
        codec = self.codec
        codec.receive(octets, self.last_read)
        if codec.head_since < NEVER:
            self.deadline = min(self.deadline, codec.head_since + self.head_timeout)
        if self.codec.pending_bytes > FLUSH_BYTES:
            self._send()

    def on_end(self) -> None:
        self._owner.on_link_end()

    def on_lost(self) -> None:
        self._owner.on_link_end()

    def on_defect(self) -> None:
        self._owner.on_link_defect()

    def on_drained(self) -> None:
        self.codec.release()
        wire = self._wire
        if wire is not None and not self._ends:
            wire.resume()
        self.gather()

    def on_deadline(self, now: float) -> None:
        if self._ends:
            self.close()
        else:
            self._owner.on_link_deadline(now)

    def close_when_idle(self) -> None:
        self._owner.on_link_idle()

    def retire(self) -> None:
        self._owner.on_link_retired()

    def cut(self, reason: Reason) -> None:
        self._owner.on_link_cut(reason)

    def renew(self) -> None:
        self._owner.on_link_renewed()

    def _send(self) -> None:
        wire = self._wire
        if wire is None or not wire.is_open:
            return
        codec = self.codec
        if not wire.kept:
            octets = codec.take()
            if not octets or wire.write(octets):
                if codec.queued or self._held:
                    self._note_held()
                return
            codec.hold()
        self._note_held()
        if not codec.wants_reading:
            wire.pause()

    def _note_held(self) -> None:
        """What waits for a window or for room counts for the whole process; what the wire keeps it counts itself."""
        codec = self.codec
        wire = self._wire
        held = 0
        if not self._ends:
            held = codec.queued
            if wire is not None and wire.kept:
                held += codec.pending_bytes
        if held != self._held:
            self.dispatcher.hold(held - self._held)
            self._held = held
