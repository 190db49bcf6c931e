"""One sample: a window of load on one target, and the CPU that its process spent in it."""

import os
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import Heads, Load, drive
from benchmarks.process import Target

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    """What one window showed."""

    target: str
    heads: Heads
    round: int
    requests: int
    failed: int
    rate: float
    """Requests per second."""
    p50_us: int
    p99_us: int
    user_us: float | None
    """Per request, of the proxy; None without a proxy."""
    system_us: float | None
    rss_kb: int | None
    """After the window."""

    @property
    def cpu_us(self) -> float | None:
        """User and system time per request, in microseconds."""
        return None if self.user_us is None or self.system_us is None else self.user_us + self.system_us


def measure(target: Target, heads: Heads, number: int, seconds: float, connections: int, work: Path) -> Sample:
    """Loads the target and reads what /proc says it spent."""
    before = (0.0, 0.0) if target.pid is None else cpu_micros(target.pid)
    load = drive(target.port, heads, number, seconds, connections, work)
    if target.pid is None:
        return as_sample(target.name, heads, number, load, None, None)
    after = cpu_micros(target.pid)
    return as_sample(target.name, heads, number, load, (after[0] - before[0], after[1] - before[1]), rss_kb(target.pid))


def as_sample(
    name: str, heads: Heads, number: int, load: Load, spent: tuple[float, float] | None, rss: int | None
) -> Sample:
    """What a load and the microseconds spent on it (user, system) come to per request."""
    return Sample(
        target=name,
        heads=heads,
        round=number,
        requests=load.requests,
        failed=load.failed,
        rate=load.requests / load.micros * 1e6,
        p50_us=load.p50_us,
        p99_us=load.p99_us,
        user_us=None if spent is None else spent[0] / load.requests,
        system_us=None if spent is None else spent[1] / load.requests,
        rss_kb=rss,
    )


def cpu_micros(pid: int) -> tuple[float, float]:
    """User and system time of all threads of a process so far, in microseconds."""
    return ticks_micros(Path(f"/proc/{pid}/stat").read_text(), TICKS_PER_SECOND)


def ticks_micros(stat: str, ticks_per_second: int) -> tuple[float, float]:
    """User and system time from the text of /proc/PID/stat, in microseconds; a name may hold blanks and parentheses."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) / ticks_per_second * 1e6, int(fields[12]) / ticks_per_second * 1e6


def rss_kb(pid: int) -> int:
    """Resident memory in KiB."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])
