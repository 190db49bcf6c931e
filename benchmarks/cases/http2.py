"""Plain HTTP/2 at saturation: 4 connections of 32 streams that ask for a small file."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.http2 import gets
from benchmarks.measure import loaded
from benchmarks.peers import start_peers
from benchmarks.process import Target
from benchmarks.traffic import Traffic


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    traffic = gets(started, bench.work)
    targets = start_peers(bench, started, traffic)
    return [Probe(target.name, "", partial(_take, target, traffic)) for target in targets]


def _take(target: Target, traffic: Traffic, number: int, seconds: float) -> Values:
    """One window. h2load tells the mean of latencies and no percentile."""
    values = loaded(target, "repeat", traffic.drive, number, seconds)
    del values["p99_us"]
    values["mean_us"] = values.pop("p50_us")
    return values


CASES = (
    Case(
        name="http2",
        title="HTTP/2 at saturation, GET of a small file, heads repeat",
        unit="request",
        start=_start,
        windows=8,
        seconds=1.0,
        columns=("user_us", "system_us", "rate", "mean_us", "rss_kb"),
    ),
)
