"""How noisy the machine was: a fixed loop timed on each core, and the CPU that neither we nor idleness had."""

import os
import time
from pathlib import Path

import msgspec

from benchmarks.measure import TICKS_PER_SECOND

LOOPS = 400_000
SHORT = 0.1
"""Seconds: ten ticks."""
BUSY = (0, 1, 2, 5, 6)
"""Of the numbers of a line of /proc/stat: user (guests included), nice, system, irq, softirq."""
STOLEN = 7


class Calibration(msgspec.Struct, frozen=True):
    """The same loop, once on one core."""

    case: str
    round: int
    core: int
    wall_ms: float
    """Grows when the core has other work, or the hypervisor does."""
    cpu_ms: float
    """Grows when the core is slower: its frequency, a busy sibling, a shared cache."""


class Reading(msgspec.Struct, frozen=True):
    """Seconds so far, all cores together."""

    at: float
    busy: float
    stolen: float
    ours: float
    """Of this process and all that descend from it."""


class Noise(msgspec.Struct, frozen=True):
    """What others took during a window, in cores: 0.5 is half of one."""

    others: float
    """Programs that are no part of the bench, and interrupts that count for nobody."""
    stolen: float
    """The hypervisor."""


def between(before: Reading, after: Reading) -> Noise:
    """What others had of the time between; nothing when that is too short to be told in ticks."""
    seconds = after.at - before.at
    if seconds < SHORT:
        return Noise(0.0, 0.0)
    others = (after.busy - before.busy) - (after.ours - before.ours)
    return Noise(others=max(0.0, others / seconds), stolen=(after.stolen - before.stolen) / seconds)


def read_now() -> Reading:
    """What the kernel says now."""
    busy, stolen = machine_seconds(Path("/proc/stat").read_text(), TICKS_PER_SECOND)
    return Reading(at=time.monotonic(), busy=busy, stolen=stolen, ours=tree_seconds(_stats(), os.getpid()))


def machine_seconds(stat: str, ticks_per_second: int) -> tuple[float, float]:
    """Busy and stolen seconds of all cores, from the text of /proc/stat."""
    numbers = [int(word) for word in stat.split("\n", 1)[0].split()[1:]]
    return sum(numbers[place] for place in BUSY) / ticks_per_second, numbers[STOLEN] / ticks_per_second


def tree_seconds(stats: dict[int, tuple[int, int]], root: int) -> float:
    """Seconds of the process and of all that descend from it, from parent and ticks of each process; who has ended counts with who waited for it."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    ticks, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        ticks += stats.get(pid, (0, 0))[1]
        waiting += children.get(pid, ())
    return ticks / TICKS_PER_SECOND


def calibrate(case: str, round_number: int, cores: tuple[int, ...]) -> list[Calibration]:
    """Times the loop on each core, about 10 ms each."""
    allowed = os.sched_getaffinity(0)
    timed = []
    try:
        for core in cores:
            os.sched_setaffinity(0, {core})
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(LOOPS):
                pass
            wall_ms, cpu_ms = (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3
            timed.append(Calibration(case, round_number, core, wall_ms, cpu_ms))
    finally:
        os.sched_setaffinity(0, allowed)
    return timed


def _stats() -> dict[int, tuple[int, int]]:
    """Parent, and ticks with those of children that have ended, of every process."""
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended
                continue
            found[int(place.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found
