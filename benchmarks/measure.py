"""The CPU that a process spends while something happens, and what that comes to per unit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.case import Values
from benchmarks.load import Drive, Heads, Load
from benchmarks.process import Target

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Spent:
    """Microseconds of CPU of all threads of a process; set when the window has ended."""

    user_us: float = 0.0
    system_us: float = 0.0
    rss_kb: int = 0
    """After the window."""
    preempted: int = 0
    """Times that the kernel took the core from a thread that wanted to go on."""
    waited_us: float = 0.0
    """Sum of the times that a thread could have gone on and had no core: latency then tells of the machine, and what gathers meanwhile is cheaper."""


@contextmanager
def spent(pid: int) -> Iterator[Spent]:
    """What the process spends within the block."""
    result = Spent()
    (ran, waited), (user, system), switches = run_micros(pid), cpu_micros(pid), preempted(pid)
    yield result
    (ran_after, waited_after), (user_after, system_after) = run_micros(pid), cpu_micros(pid)
    whole, result.waited_us = ran_after - ran, waited_after - waited
    result.user_us, result.system_us = shared_out(whole, user_after - user, system_after - system)
    result.preempted = preempted(pid) - switches
    result.rss_kb = rss_kb(pid)


def loaded(target: Target, heads: Heads, drive: Drive, number: int, seconds: float) -> Values:
    """Loads a target for one window, and what that cost per request. Raises ValueError when nothing was answered."""
    if target.pid is None:
        return per_unit(drive(target.port, heads, number, seconds), None)
    with spent(target.pid) as cpu:
        load = drive(target.port, heads, number, seconds)
    return per_unit(load, cpu)


def per_unit(load: Load, cpu: Spent | None) -> Values:
    """Values of a window of load, per request; without a proxy there is no cost. Raises ValueError when nothing was answered."""
    if not load.requests:
        raise ValueError(f"nothing was answered: {load}")
    values: Values = {
        "requests": load.requests,
        "failed": load.failed,
        "rate": load.requests / load.micros * 1e6,
        "p50_us": load.p50_us,
        "p99_us": load.p99_us,
    }
    return values if cpu is None else values | cost_of(cpu, load.requests)


def cost_of(cpu: Spent, units: float) -> Values:
    """CPU per unit, and the memory that it left."""
    return {
        "cpu_us": (cpu.user_us + cpu.system_us) / units,
        "user_us": cpu.user_us / units,
        "system_us": cpu.system_us / units,
        "rss_kb": cpu.rss_kb,
        "preempted": cpu.preempted,
        "waited_ms": cpu.waited_us / 1000,
    }


def shared_out(whole: float, user: float, system: float) -> tuple[float, float]:
    """User and system time that add up to the scheduler's exact sum, where there is one; the parts are counted in ticks. Before the first tick half each."""
    if not whole:
        return user, system
    part = user / (user + system) if user + system else 0.5
    return whole * part, whole * (1 - part)


def run_micros(pid: int) -> tuple[float, float]:
    """Time of all live threads so far, on a core and waiting for one, to the nanosecond; 0 where the kernel does not say."""
    ran = waited = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that ended, a kernel without the file
            words = (task / "schedstat").read_text().split()
            ran, waited = ran + int(words[0]), waited + int(words[1])
    return ran / 1000, waited / 1000


def cpu_micros(pid: int) -> tuple[float, float]:
    """User and system time of all threads of a process so far, in microseconds."""
    return ticks_micros(Path(f"/proc/{pid}/stat").read_text(), TICKS_PER_SECOND)


def ticks_micros(stat: str, ticks_per_second: int) -> tuple[float, float]:
    """User and system time from the text of /proc/PID/stat, in microseconds; a name may hold blanks and parentheses."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) / ticks_per_second * 1e6, int(fields[12]) / ticks_per_second * 1e6


def rss_kb(pid: int) -> int:
    """Resident memory in KiB."""
    return _status(Path(f"/proc/{pid}/status"), "VmRSS:")


def forget_peak(pid: int) -> None:
    """Lets the process's peak of resident memory begin anew, at what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_kb(pid: int) -> int:
    """The most resident memory that it had since then, in KiB."""
    return _status(Path(f"/proc/{pid}/status"), "VmHWM:")


def preempted(pid: int) -> int:
    """How often the kernel took the core from one of its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            total += _status(task / "status", "nonvoluntary_ctxt_switches:")
    return total


def _status(path: Path, name: str) -> int:
    [line] = [line for line in path.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])
