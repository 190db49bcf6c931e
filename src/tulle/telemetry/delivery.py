"""What a receiver's answer means for what was sent, and when to try again. Pure."""

import enum
from dataclasses import dataclass
from datetime import UTC, datetime

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_OBEYED_SECONDS = 3600.0
"""Of a Retry-After: longer than that no receiver keeps the node waiting."""
_TOO_MANY = 429
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Drop(enum.StrEnum):
    """Why samples never arrive."""

    REFUSED = "refused"
    """The receiver will not have them."""
    TOO_OLD = "too-old"
    """It was away for longer than `max_age`."""
    SPOOL_FULL = "spool-full"
    """It was away for longer than `max_bytes` lasts, or the disk is full."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The receiver has them."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver will not have them; sending them again is no use."""

    why: str


@dataclass(frozen=True, slots=True)
class Later:
    """The receiver cannot have them now."""

    why: str
    seconds: float | None = None
    """From now; None: as the pause between attempts grows."""


Outcome = Taken | Refused | Later


def outcome(status: int, retry_after: str, said: str, now: float) -> Outcome:
    """Judges an answer: 5xx and 429 pass, any other refusal is for good. `now` is Unix time."""
    if 200 <= status < 300:
        return Taken()
    why = f"{status}: {said}" if said else f"status {status}"
    if status >= 500 or status == _TOO_MANY:
        return Later(why, obeyed(retry_after, now))
    return Refused(why)


def obeyed(retry_after: str, now: float) -> float | None:
    """Seconds that a Retry-After asks for: a number, or a date as HTTP writes it. None for neither."""
    text = retry_after.strip()
    if text.isdecimal():
        return min(float(text), LONGEST_OBEYED_SECONDS)
    try:
        _, day, month, year, clock, zone = text.split(" ")
        hour, minute, second = map(int, clock.split(":"))
        if zone != "GMT":
            return None
        then = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return min(max(then.timestamp() - now, 0.0), LONGEST_OBEYED_SECONDS)


def pause(failures: int, chance: float) -> float:
    """Seconds before the next attempt after so many in a row. `chance`, 0 to 1, spreads a fleet: half of the pause to all of it."""
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 64), LONGEST_PAUSE_SECONDS)
    return longest * (0.5 + chance / 2)
