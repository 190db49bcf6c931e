"""What a measurement is to the harness: a case starts what it needs and gives probes; the harness lets them alternate."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.process import Lacking

Values = dict[str, float]
"""By name, which ends in its unit: `cpu_us`, `rss_kb`, `rate`; `failed` is how many requests were."""

COST_COLUMNS = ("user_us", "system_us", "rate", "p50_us", "p99_us", "rss_kb")


@dataclass(slots=True)
class Bench:
    """One run: what was asked for, and what it had to leave out."""

    work: Path
    """Scratch; gone afterwards."""
    compiled: Path
    """PYTHONPATH of the target `tulle`."""
    sources: Path
    """PYTHONPATH of the target `tulle-interpreted`."""
    quick: bool = False
    only: frozenset[str] = frozenset()
    """Targets; all when empty."""
    connections: int = 64
    """Of HTTP/1.1 at saturation."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why, by what."""
    broken: list[str] = field(default_factory=list)
    """Of these, what is no lack of this box but a fault: the run is to end with an error."""

    def wants(self, target: str) -> bool:
        """Whether the target is to be measured."""
        return not self.only or target in self.only

    def skip(self, what: str, why: object) -> None:
        """Names what is left out of the run, once."""
        if what not in self.skipped:
            self.skipped[what] = str(why)
            print(f"{what} is left out: {why}", file=sys.stderr)

    def lose(self, what: str, why: object) -> None:
        """Leaves out what broke."""
        self.broken.append(what)
        self.skip(what, why)

    def leave_out(self, what: str, fault: Exception) -> None:
        """Skips what this box lacks, and loses whatever else failed."""
        if isinstance(fault, Lacking):
            self.skip(what, fault)
        else:
            self.lose(what, fault)


class Probe(NamedTuple):
    """One target in one variant of its case, ready to be measured."""

    target: str
    variant: str
    """`heads=repeat`, `services=1000`; empty where the case has only one."""
    take: Callable[[int, float], Values]
    """Measures one window: of that round, so many seconds. Round 0 warms up."""


class Case(NamedTuple):
    """Something that is measured of several targets in one run."""

    name: str
    title: str
    unit: str
    """What costs are per: `request`, `call`, `connection`."""
    start: Callable[[Bench, ExitStack], Sequence[Probe]]
    """Starts what is needed, until the stack ends; probes come in the order in which they alternate. Raises Lacking where there is nothing to measure."""
    windows: int
    """Probes at most; the expected duration comes of it."""
    figure: str = "cpu_us"
    """The value that ratios are formed of."""
    peers: tuple[str, ...] = ("envoy", "haproxy")
    """The targets that ratios are formed to, in the same variant."""
    rounds: int = 3
    seconds: float = 2.0
    """Of one window."""
    warm: float = 1.0
    """Seconds of the window before the first round, which is not kept; 0: there is none."""
    quick: tuple[int, float] | None = None
    """Rounds and seconds of the quick run; None: takes no part in it."""
    columns: tuple[str, ...] = COST_COLUMNS
    """Values that are printed beside the figure."""
    is_real_time: bool = False
    """Whether all that takes part goes before the other programs of the box, where it allows that: see `real_time`."""
