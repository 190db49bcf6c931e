"""HTTP/1.1 at a fixed rate: what a request costs and waits when the proxy has time to rest."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.case import Bench, Case, Probe, Values
from benchmarks.ends import driven, measured
from benchmarks.load import FIELDS
from benchmarks.peers import start_peers
from benchmarks.process import Target
from benchmarks.programs import compile_program
from benchmarks.traffic import requests

RATE = 5000
CONNECTIONS = 64
BODY = len('{"order":1,"version":"v1"}')
"""Octets that each answer has; http_load counts all others as failed."""
KINDS = {
    "repeat": ("/orders/1?page=2", "4bf92f3577b34da6a3ce929d0e0e4736", "t=1718000000.000001"),
    "differ": ("/orders/1?cart=@@@@@@@@@@@@@@@@", "4bf92f3577b34da6@@@@@@@@@@@@@@@@", "t=@@@@@@@@@@.000001"),
}
"""Target, X-Trace and X-Request-Start: as wrk sends them; http_load has new digits for each eight @."""


def head(kind: str) -> bytes:
    """A whole request of ten fields."""
    target, trace, start = KINDS[kind]
    fields = FIELDS | {"X-Trace": trace, "X-Request-Start": start}
    return "".join(
        [f"GET {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields.items()), "\r\n"]
    ).encode()


class Baseline:
    """Latency that a target adds to what the service has by itself, in the same round."""

    def __init__(self) -> None:
        self._direct: dict[int, Values] = {}

    def take(self, target: Target, program: Path, head: Path, number: int, seconds: float) -> Values:
        """One window. The service itself comes first in each round, where it takes part."""
        values = measured(target, lambda port: driven(program, port, seconds, CONNECTIONS, RATE, head, number, BODY))
        if target.pid is None:
            self._direct[number] = values
        elif number in self._direct:
            for name in ("p50_us", "p99_us"):
                values[f"added_{name}"] = values[name] - self._direct[number][name]
        return values


def _start(bench: Bench, started: ExitStack) -> Sequence[Probe]:
    program = compile_program("http_load", bench.work)
    traffic = requests(started, bench.work, CONNECTIONS)
    targets = start_peers(bench, started, traffic)
    probes = []
    for kind in KINDS:
        path = bench.work / f"head.{kind}"
        path.write_bytes(head(kind))
        baseline = Baseline()
        probes += [
            Probe(target.name, f"heads={kind}", partial(baseline.take, target, program, path)) for target in targets
        ]
    return probes


CASES = (
    Case(
        name="http1-fixed",
        title=f"HTTP/1.1 at {RATE} requests a second, {CONNECTIONS} connections",
        unit="request",
        start=_start,
        windows=16,
        columns=(
            "user_us",
            "system_us",
            "rate",
            "p50_us",
            "p99_us",
            "p999_us",
            "added_p50_us",
            "added_p99_us",
            "waited_ms",
        ),
        is_real_time=True,
    ),
)
