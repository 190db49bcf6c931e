"""`tulle status` from a shell, beside an empty Python."""

import statistics
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.process import Lacking
from benchmarks.status import COMMANDS, brought_up, wall_ms
from tests.support.running import Running

TIMES = 5
"""Commands in a window."""


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    try:
        mesh = started.enter_context(brought_up())
    except (AssertionError, OSError, subprocess.SubprocessError) as fault:
        raise Lacking(f"no mesh comes up here: {fault}") from fault
    return [Probe(name, "", partial(_take, mesh, command)) for name, command in COMMANDS.items()]


def _take(mesh: Running, command: tuple[str, ...], number: int, seconds: float) -> Values:
    return {"wall_ms": statistics.median(wall_ms(mesh, command) for _ in range(TIMES))}


CASES = (
    Case(
        name="status",
        title="`tulle status` from a shell",
        unit="process",
        start=_start,
        windows=2,
        figure="wall_ms",
        peers=("python",),
        rounds=8,
        seconds=0.3,
        warm=0.3,
        quick=(4, 0.3),
        columns=(),
    ),
)
