"""The relay's own dispatch: one call per event, without task, future, handle or closure.

Level-triggered. A handler reads once per event and sends inside the call. Descriptors are closed at the end of the turn, so that
a number cannot come back for another connection while events of the old one are still in hand.
"""

from __future__ import annotations

import select
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Final, final

from tulle.proxy.pipes import Pipes
from tulle.proxy.wheel import NEVER, Timed, Wheel

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
ERROR: Final = select.EPOLLERR
HANGUP: Final = select.EPOLLHUP
READ_BYTES: Final = 65536
"""Octets read at once."""
SPARING_BYTES: Final = 4096
"""The same, while much is held for slow readers."""
MAX_EVENTS: Final = 256
"""Events taken from the kernel in one turn."""

_NOBODY: Final[list[Timed]] = []


class Watched:
    """An open descriptor of the relay."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.mask = -1
        """Events it is registered for; -1: not registered."""
        self.is_open = True
        self.is_idle = False
        """Nothing is awaited from it: what comes all the same is served before the turn's other events."""

    def on_event(self, mask: int) -> None:
        """Reads or writes; `mask` is epoll's."""
        raise NotImplementedError

    def on_failure(self) -> None:
        """A send failed, or an exception escaped: ends what it served. Called at the end of the turn."""
        raise NotImplementedError


@final
class Foremost(Watched):
    """What it brings is heard before anything else of the turn is served."""

    def __init__(self, sock: socket.socket, hear: Callable[[], None]) -> None:
        super().__init__(sock)
        self.is_idle = True
        self._hear = hear

    def on_event(self, mask: int) -> None:
        """Hears all there is."""
        self._hear()

    def on_failure(self) -> None:
        """A defect in hearing ends nothing: it has been told."""


