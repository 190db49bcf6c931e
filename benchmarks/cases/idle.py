"""What an idle connection of a caller keeps in memory, and each open stream's connection of HTTP/2: `benchmarks.idle` in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.idle import COUNT, PROTOCOLS
from benchmarks.process import Lacking

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 5.0
"""That ten thousand connections take, about."""


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    targets = {"tulle": bench.compiled, "tulle-interpreted": bench.sources}
    probes = [
        Probe(target, f"protocol={protocol}", partial(_take, sources, protocol))
        for protocol in PROTOCOLS
        for target, sources in targets.items()
        if (sources / "tulle").exists()
    ]
    if not probes:
        raise Lacking("there are no sources to run")
    return probes


def _take(sources: Path, protocol: str, number: int, seconds: float) -> Values:
    """Runs the program once; how long it takes is its own affair."""
    env = {**os.environ, "PYTHONPATH": f"{sources}:{ROOT}"}
    command = [sys.executable, "-m", "benchmarks.idle", str(COUNT), protocol]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=120).stdout
    return {"bytes_each": float(said.split()[1])}


CASES = (
    Case(
        name="idle",
        title=f"{COUNT:,} idle connections",
        unit="connection",
        start=_start,
        windows=4,
        figure="bytes_each",
        peers=(),
        rounds=1,
        seconds=SECONDS,
        warm=0,
        columns=(),
    ),
)
