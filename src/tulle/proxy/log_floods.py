"""Which lines of a log are too many alike: those are left out, and told of in one line behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from tulle.proxy.loop import Dispatcher
from tulle.proxy.wheel import Alarm

FLOOD_LINES: Final = 100
"""Lines alike in FLOOD_SECONDS; those beyond are left out."""
FLOOD_SECONDS: Final = 10.0

Alike = tuple[str, str, str]
"""(source, destination, reason): labels of the snapshot, so that there is a bound to them."""


@final
class Flood:
    """Lines alike, since a moment."""

    __slots__ = ("left_out", "lines", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines = 0
        self.left_out = 0


@final
class Floods:
    """Counts lines; `tell` is called once with what was left out of them, at the end of their time."""

    def __init__(self, dispatcher: Dispatcher, tell: Callable[[Alike, int], None]) -> None:
        self._dispatcher = dispatcher
        self._tell = tell
        self._floods: dict[Alike, Flood] = {}

    def admits(self, key: Alike) -> bool:
        """False: there were too many alike, and this one is only counted."""
        now = self._dispatcher.now
        flood = self._floods.get(key)
        if flood is None or now - flood.since >= FLOOD_SECONDS:
            if flood is not None:
                self._end(key)
            flood = self._floods[key] = Flood(now)
        if flood.lines < FLOOD_LINES:
            flood.lines += 1
            return True
        if not flood.left_out:
            until = flood.since + FLOOD_SECONDS
            self._dispatcher.soon(Alarm(until, self._look), until)
        flood.left_out += 1
        return False

    def forget(self) -> None:
        """Starts anew with those of which nothing was left out."""
        for key, flood in list(self._floods.items()):
            if not flood.left_out:
                del self._floods[key]

    def finish(self) -> None:
        """Tells now of all that was left out."""
        for key in list(self._floods):
            self._end(key)

    def _look(self, now: float) -> None:
        for key, flood in list(self._floods.items()):
            if flood.left_out and now - flood.since >= FLOOD_SECONDS:
                self._end(key)

    def _end(self, key: Alike) -> None:
        flood = self._floods.pop(key, None)
        if flood is not None and flood.left_out:
            self._tell(key, flood.left_out)