class Dispatcher:
    """Which descriptor is whose, and what a turn of the loop does."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.epoll = select.epoll()
        self._clock = time.monotonic
        self.wheel = Wheel(self._contain)
        self.now = time.monotonic()
        """Of this turn, seconds."""
        self.turns = 0
        """Turns begun: two moments of one number had no look at the kernel between them."""
        self.is_partial = False
        """This turn has as many events as fit: the kernel may know of more."""
        self.woken = False
        """Something was given to asyncio in this turn, which must get a turn of its own."""
        self.defects = 0
        self.held = 0
        """Octets that wait for slow readers, of all connections."""
        self.may_hold = 1 << 26
        """How many there may be."""
        self.read_bytes = READ_BYTES
        """How much is read at once."""
        self.pipes = Pipes()
        self._watched: list[Watched | None] = [None] * 1024
        self._closing: list[socket.socket] = []
        self._failed: list[Watched] = []
        self._soon: deque[tuple[float, Timed]] = deque()
        self._postponed: list[Timed] = []
        self._gathering: list[Timed] = []
        self._report = report

    def watch(self, one: Watched, mask: int) -> None:
        """From now on `one` gets its events. Raises OSError where the kernel watches no more; nothing has changed then."""
        fd = one.fd
        while fd >= len(self._watched):
            self._watched.extend([None] * len(self._watched))
        self.epoll.register(fd, mask)
        self._watched[fd] = one
        one.mask = mask

    def expect(self, one: Watched, mask: int) -> None:
        """Changes which events it gets; nothing happens when they are the same."""
        if one.mask == mask or not one.is_open:
            return
        if one.mask < 0:
            self.epoll.register(one.fd, mask)
        else:
            self.epoll.modify(one.fd, mask)
        one.mask = mask

    def hush(self, one: Watched) -> None:
        """No event at all, not even of a hang-up, until something is expected again."""
        if one.mask >= 0 and one.is_open:
            self.epoll.unregister(one.fd)
            one.mask = -1

    def release(self, one: Watched) -> socket.socket:
        """Its socket, open, no longer watched: somebody else goes on with it."""
        self._forget(one)
        return one.sock

    def close(self, one: Watched) -> None:
        """Closes at the end of the turn. Idempotent."""
        if one.is_open:
            self._forget(one)
            self._closing.append(one.sock)

    def fail(self, one: Watched) -> None:
        """Has `on_failure` called at the end of the turn."""
        self._failed.append(one)

    def soon(self, one: Timed, deadline: float) -> None:
        """Calls `on_deadline` on time, not a wheel's revolution late. Cheap where deadlines do not decrease."""
        place = len(self._soon)
        while place and self._soon[place - 1][0] > deadline:
            place -= 1
        self._soon.insert(place, (deadline, one))

    def postpone(self, one: Timed) -> None:
        """Calls `on_turn` in the next turn: others come first, and what is ready meanwhile."""
        self._postponed.append(one)

    def gather(self, one: Timed) -> None:
        """Calls `on_flush` at the end of this turn: what it gathers until then goes out in one write."""
        self._gathering.append(one)

    def hold(self, octets: int) -> None:
        """So many octets more wait for a slow reader, or fewer."""
        self.held += octets
        self.read_bytes = READ_BYTES if self.held * 2 <= self.may_hold else SPARING_BYTES

    @property
    def is_sparing(self) -> bool:
        """Much is held for slow readers: little is read at once."""
        return self.read_bytes != READ_BYTES

    def wake(self) -> None:
        """To be called by whoever schedules something with asyncio from inside a handler."""
        self.woken = True

    def enter(self) -> None:
        """To be called by whoever comes from asyncio into the relay: the clock is read again."""
        self.now = time.monotonic()
        self.wheel.stir(self.now)

    def wait(self) -> float:
        """Seconds until the next turn is due without events; infinite when nothing waits."""
        if self._failed or self._closing or self._postponed or self._gathering:
            return 0.0
        wait = self.wheel.wait(self.now)
        if self._soon:
            wait = min(wait, max(0.0, self._soon[0][0] - self.now))
        return wait

    def serve(self, timeout: float | None) -> list[tuple[int, int]]:
        """Turns until others have something to do, and returns their events, if it was one of these.

        It ends as well after `timeout` seconds, or when a handler has woken asyncio.
        """
        clock = self._clock
        poll = self.epoll.poll
        until = NEVER if timeout is None else clock() + timeout
        self.woken = False
        while True:
            wait = self.wait()
            if until != NEVER:
                wait = min(wait, max(0.0, until - clock()))
            try:
                events = poll(-1.0 if wait == NEVER else wait, MAX_EVENTS)
            except InterruptedError:
                events = []
            foreign = self.turn(events)
            if foreign or self.woken or self.now >= until:
                return foreign

    def turn(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Serves the events of the relay and what is due; returns the events of others."""
        now = self._clock()
        self.now = now
        self.turns += 1
        self.is_partial = len(events) >= MAX_EVENTS
        postponed = _NOBODY
        if self._postponed:  # what this turn puts off waits for the next
            postponed = self._postponed
            self._postponed = []
        foreign: list[tuple[int, int]] = []
        watched = self._watched
        known = len(watched)
        for event in events:
            fd = event[0]
            one = watched[fd] if fd < known else None
            if one is not None and one.is_idle:
                self._serve(one, event[1])
        for event in events:
            fd = event[0]
            one = watched[fd] if fd < known else None
            if one is None:
                foreign.append(event)
                continue
            try:  # as `_serve`, without its call
                one.on_event(event[1])
            except Exception:  # noqa: BLE001  (one defect must not end the process)
                self.defect(one)
        for timed in postponed:
            try:
                timed.on_turn()
            except Exception:  # noqa: BLE001  (one defect must not end the process)
                self._contain(timed)
        if events:
            self.wheel.stir(now)
        self._finish(now)
        return foreign

    def defect(self, one: Watched | None) -> None:
        """An exception escaped: tells it with its trace, ends what it hit."""
        self.defects += 1
        self._report(trace())
        if one is not None and one.is_open:
            self._failed.append(one)

    def _serve(self, one: Watched, mask: int) -> None:
        try:
            one.on_event(mask)
        except Exception:  # noqa: BLE001  (one defect must not end the process)
            self.defect(one)

    def _contain(self, one: Timed) -> None:
        """An exception escaped a call to `one`, and is being handled: tells it, ends what it hit."""
        self.defect(None)
        one.deadline = NEVER
        one.give_up()

    def _finish(self, now: float) -> None:
        while self._soon and self._soon[0][0] <= now:
            timed = self._soon.popleft()[1]
            if timed.deadline <= now:
                try:
                    timed.on_deadline(now)
                except Exception:  # noqa: BLE001  (one defect must not end the process)
                    self._contain(timed)
        self.wheel.turn(now)
        while self._failed or self._gathering:
            while self._gathering:
                gathering = self._gathering.pop()
                try:
                    gathering.on_flush()
                except Exception:  # noqa: BLE001  (one defect must not end the process)
                    self._contain(gathering)
            while self._failed:
                one = self._failed.pop()
                try:
                    one.on_failure()
                except Exception:  # noqa: BLE001  (one defect must not end the process)
                    self.defects += 1
                    self._report(trace())
                    self.close(one)
        if self._closing:
            for sock in self._closing:
                sock.close()
            self._closing.clear()

    def _forget(self, one: Watched) -> None:
        one.is_open = False
        self._watched[one.fd] = None
        if one.mask >= 0:
            one.mask = -1
            self.epoll.unregister(one.fd)


def trace() -> str:
    """The exception being handled, as text."""
    return traceback.format_exc()
