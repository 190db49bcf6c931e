"""Deadlines at the price of one store: a wheel of eight slots looks at each connection once a revolution.

A connection's `deadline` may move at will without telling the wheel; it is met at most one revolution late.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

SLOTS: Final = 8
NEVER: Final = math.inf


class Timed:
    """Something with a deadline, on the loop's monotonic clock."""

    deadline: float

    def __init__(self) -> None:
        self.deadline = NEVER
        self.slot = -1
        """Where the wheel keeps it; -1: nowhere."""

    def on_deadline(self, now: float) -> None:
        """Called once `deadline` has passed; moves it or ends."""
        raise NotImplementedError

    def on_turn(self) -> None:
        """Goes on with what was postponed to this turn."""
        raise NotImplementedError

    def give_up(self) -> None:
        """An exception escaped one of these: has what it serves ended."""


@final
class Alarm(Timed):
    """A deadline that belongs to no connection: calls `ring` once, with the time it is."""

    def __init__(self, deadline: float, ring: Callable[[float], None]) -> None:
        super().__init__()
        self.deadline = deadline
        self._ring = ring

    def on_deadline(self, now: float) -> None:
        self.deadline = NEVER
        self._ring(now)


class Wheel:
    """Calls `on_deadline` of what is due. After a revolution without events it sleeps until the first deadline."""

    def __init__(self, on_defect: Callable[[Timed], None], revolution: float = 4.0) -> None:
        self._on_defect = on_defect
        """Called while an exception that escaped an `on_deadline` is handled; the others still get their turn."""
        self._tick = revolution / SLOTS
        self._slots: list[set[Timed]] = [set() for _ in range(SLOTS)]
        self._earliest: list[float] = [NEVER] * SLOTS
        self._hand = 0
        self._quiet = 0
        """Ticks since something happened; from SLOTS on every deadline is known exactly."""
        self._due = NEVER
        self._size = 0

    def set_revolution(self, seconds: float) -> None:
        """How late a deadline may be met."""
        self._tick = seconds / SLOTS
        self._quiet = 0

    def add(self, one: Timed, now: float) -> None:
        """Watches the deadline from now on."""
        slot = self._hand
        one.slot = slot
        self._slots[slot].add(one)
        self._size += 1
        self._quiet = 0
        self._due = min(self._due, now + self._tick)

    def remove(self, one: Timed) -> None:
        """Watches it no longer; no fault when it was not watched."""
        if one.slot >= 0:
            self._slots[one.slot].discard(one)
            one.slot = -1
            self._size -= 1

    def stir(self, now: float) -> None:
        """Something happened: deadlines may have moved."""
        if self._quiet >= SLOTS:
            self._due = min(self._due, now + self._tick)
        self._quiet = 0

    def wait(self, now: float) -> float:
        """Seconds until `turn` should be called; infinite when nothing is watched."""
        if self._size == 0:
            return NEVER
        return max(0.0, self._due - now)

    def turn(self, now: float) -> None:
        """Looks at the next slot when its time has come."""
        if now < self._due:
            return
        rounds = 1
        if self._quiet >= SLOTS:
            rounds = SLOTS
        for _ in range(rounds):
            self._look(now)
        self._quiet += 1
        if self._quiet >= SLOTS:
            self._due = max(min(self._earliest), now + self._tick)
        else:
            self._due = now + self._tick
        if self._size == 0:
            self._due = NEVER

    def _look(self, now: float) -> None:
        self._hand = hand = (self._hand + 1) % SLOTS
        earliest = NEVER
        for one in list(self._slots[hand]):
            if one.deadline <= now and one.slot == hand:
                try:
                    one.on_deadline(now)
                except Exception:  # noqa: BLE001  (one defect must not keep the others' deadlines)
                    self._on_defect(one)
            if one.slot == hand and one.deadline < earliest:
                earliest = one.deadline
        self._earliest[hand] = earliest
