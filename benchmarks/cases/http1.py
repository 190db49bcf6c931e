"""HTTP/1.1 at saturation: 64 kept connections, each as fast as it is answered."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.case import Bench, Case, Probe
from benchmarks.load import Heads
from benchmarks.measure import loaded
from benchmarks.peers import start_peers
from benchmarks.traffic import requests

FIELDS: tuple[Heads, ...] = ("repeat", "differ")
MINIMAL: tuple[Heads, ...] = ("minimal",)


def _start(bench: Bench, started: ExitStack, heads: tuple[Heads, ...]) -> Sequence[Probe]:
    traffic = requests(started, bench.work, bench.connections)
    targets = start_peers(bench, started, traffic)
    return [
        Probe(target.name, f"heads={kind}", partial(loaded, target, kind, traffic.drive))
        for kind in heads
        for target in targets
    ]


CASES = (
    Case(
        name="http1",
        title="HTTP/1.1 at saturation, heads of ten fields",
        unit="request",
        start=partial(_start, heads=FIELDS),
        windows=16,
        rounds=5,
        seconds=1.0,
        quick=(3, 1.0),
    ),
    Case(
        name="http1-minimal",
        title="HTTP/1.1 at saturation, minimal heads",
        unit="request",
        start=partial(_start, heads=MINIMAL),
        windows=8,
        seconds=1.0,
    ),
)
