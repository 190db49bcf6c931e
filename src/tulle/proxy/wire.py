"""A connected socket of the relay: one read per event, one send per message, and room for what the kernel did not take."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Callable
from typing import Final, final

from tulle.proxy.loop import ERROR, HANGUP, READ, READ_BYTES, WRITE, Dispatcher, Watched
from tulle.proxy.party import NOBODY, Party
from tulle.proxy.pipes import Pipe

RESET: Final = struct.pack("ii", 1, 0)
BULK_BYTES: Final = READ_BYTES
"""What is left of a body goes on unread if it is at least so much."""
UNBOUNDED: Final = 1 << 62
FEW_BYTES: Final = READ_BYTES // 4
"""Fewer at once are copied: that costs no more, and takes no pipe."""


@final
class Wire(Watched):
    """What is written is sent at once or kept; a writer that sees `write` return False stops its source."""

    def __init__(self, dispatcher: Dispatcher, sock: socket.socket, party: Party) -> None:
        super().__init__(sock)
        self.kept = b""
        """Octets that wait for the kernel to make room."""
        self.is_clogged = False
        """Octets wait for that, kept or in a pipe."""
        self.is_broken = False
        self.is_ended = False
        """The peer shut its half."""
        self.was_reset = False
        """We closed it with a reset."""
        self._dispatcher = dispatcher
        self._party = party
        party.line = self
        self._recv = sock.recv
        self._send = sock.send
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._reads = True
        self._sink: Wire | None = None
        self._movable = 0
        """How many of the octets that come next may go to the sink unread."""
        self._pipe: Pipe | None = None
        """Octets that wait for the kernel to make room, before all that are kept."""
        self._shuts = False
        """Shut our half once nothing is kept."""
        self._closes = False
        """Close once nothing is kept."""

    def start(self) -> None:
        """Reads from now on; the party's deadline counts."""
        self._dispatcher.watch(self, READ)
        self._dispatcher.wheel.add(self._party, self._dispatcher.now)

    def pass_to(self, party: Party) -> None:
        """Somebody else speaks from now on."""
        wheel = self._dispatcher.wheel
        wheel.remove(self._party)
        self._party = party
        party.line = self
        wheel.add(party, self._dispatcher.now)

    def write(self, octets: bytes) -> bool:
        """Sends or keeps. False: something is kept, so the source should pause until `on_drained`."""
        if self.is_clogged:
            self.kept += octets
            self._dispatcher.hold(len(octets))
            return False
        if self.is_broken or not self.is_open:
            return True
        try:
            sent = self._send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.is_broken = True
            self._dispatcher.fail(self)
            return True
        if sent == len(octets):
            return True
        self.kept = octets[sent:]
        self.is_clogged = True
        self._dispatcher.hold(len(self.kept))
        self._expect()
        return False

    def move_to(self, sink: Wire, most: int = UNBOUNDED) -> None:
        """What comes next goes there unread, at most so much, for as long as it comes in bulk.

        This wire pauses itself when the sink is clogged and more may come.
        """
        if not self._dispatcher.is_sparing:
            self._sink = sink
            self._movable = most

    def read_rest(self) -> bytes:
        """What came before the connection broke; empty when nothing did."""
        if not self.is_broken or not self.is_open or self.is_ended:
            return b""
        try:
            return self._recv(READ_BYTES)
        except OSError:
            return b""

    def has_news(self) -> bool:
        """Whether octets, an end or an error wait to be read: asks the kernel, at the price of a system call."""
        poll = self._poll
        if poll is None:
            poller = select.poll()
            poller.register(self.fd, READ)
            poll = self._poll = poller.poll
        return bool(poll(0))

    def pause(self) -> None:
        """Reads no more for now."""
        if self._reads:
            self._reads = False
            self._expect()

    def resume(self) -> None:
        """Reads again."""
        if not self._reads and not self.is_ended:
            self._reads = True
            self._expect()

    def shut(self) -> None:
        """Nothing more will be written; the peer learns it after what is kept."""
        if self.is_clogged:
            self._shuts = True
        elif self.is_open and not self.is_broken:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.is_broken = True
                self._dispatcher.fail(self)

    def finish(self) -> None:
        """Closes after what is kept has been sent. The party's deadline still counts."""
        if self.is_clogged:
            self._closes = True
            self.pause()
        else:
            self.close()

    def close(self) -> None:
        """Closes. Idempotent."""
        self._drop_kept()
        self._dispatcher.wheel.remove(self._party)
        self._party = NOBODY
        self._sink = None
        self._dispatcher.close(self)

    def reset(self) -> None:
        """Closes with a reset: what was sent may not arrive, and the peer knows."""
        if self.is_open:
            self.was_reset = True
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.close()

    def lose(self) -> None:
        """The connection is broken."""
        self.is_broken = True
        self._party.on_lost()

    def on_event(self, mask: int) -> None:
        """Reads once, or sends what is kept."""
        if mask & READ:
            if self._reads and (self._sink is None or not self._move(self._sink)):
                try:
                    octets = self._recv(self._dispatcher.read_bytes)
                except BlockingIOError:
                    return
                except OSError:
                    self.lose()
                    return
                if octets:
                    self._party.on_octets(octets)
                else:
                    self.is_ended = True
                    self._reads = False
                    self._expect()
                    self._party.on_end()
        elif mask & ERROR:
            self.lose()
            return
        elif mask & HANGUP and not self.mask:
            self._dispatcher.hush(self)  # not when something is expected since: it comes with the next turn
        if mask & WRITE and self.is_open and self.is_clogged:
            self._send_kept()

    def on_failure(self) -> None:
        """A send failed or a defect happened: the party ends."""
        if not self.is_open:
            return
        if self.is_broken:
            self._drop_kept()
            self._party.on_lost()
        else:
            self._party.on_defect()

    def give_up(self) -> None:
        """A defect hit its party: ended at the end of the turn."""
        self._dispatcher.fail(self)

    def _move(self, sink: Wire) -> bool:
        """Moves what came. False: nothing came, or only a read can tell what."""
        dispatcher = self._dispatcher
        pipe = None
        if sink.is_open and not sink.is_broken and not sink.is_clogged and not dispatcher.is_sparing:
            pipe = dispatcher.pipes.lend(dispatcher.now)
        if pipe is None:
            self._sink = None
            return False
        try:
            moved = pipe.fill(self.fd, self._movable)
        except OSError:
            dispatcher.pipes.give_back(pipe)
            self.lose()
            return True
        if not moved:
            self._sink = None
            dispatcher.pipes.give_back(pipe)
            return False
        self._movable -= moved
        if moved < FEW_BYTES or not self._movable:
            self._sink = None
        if not sink._take(pipe) and self._movable:
            self.pause()
        self._party.on_moved(moved)
        return True

    def _take(self, pipe: Pipe) -> bool:
        """Sends what is in the pipe. False: some of it is kept there."""
        try:
            pipe.empty(self.fd)
        except BlockingIOError:
            pass
        except OSError:
            self.is_broken = True
            self._dispatcher.fail(self)
        if not pipe.held or self.is_broken:
            self._dispatcher.pipes.give_back(pipe)
            return True
        self._pipe = pipe
        self.is_clogged = True
        self._dispatcher.hold(pipe.held)
        self._expect()
        return False

    def _drop_kept(self) -> None:
        self.is_clogged = False
        pipe = self._pipe
        if pipe is not None:
            self._pipe = None
            self._dispatcher.hold(-pipe.held)
            self._dispatcher.pipes.give_back(pipe)
        if self.kept:
            self._dispatcher.hold(-len(self.kept))
            self.kept = b""

    def _send_kept(self) -> None:
        pipe = self._pipe
        try:
            if pipe is not None:
                self._dispatcher.hold(-pipe.empty(self.fd))
                if pipe.held:
                    return
                self._pipe = None
                self._dispatcher.pipes.give_back(pipe)
            if self.kept:
                sent = self._send(self.kept)
                self.kept = self.kept[sent:]
                self._dispatcher.hold(-sent)
        except BlockingIOError:
            return
        except OSError:
            self.lose()
            return
        if self.kept:
            return
        self.is_clogged = False
        self._expect()
        if self._closes:
            party = self._party
            self.close()
            party.on_finished()
            return
        if self._shuts:
            self._shuts = False
            self.shut()
        self._party.on_drained()

    def _expect(self) -> None:
        mask = READ if self._reads else 0
        if self.is_clogged:
            mask |= WRITE
        self._dispatcher.expect(self, mask)
