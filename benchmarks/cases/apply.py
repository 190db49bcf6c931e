"""An apply of 1 000 services and 10 000 policies: from text to in force, and what the agent holds afterwards."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.process import Lacking

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 12.0
"""That a run takes, about."""


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    targets = {"tulle": bench.compiled, "tulle-interpreted": bench.sources}
    probes = [
        Probe(name, "", partial(_take, sources)) for name, sources in targets.items() if (sources / "tulle").exists()
    ]
    if not probes:
        raise Lacking("there are no sources to run")
    return probes


def _take(sources: Path, number: int, seconds: float) -> Values:
    """Runs the program once; how long it takes is its own affair."""
    env = {**os.environ, "PYTHONPATH": f"{sources}:{ROOT}"}
    command = [sys.executable, "-m", "benchmarks.apply"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=180).stdout
    return {name: float(figure) for name, figure in map(str.split, said.splitlines())}


CASES = (
    Case(
        name="apply",
        title="an apply of 1 000 services and 10 000 policies",
        unit="apply",
        start=_start,
        windows=2,
        figure="compile_ms",
        peers=(),
        rounds=2,
        seconds=SECONDS,
        warm=0,
        columns=("read_ms", "in_force_ms", "whole_ms", "agent_ms", "whole_one_ms", "agent_one_ms", "agent_kb"),
    ),
)
