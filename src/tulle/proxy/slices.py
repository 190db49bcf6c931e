"""Long work done between the events of the loop: no event waits longer for it than one slice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any, Final, TypeVar, final

from tulle.proxy.loop import Dispatcher
from tulle.proxy.wheel import Timed

SLICE: Final = 0.001
"""Seconds of work in a turn. In between the kernel is asked for events, which costs a few microseconds."""

Result = TypeVar("Result")


@final
class Sliced(Timed):
    """Work that goes on a slice in each turn, behind the turn's events."""

    def __init__(
        self, dispatcher: Dispatcher, work: Generator[None, None, Any], done: asyncio.Future[Any], slice_: float
    ) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._work = work
        self._done = done
        self._slice = slice_

    def on_turn(self) -> None:
        """The next slice."""
        if self._done.done():  # cancelled
            self._work.close()
            return
        until = time.monotonic() + self._slice
        try:
            next(self._work)
            while time.monotonic() < until:
                next(self._work)
        except StopIteration as end:
            self._done.set_result(end.value)
        except Exception as fault:  # noqa: BLE001  (whoever waits for it is told)
            self._done.set_exception(fault)
        else:
            self._dispatcher.postpone(self)
            return
        self._dispatcher.wake()


def sliced(
    dispatcher: Dispatcher, work: Generator[None, None, Result], slice_: float = SLICE
) -> asyncio.Future[Result]:
    """Does the work from the next turn on; what it returns or raises. Each of its steps is to be much shorter than a slice."""
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    dispatcher.postpone(Sliced(dispatcher, work, done, slice_))
    return done
