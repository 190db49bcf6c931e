"""Runs made up of costs."""

from __future__ import annotations

from benchmarks.noise import Calibration, Noise
from benchmarks.record import Heading, Run, Sample


def run_of(
    costs: dict[tuple[str, str], list[float]],
    case: str = "http1",
    value: str = "cpu_us",
    peers: tuple[str, ...] = ("envoy", "haproxy"),
) -> Run:
    """A run of one case: a cost for each round, by variant and target; three quarters of each are system time."""
    run = Run(machine={"cpu": "abacus"}, command="")
    run.cases[case] = Heading("HTTP/1.1", "request", value, peers, ("user_us", "system_us", "rate", "rss_kb"))
    add(run, costs, case, value)
    run.calibrations += [Calibration(case, 1, 0, 10.0, 10.0), Calibration(case, 2, 0, 15.0, 11.0)]
    return run


def add(run: Run, costs: dict[tuple[str, str], list[float]], case: str, value: str = "cpu_us") -> None:
    """Adds samples of a case."""
    for (variant, target), rounds in costs.items():
        for number, cost in enumerate(rounds, 1):
            values = {"user_us": cost / 4, "system_us": cost * 3 / 4, "rate": 1000.0, "rss_kb": 2048.0, value: cost}
            run.samples.append(Sample(case, variant, target, number, values, Noise(others=0.25, stolen=0.0)))
