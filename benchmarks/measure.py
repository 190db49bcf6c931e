"""One sample: a window of load on one target, and the CPU that its process spent in it."""

import os
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import Heads, drive
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
    after = (0.0, 0.0) if target.pid is None else cpu_micros(target.pid)
    user, system = ((late - early) / load.requests for early, late in zip(before, after, strict=True))
    return Sample(
        target=target.name,
        heads=heads,
        round=number,
        requests=load.requests,
        failed=load.failed,
        rate=load.requests / load.micros * 1e6,
        p50_us=load.p50_us,
        p99_us=load.p99_us,
        user_us=None if target.pid is None else user,
        system_us=None if target.pid is None else system,
        rss_kb=None if target.pid is None else rss_kb(target.pid),
    )


def cpu_micros(pid: int) -> tuple[float, float]:
    """User and system time of all threads of a process so far, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS_PER_SECOND * 1e6, int(fields[12]) / TICKS_PER_SECOND * 1e6


def rss_kb(pid: int) -> int:
    """Resident memory in KiB."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])
