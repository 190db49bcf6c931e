"""System calls, by strace: how many of each a process made in a window."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.process import Lacking, require

PATIENCE: Final = 20
"""Seconds that strace may take to attach."""


class Strace:
    """Attaches to a process for a window."""

    def __init__(self, work: Path) -> None:
        require("strace")
        self.under: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}
        self._table = work / "strace.txt"

    def window(self, pid: int, act: Callable[[], None]) -> Counter[str]:
        """The calls that the process makes while `act` runs, by name."""
        command = ["strace", "-f", "-c", "-o", str(self._table), "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            try:
                _await_tracer(pid, tracer)
                act()
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait()
        return read_counts(self._table.read_text())


def _await_tracer(pid: int, tracer: "subprocess.Popen[str]") -> None:
    """Returns when every thread of the process is traced."""
    deadline = time.monotonic() + PATIENCE
    while any("TracerPid:\t0\n" in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()):
        if tracer.poll() is not None or time.monotonic() > deadline:
            said = tracer.stderr.read() if tracer.stderr and tracer.poll() is not None else "no answer"
            raise Lacking(f"strace does not attach: {said.strip()[-300:]}")
        time.sleep(0.002)


def read_counts(table: str) -> Counter[str]:
    """Calls by name, from what `strace -c` writes: the fourth word of a line, and the last."""
    counts: Counter[str] = Counter()
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdecimal() and words[-1] != "total":
            counts[words[-1]] += int(words[3])
    return counts
