"""What waits to be sent: in memory while the receiver takes everything at once, on disk as soon as it does not.

A disk is written only when something must wait, so a node whose link is up wears out no flash. Order: always oldest first,
since a receiver takes no sample of a series that is older than the last.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tulle.store.database import StoreError
from tulle.store.spool import Spool
from tulle.telemetry.delivery import Drop
from tulle.telemetry.remote_write import Body

HELD_BYTES = 262_144
"""So much may wait in memory, on a disk that takes nothing."""


@dataclass(slots=True, eq=False)
class Letter:
    """One body on its way."""

    at_ms: int
    samples: int
    octets: bytes = field(repr=False)
    number: int = 0
    """In the spool; 0 while it is in memory only."""


class Outbox:
    """Bodies, oldest first. No method raises: what is lost is told to `dropped`."""

    def __init__(self, spool: Spool, max_age_seconds: float, dropped: Callable[[Drop, int], None]) -> None:
        self.trouble = ""
        """Why the disk does not take what waits; empty while it does, or need not."""
        self._spool = spool
        self._max_age_ms = int(max_age_seconds * 1000)
        self._dropped = dropped
        self._held: deque[Letter] = deque()
        """Newer than all that is on disk."""
        self._waits = True
        """Something may be on disk: what comes goes there too."""

    def put(self, bodies: Iterable[Body]) -> None:
        """Takes what one interval came to."""
        is_behind = self._waits or bool(self._held)
        self._held.extend(Letter(one.at_ms, one.samples, one.octets) for one in bodies)
        if is_behind:
            self.keep()

    def keep(self) -> None:
        """Puts on disk what is in memory only, so that it survives this process."""
        self._waits = True
        try:
            while self._held:
                letter = self._held[0]
                letter.number, lost = self._spool.add(letter.at_ms, letter.samples, letter.octets)
                self._held.popleft()
                self._lose(Drop.SPOOL_FULL, lost)
            self.trouble = ""
        except StoreError as fault:
            self.trouble = str(fault)
            while sum(len(one.octets) for one in self._held) > HELD_BYTES:
                self._lose(Drop.SPOOL_FULL, self._held.popleft().samples)

    def next(self, now: float) -> Letter | None:
        """The oldest that a receiver may still take; None when nothing waits."""
        since_ms = int(now * 1000) - self._max_age_ms
        if self._waits:
            try:
                self._lose(Drop.TOO_OLD, self._spool.drop_before(since_ms))
                if kept := self._spool.oldest():
                    return Letter(kept.at_ms, kept.samples, kept.octets, kept.number)
            except StoreError as fault:
                self.trouble = str(fault)
        while self._held and self._held[0].at_ms < since_ms:
            self._lose(Drop.TOO_OLD, self._held.popleft().samples)
        if not self._held:
            self._waits = False
            return None
        return self._held[0]

    def done(self, letter: Letter) -> None:
        """It has arrived, or never will."""
        if letter.number:
            self._spool.forget(letter.number)
        elif letter in self._held:
            self._held.remove(letter)

    def waiting(self) -> tuple[int, int]:
        """How many samples wait, and in how many octets."""
        held = sum(one.samples for one in self._held), sum(len(one.octets) for one in self._held)
        if not self._waits:
            return held
        try:
            samples, octets = self._spool.waiting()
        except StoreError as fault:
            self.trouble = str(fault)
            return held
        return held[0] + samples, held[1] + octets

    def close(self) -> None:
        """Keeps what waits for the next process, and lets go of the file."""
        if self._held:
            self.keep()
        self._spool.close()

    def _lose(self, why: Drop, samples: int) -> None:
        if samples:
            self._dropped(why, samples)
