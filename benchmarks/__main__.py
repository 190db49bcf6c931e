"""Measures the CPU that each proxy spends per HTTP/1.1 request and per gRPC call, in interleaved rounds of one run, and prints ratios.

The proxy under load has one core for itself; service and load have the other. Figures of different runs do not compare: ratios do.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.calls import CALL_HEADS
from benchmarks.load import Heads
from benchmarks.measure import Sample, measure
from benchmarks.peers import start_envoy, start_haproxy
from benchmarks.process import Lacking, Target
from benchmarks.report import as_table
from benchmarks.traffic import calls, requests
from benchmarks.tulle import start_tulle

ROOT = Path(__file__).resolve().parent.parent
TITLES = {"http1": "HTTP/1.1, per request", "grpc": "gRPC, per unary call"}


def main() -> None:
    """Measures in rounds, prints a table for each kind of traffic and writes the raw samples."""
    asked = _arguments()
    samples: dict[str, list[Sample]] = {}
    for name in asked.traffic:
        try:
            samples[name] = run(name, asked.rounds, asked.seconds, asked.connections, asked.only, asked.heads)
        except Lacking as lack:
            print(f"{TITLES[name]}: left out: {lack}", file=sys.stderr)
    if not samples:
        raise SystemExit("error: nothing could be measured")
    written = ROOT / "build" / "bench" / time.strftime("%Y%m%d-%H%M%S.json")
    written.parent.mkdir(parents=True, exist_ok=True)
    raw = {name: [sample._asdict() for sample in one] for name, one in samples.items()}
    written.write_text(json.dumps(raw, indent=1))
    for name, one in samples.items():
        print(f"{TITLES[name]}\n{as_table(one)}\n")
    print(f"raw samples: {written.relative_to(ROOT)}")
    failed = sum(sample.failed for one in samples.values() for sample in one)
    if failed:
        raise SystemExit(f"error: {failed} requests failed: the figures mean nothing")


def run(
    name: str, rounds: int, seconds: float, connections: int, only: list[str], heads_asked: list[Heads]
) -> list[Sample]:
    """Samples of every target and kind of head, round by round. The first, short round warms up and is not kept."""
    samples: list[Sample] = []
    compiled, interpreted = ROOT / "build" / "compiled", ROOT / "src"
    with ExitStack() as started:
        work = Path(started.enter_context(TemporaryDirectory(prefix="tulle-bench-")))
        traffic = calls(started, work) if name == "grpc" else requests(started, work, connections)
        targets = [Target("direct", traffic.backend.ports[0], None)]
        starters: dict[str, Callable[[], Target]] = {
            "haproxy": lambda: start_haproxy(started, work, traffic),
            "envoy": lambda: start_envoy(started, work, traffic),
            "tulle": lambda: start_tulle(started, work, traffic, "tulle", compiled),
            "tulle-interpreted": lambda: start_tulle(started, work, traffic, "tulle-interpreted", interpreted),
        }
        for target_name, start in starters.items():
            if only and target_name not in only:
                continue
            try:
                targets.append(start())
            except Lacking as lack:
                print(f"{target_name} is left out: {lack}", file=sys.stderr)
        kinds = [heads for heads in traffic.heads if not heads_asked or heads in heads_asked]
        plan: list[tuple[Target, Heads]] = [(target, heads) for heads in kinds for target in targets]
        for target, heads in plan:
            measure(target, heads, 0, 1.0, traffic.drive)
        for number in range(1, rounds + 1):
            for target, heads in plan:
                samples.append(measure(target, heads, number, seconds, traffic.drive))
                _show(samples[-1], number, rounds)
    return samples


def _show(sample: Sample, number: int, rounds: int) -> None:
    cost = "" if sample.cpu_us is None else f"{sample.cpu_us:6.2f} us"
    print(f"round {number}/{rounds} {sample.heads:7} {sample.target:18} {sample.rate:8.0f}/s {cost}", file=sys.stderr)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 3 s instead of 7 of 8 s")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--connections", type=int, default=64, help="of HTTP/1.1")
    parser.add_argument("--traffic", nargs="*", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--heads", nargs="*", choices=CALL_HEADS, default=[], help="kinds of head; all unless said")
    parser.add_argument("--only", nargs="*", default=[], help="targets beside `direct`")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (3 if asked.quick else 7)
    asked.seconds = asked.seconds or (3.0 if asked.quick else 8.0)
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the proxy, one for load and backend")
    return asked


if __name__ == "__main__":
    main()
