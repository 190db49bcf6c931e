"""Signals for an event loop, without what asyncio's own way loads: `inspect`, to see that the callback is no coroutine."""

import signal
import socket
from collections.abc import Callable, Iterable
from typing import Protocol


class Reads(Protocol):
    """What of an event loop is needed."""

    def add_reader(self, fd: int, callback: Callable[[], object], /) -> object:
        """Calls back whenever `fd` can be read."""


def on_signal(loop: Reads, numbers: Iterable[int], callback: Callable[[], object]) -> None:
    """Calls back, outside of the handler, when one of these has come. Once in a process, by its main thread.

    Before asyncio runs `leave_interrupts` is to be called where SIGINT is among them.
    """
    heard, told = socket.socketpair()
    for one in (heard, told):
        one.setblocking(False)

    def take() -> None:
        heard.recv(64)
        callback()

    def note(_number: int, _frame: object, _kept: socket.socket = told) -> None:
        """The wake-up descriptor carries the news; without a handler there would be none."""

    loop.add_reader(heard.fileno(), take)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, note)


def leave_interrupts() -> None:
    """Keeps asyncio's hands off SIGINT. What it would set, `signal` could only say by way of a failure that spells out a task."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
