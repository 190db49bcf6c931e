"""Counts the instructions that the proxy spends on a request, by callgrind: what to look at where a clock swings.

Two windows of N and 2N requests, and their difference: start-up, timers and the profiler's own part are no part of it.
"""

import argparse
from pathlib import Path
from statistics import median

from benchmarks.callgrind import Profile
from benchmarks.compiled import outdated
from benchmarks.counts import CASES, profiles
from benchmarks.per_request import Windows, difference
from benchmarks.process import Broken, Lacking

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Prints a line for each case, and with --top its functions."""
    asked = _arguments()
    seen: dict[str, list[float]] = {}
    for _ in range(asked.repeat):
        for windows in profiles(asked.sources, asked.cases):
            costs = difference(windows.first.instructions, windows.second.instructions, windows.requests)
            seen.setdefault(windows.case, []).append(sum(costs.values()))
            print(f"{windows.case:16}{sum(costs.values()):10.0f} instructions", flush=True)
            if asked.top:
                print(_functions(windows, costs, asked.top), flush=True)
    if asked.repeat > 1:
        print(f"{'case':16}{'median':>10}{'min':>10}{'max':>10}{'spread':>8}")
        for case, costs_seen in seen.items():
            middle, low, high = median(costs_seen), min(costs_seen), max(costs_seen)
            print(f"{case:16}{middle:10.0f}{low:10.0f}{high:10.0f}{(high - low) / middle:8.1%}")


def _functions(windows: Windows[Profile], costs: dict[str, float], top: int) -> str:
    """The functions that cost most, without those that they call, and how often each is called."""
    calls = difference(windows.first.calls, windows.second.calls, windows.requests)
    dearest = sorted(costs, key=lambda name: -costs[name])[:top]
    return "\n".join(f"{costs[name]:12.0f}{calls.get(name, 0):9.2f} x  {name}" for name in dearest)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all unless said")
    parser.add_argument(
        "--sources", type=Path, default=ROOT / "build/compiled", help="a tree; build/compiled unless said"
    )
    parser.add_argument("--top", type=int, default=0, help="so many functions of each case")
    parser.add_argument("--repeat", type=int, default=1, help="so often, each time with a new proxy")
    asked = parser.parse_args()
    if unknown := set(asked.cases) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    asked.cases = asked.cases or list(CASES)
    asked.sources = asked.sources.resolve()
    if why := outdated(asked.sources):
        parser.error(why)
    return asked


if __name__ == "__main__":
    try:
        main()
    except (Broken, Lacking) as fault:
        raise SystemExit(f"error: {fault}") from None
