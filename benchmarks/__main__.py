"""Measures Tulle beside what people would pick instead, in interleaved rounds of one run, and prints ratios.

The program under load has one core for itself; service and load have the other. Figures of different runs do not compare: ratios do.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.case import Bench, Case
from benchmarks.cases import CASES
from benchmarks.compiled import outdated
from benchmarks.machine import facts
from benchmarks.peers import PEERS
from benchmarks.record import Run, without_places, write_run
from benchmarks.report import PLAIN, as_text
from benchmarks.runner import expected_seconds, measure_case, pace

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measures case by case, prints the report and keeps the raw samples."""
    asked = _arguments()
    began = time.monotonic()
    run = Run(machine=facts(ROOT), command=without_places(" ".join(sys.argv[1:])))
    chosen = _chosen(asked)
    paces = {case.name: pace(case, asked.quick, asked.rounds, asked.seconds) for case in chosen}
    expected = sum(expected_seconds(case, paces[case.name]) for case in chosen)
    print(f"{', '.join(case.name for case in chosen)}: about {expected / 60:.0f} minutes", file=sys.stderr)
    broken: list[str] = []
    with TemporaryDirectory(prefix="tulle-bench-") as scratch:
        for case in chosen:
            bench = Bench(
                work=Path(scratch) / case.name,
                compiled=asked.compiled,
                sources=ROOT / "src",
                quick=asked.quick,
                only=frozenset(asked.only),
                connections=asked.connections,
                skipped=run.skipped,
                broken=broken,
            )
            bench.work.mkdir()
            try:
                measure_case(case, bench, paces[case.name], run, asked.variants)
            except Exception as fault:  # noqa: BLE001, whatever it is, the minutes of the other cases are not lost
                bench.lose(case.name, repr(fault))
    run.seconds = time.monotonic() - began
    if not run.samples:
        raise SystemExit("error: nothing could be measured")
    written = asked.raw or ROOT / "build" / "bench" / time.strftime("%Y%m%d-%H%M%S.json")
    write_run(run, written)
    print(as_text(run, PLAIN))
    print(f"\nraw samples: {os.path.relpath(written)} ({run.seconds:.0f} s)")
    if broken:
        raise SystemExit(f"error: these broke, see above: {', '.join(broken)}")
    if run.failed:
        raise SystemExit(f"error: requests failed, the figures mean nothing where they did: {', '.join(run.failed)}")


def _chosen(asked: argparse.Namespace) -> list[Case]:
    named = [case for case in CASES if case.name in asked.cases]
    return named or [case for case in CASES if case.quick or not asked.quick]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the cases that say most, in less than three minutes")
    parser.add_argument("--cases", nargs="*", default=[], choices=[case.name for case in CASES], help="all unless said")
    parser.add_argument("--variants", nargs="*", default=[], help="of those cases: heads=differ; all unless said")
    parser.add_argument("--only", nargs="*", default=[], help=f"targets: {' '.join(PEERS)}; all unless said")
    parser.add_argument("--rounds", type=int, help="instead of each case's own")
    parser.add_argument("--seconds", type=float, help="of one window, instead of each case's own")
    parser.add_argument("--connections", type=int, default=64, help="of HTTP/1.1 at saturation")
    parser.add_argument(
        "--compiled", type=Path, default=ROOT / "build" / "compiled", help="what PYTHONPATH is for `tulle`"
    )
    parser.add_argument("--raw", type=Path, help="where raw samples are kept; build/bench/TIME.json unless said")
    asked = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the proxy, one for load and backend")
    if why := outdated(asked.compiled):
        parser.error(why)
    return asked


if __name__ == "__main__":
    main()
