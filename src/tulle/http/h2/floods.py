"""Tells a busy peer from one that only wants to cost. Counts within a window of seconds; the clock is the caller's."""

from __future__ import annotations

from typing import final

from tulle.http.h2.limits import FLOOD_WINDOW, MAX_RESETS, MAX_USELESS


@final
class Floods:
    """Counts of one connection. Each method answers whether that was too much."""

    __slots__ = ("_began", "_opened", "_resets", "_useless", "now")

    def __init__(self, now: float) -> None:
        self.now = now
        """Of the last read."""
        self._began = now
        self._useless = 0
        self._opened = 0
        self._resets = 0

    def tick(self, now: float) -> None:
        """Called once per read: a new window begins when the old one is over."""
        self.now = now
        if now - self._began >= FLOOD_WINDOW:
            self._began = now
            self._useless = 0
            self._opened = 0
            self._resets = 0

    def note_useful(self) -> None:
        """Something moved, in either direction."""
        self._useless = 0

    def is_useless_too_often(self) -> bool:
        """One more frame that moves nothing."""
        self._useless += 1
        return self._useless > MAX_USELESS

    def note_opened(self) -> None:
        """The peer opened a stream."""
        self._opened += 1
        self._useless = 0

    def is_reset_too_often(self) -> bool:
        """One more stream was reset: by the peer, or by us because of what it sent."""
        self._resets += 1
        return self._resets > MAX_RESETS and self._resets * 2 > self._opened
