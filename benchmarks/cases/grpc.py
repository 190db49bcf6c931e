"""gRPC unary calls at saturation: 4 connections of 32 streams, twenty policies of which the last allows."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.case import Bench, Case, Probe
from benchmarks.measure import loaded
from benchmarks.peers import start_peers
from benchmarks.traffic import calls


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    traffic = calls(started, bench.work)
    targets = start_peers(bench, started, traffic)
    return [
        Probe(target.name, f"heads={kind}", partial(loaded, target, kind, traffic.drive))
        for kind in traffic.heads
        if kind != "indexed" or not bench.quick
        for target in targets
    ]


CASES = (
    Case(
        name="grpc",
        title="gRPC unary calls at saturation",
        unit="call",
        start=_start,
        windows=24,
        rounds=3,
        seconds=1.0,
        warm=0.3,
        quick=(2, 1.0),
    ),
)
