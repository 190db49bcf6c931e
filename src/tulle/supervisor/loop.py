"""One thread's events: readable descriptors, deadlines, signals and ended children. Sleeps when there are none.

What a callback may raise: OSError, when the box lacks something just now (a process, a descriptor, memory). It is said
with the callback's name, and the callback is called again in a second, until it returns; so a callback is to be written
such that it may be called twice. Anything else is a defect of ours: it is said with its trace, and what happened once is
not tried again. What other callbacks serve goes on either way. A descriptor whose callback raised, which is still ready,
rests for that second, lest the loop turn.
"""

import contextlib
import functools
import heapq
import itertools
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable

Callback = Callable[[], object]

AGAIN_SECONDS = 1.0
"""Before a callback that the box refused something is called again."""
_LONGEST_WAIT_SECONDS = 86_400.0
"""The kernel takes no more than 24 days."""


class Timer:
    """A callback to come; may be cancelled."""

    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callback) -> None:
        self.due = due
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """The callback will not be called."""
        self.callback = None


class Loop:
    """Calls back until `stop`. Not to be used in a forked child."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` hears of callbacks that raised."""
        self._say = say
        self._epoll = select.epoll()
        self._readers: dict[int, Callback] = {}
        self._writers: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._children: dict[int, Callable[[int], None]] = {}
        self._signals: dict[int, Callback] = {signal.SIGCHLD: self._reap}
        self._wake_in, self._wake_out = socket.socketpair()
        self._running = True
        for one in (self._wake_in, self._wake_out):
            one.setblocking(False)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _note)
        self.read(self._wake_in.fileno(), self._take_signals)

    def now(self) -> float:
        """Seconds of a clock that never jumps."""
        return time.monotonic()

    def read(self, descriptor: int, callback: Callback) -> None:
        """Calls back whenever `descriptor` can be read or was hung up."""
        self._readers[descriptor] = callback
        self._watch(descriptor)

    def write(self, descriptor: int, callback: Callback | None) -> None:
        """Calls back whenever `descriptor` can be written; None ends it."""
        if callback is None:
            self._writers.pop(descriptor, None)
        else:
            self._writers[descriptor] = callback
        self._watch(descriptor)

    def forget(self, descriptor: int) -> None:
        """To be called before a descriptor is closed."""
        self._writers.pop(descriptor, None)
        if self._readers.pop(descriptor, None) is not None:
            with contextlib.suppress(FileNotFoundError):  # it rests
                self._epoll.unregister(descriptor)

    def later(self, seconds: float, callback: Callback) -> Timer:
        """Calls back once, in `seconds`."""
        timer = Timer(self.now() + seconds, callback)
        self._push(timer)
        return timer

    def child(self, pid: int, callback: Callable[[int], None]) -> None:
        """Calls back with the wait status when a child has ended."""
        self._children[pid] = callback

    def signal(self, number: int, callback: Callback) -> None:
        """Calls back on a signal, outside of its handler."""
        self._signals[number] = callback
        signal.signal(number, _note)

    def stop(self) -> None:
        """Lets `run` return."""
        self._running = False

    def run(self) -> None:
        """Serves until stopped."""
        while self._running:
            for descriptor, events in self._epoll.poll(self._patience()):
                if events & ~select.EPOLLOUT and (reader := self._readers.get(descriptor)):
                    self._serve(descriptor, reader)
                if events & select.EPOLLOUT and (writer := self._writers.get(descriptor)):
                    self._serve(descriptor, writer)
            self._ring()

    def _serve(self, descriptor: int, callback: Callback) -> None:
        """A descriptor stays ready until somebody reads or writes: where that failed, it rests."""
        if self._returns(callback) or callback not in (self._readers.get(descriptor), self._writers.get(descriptor)):
            return
        with contextlib.suppress(OSError):
            self._epoll.unregister(descriptor)

        def wake() -> None:
            if callback in (self._readers.get(descriptor), self._writers.get(descriptor)):
                self._watch(descriptor)

        self.later(AGAIN_SECONDS, wake)

    def _call(self, callback: Callback) -> None:
        """For what happens once: where the box refused something, it is called again."""
        if not self._returns(callback, is_defect_done=True):
            self.later(AGAIN_SECONDS, callback)

    def _returns(self, callback: Callback, *, is_defect_done: bool = False) -> bool:
        """Calls back; False when that raised, and is to be done again."""
        try:
            callback()
        except OSError as fault:
            self._say(f"{_name_of(callback)} failed ({fault}); trying again in {AGAIN_SECONDS:g} s")
            return False
        except Exception:  # noqa: BLE001  (what else is served must not end for it)
            self._say(f"{_name_of(callback)} failed, a defect of Tulle:")
            for line in traceback.format_exc().splitlines():
                self._say(f"  {line}")
            return is_defect_done
        return True

    def _watch(self, descriptor: int) -> None:
        wanted = (select.EPOLLIN if descriptor in self._readers else 0) | (
            select.EPOLLOUT if descriptor in self._writers else 0
        )
        try:
            self._epoll.modify(descriptor, wanted)
        except FileNotFoundError:
            self._epoll.register(descriptor, wanted)

    def _patience(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return min(max(0.0, self._timers[0][0] - self.now()), _LONGEST_WAIT_SECONDS) if self._timers else -1

    def _ring(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback and not self._returns(timer.callback, is_defect_done=True):
                timer.due = now + AGAIN_SECONDS
                self._push(timer)

    def _push(self, timer: Timer) -> None:
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))

    def _take_signals(self) -> None:
        for number in frozenset(self._wake_in.recv(4096)):
            if callback := self._signals.get(number):
                self._call(callback)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if callback := self._children.pop(pid, None):
                self._call(functools.partial(callback, status))


def _note(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the news; without a handler there would be none."""


def _name_of(callback: Callable[..., object]) -> str:
    """As the source calls it: `Addresses._hear`."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    return getattr(callback, "__qualname__", repr(callback)).replace(".<locals>", "")
