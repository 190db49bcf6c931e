"""Medians, ranges, and ratios with their spread, of a run's samples."""

from statistics import median
from typing import NamedTuple

from benchmarks.record import Run


class Figure(NamedTuple):
    """One value over the rounds."""

    median: float
    least: float
    most: float


class Ratio(NamedTuple):
    """Of medians; the range is that of the ratios within each round."""

    of_medians: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.of_medians:.2f} ({self.least:.2f}–{self.most:.2f})"


def digits(number: float) -> str:
    """About three of them."""
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def figure(run: Run, case: str, variant: str, target: str, value: str) -> Figure | None:
    """None when there is no such sample."""
    found = run.values(case, variant, target, value).values()
    return Figure(median(found), min(found), max(found)) if found else None


def ratio(
    run: Run, case: str, variant: str, target: str, value: str, peer: str, peer_variant: str | None = None
) -> Ratio | None:
    """A target's value to a peer's, of the rounds that both have; None when there is none, or the peer's is not above 0.

    What a proxy adds to `direct` may be less than nothing; beside that nothing is so and so many times as much.
    """
    own = run.values(case, variant, target, value)
    theirs = run.values(case, variant if peer_variant is None else peer_variant, peer, value)
    rounds = [number for number in own if number in theirs]
    usual = median(theirs[number] for number in rounds) if rounds else 0.0
    if usual <= 0:
        return None
    each = [own[number] / theirs[number] for number in rounds if theirs[number] > 0]
    return Ratio(median(own[number] for number in rounds) / usual, min(each), max(each))
