"""Measures cases one after another: the probes of each alternate round by round, and around each window stands how noisy it was."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.noise import between, calibrate, read_now
from benchmarks.process import LOAD_CORE, PROXY_CORE, Broken, Lacking, real_time
from benchmarks.record import Heading, Run, Sample

STARTING = 5.0
"""Seconds to start what a case needs, about."""
BESIDE = 0.1
"""Seconds that a window takes longer."""
FAULTS = (Broken, Lacking, OSError, ValueError, subprocess.SubprocessError)


class Pace(NamedTuple):
    """How long a case is measured."""

    rounds: int
    seconds: float
    warm: float


def pace(case: Case, quick: bool, rounds: int | None, seconds: float | None) -> Pace:
    """What was asked for, or what the case says of itself."""
    own = case.quick if quick and case.quick else (case.rounds, case.seconds)
    return Pace(rounds or own[0], seconds or own[1], min(case.warm, seconds or own[1]))


def expected_seconds(case: Case, pace: Pace) -> float:
    """How long the case will take, about."""
    return STARTING + case.windows * (pace.rounds * (pace.seconds + BESIDE) + pace.warm)


def measure_case(case: Case, bench: Bench, pace: Pace, run: Run, variants: Sequence[str] = ()) -> None:
    """Adds the samples of a case to the run. What this box lacks is named in the run and left out; so is what breaks, as broken."""
    run.cases[case.name] = Heading(case.title, case.unit, case.figure, case.peers, case.columns)
    with ExitStack() as started:
        if case.is_real_time and not started.enter_context(real_time()):
            print(f"{case.name}: only root keeps others of the box from coming between (chrt)", file=sys.stderr)
        try:
            probes = [
                p
                for p in case.start(bench, started)
                if bench.wants(p.target) and (not variants or p.variant in variants)
            ]
        except Lacking as lack:
            bench.skip(case.name, lack)
            return
        alternate(
            case,
            probes,
            pace,
            run,
            lambda probe, fault: bench.leave_out(f"{case.name} {probe.variant} {probe.target}", fault),
        )


def alternate(case: Case, probes: list[Probe], pace: Pace, run: Run, lose: Callable[[Probe, Exception], None]) -> None:
    """A B C A B C. A probe that breaks is lost: it is left out from then on."""
    for number in range(0 if pace.warm else 1, pace.rounds + 1):
        run.calibrations += calibrate(case.name, number, (PROXY_CORE, LOAD_CORE))
        for probe in list(probes):
            before = read_now()
            began = time.monotonic()
            try:
                values = probe.take(number, pace.seconds if number else pace.warm)
            except FAULTS as fault:
                lose(probe, fault)
                probes.remove(probe)
                continue
            noise = between(before, read_now())
            if number:
                run.samples.append(Sample(case.name, probe.variant, probe.target, number, values, noise))
                _show(run.samples[-1], case, pace.rounds, time.monotonic() - began)


def _show(sample: Sample, case: Case, rounds: int, took: float) -> None:
    figure = sample.values.get(case.figure)
    words = f"{'' if figure is None else f'{figure:11.2f} {case.figure}':22}{_rate(sample.values):12}"
    noise = f"others {sample.noise.others:4.2f} stolen {sample.noise.stolen:4.2f}"
    print(
        f"{case.name:14} {sample.round}/{rounds} {sample.variant:16} {sample.target:18}{words} {noise} {took:5.1f} s",
        file=sys.stderr,
    )


def _rate(values: Values) -> str:
    return f"{values['rate']:9.0f}/s" if "rate" in values else ""
