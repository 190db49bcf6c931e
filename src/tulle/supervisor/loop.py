"""One thread's events: readable descriptors, deadlines, signals and ended children. Sleeps when there are none."""

import heapq
import itertools
import os
import select
import signal
import socket
import time
from collections.abc import Callable

Callback = Callable[[], object]


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

    def __init__(self) -> None:
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
            self._epoll.unregister(descriptor)

    def later(self, seconds: float, callback: Callback) -> Timer:
        """Calls back once, in `seconds`."""
        timer = Timer(self.now() + seconds, callback)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
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
                    reader()
                if events & select.EPOLLOUT and (writer := self._writers.get(descriptor)):
                    writer()
            self._ring()

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
        return max(0.0, self._timers[0][0] - self.now()) if self._timers else -1

    def _ring(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback:
                timer.callback()

    def _take_signals(self) -> None:
        for number in frozenset(self._wake_in.recv(4096)):
            if callback := self._signals.get(number):
                callback()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if callback := self._children.pop(pid, None):
                callback(status)


def _note(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the news; without a handler there would be none."""
