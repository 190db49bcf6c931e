"""What a long load leaves behind in the memory of processes."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.footprint import rss
from tools.load import Load, Order, Report

WARM_UP = 0.2
"""The share of the requests after which pools, caches and arenas are as large as they become."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """What was seen from the end of the warm-up to the end of the load."""

    answered: int
    """Requests, those of the warm-up included."""
    failed: int
    seconds: float
    grown: dict[str, int]
    """Octets by which each process grew after the warm-up."""


def soak(order: Order, pids: Mapping[str, int], each_second: Callable[[], object] = lambda: None) -> Soaked:
    """Sends `order.count` requests; weighs the processes after the first fifth and at the end."""
    count = order.count or 0
    warm_up = int(count * WARM_UP)
    first = _drive(order, warm_up, each_second)
    before = {name: held(pid) for name, pid in pids.items()}
    rest = _drive(order, count - warm_up, each_second)
    grown = {name: held(pid) - before[name] for name, pid in pids.items()}
    return Soaked(first.answered + rest.answered, first.failed + rest.failed, first.seconds + rest.seconds, grown)


def held(pid: int) -> int:
    """Octets of a process in memory or swapped out, counted page by page where the kernel lets this user look.

    `VmRSS`, the fallback, is summed from counters of each CPU and may be some hundred kilobytes off.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return rss(pid)
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Rss:", "Swap:")))


def _drive(order: Order, count: int, each_second: Callable[[], object]) -> Report:
    def tick(_: Report) -> None:
        each_second()

    return Load(dataclasses.replace(order, count=count), on_tick=tick).run()
