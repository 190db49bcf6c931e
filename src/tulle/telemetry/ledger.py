"""Which samples a receiver must be sent, so that it knows what it would know if it were sent them all. Pure.

A series that does not change is repeated only every fourth time. When it changes after such a pause, its old value
is sent as well, with the time when it was last seen: a step stays a step, so `rate()` and `increase()` come out the same.
A series that ends is marked stale, as a scrape would.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from tulle.telemetry.exposition import Samples

EVERY = 4
LONGEST_REPEAT_SECONDS = 120.0
"""So a range of five minutes holds two samples of every series, and an instant query, which looks back as far, finds one."""
(STALE,) = struct.unpack("<d", bytes.fromhex("020000000000f07f"))
"""The NaN by which Prometheus knows that a series has ended."""


class Point(NamedTuple):
    """What is said of one series."""

    series: str
    """As the exposition names it."""
    samples: tuple[tuple[int, float], ...]
    """Unix milliseconds and value, oldest first."""


def repeat_seconds(interval: float) -> float:
    """After how long what has not changed is said again."""
    return min(EVERY * interval, LONGEST_REPEAT_SECONDS)


@dataclass(slots=True)
class _Known:
    value: float
    sent_ms: int


class Ledger:
    """What the receiver has been told."""

    def __init__(self, repeat_seconds: float = LONGEST_REPEAT_SECONDS) -> None:
        self._repeat_ms = int(repeat_seconds * 1000)
        self._known: dict[str, _Known] = {}
        self._seen_ms = 0
        """Of the samples before; 0: none."""

    def points(self, at_ms: int, samples: Samples) -> list[Point]:
        """What to send of the samples seen at this time. A clock that went back begins anew."""
        if at_ms <= self._seen_ms:
            self.forget()
        before, self._seen_ms = self._seen_ms, at_ms
        found = [Point(series, ((at_ms, STALE),)) for series in self._known if series not in samples]
        for point in found:
            del self._known[point.series]
        for series, value in samples.items():
            known = self._known.get(series)
            if known is None:
                self._known[series] = _Known(value, at_ms)
                found.append(Point(series, ((at_ms, value),)))
            elif known.value != value:
                step = ((before, known.value),) if known.sent_ms < before else ()
                known.value, known.sent_ms = value, at_ms
                found.append(Point(series, (*step, (at_ms, value))))
            elif at_ms - known.sent_ms >= self._repeat_ms:
                known.sent_ms = at_ms
                found.append(Point(series, ((at_ms, value),)))
        return found

    def forget(self) -> None:
        """Something of what was to be told was lost: the next time everything is said."""
        self._known.clear()
        self._seen_ms = 0
