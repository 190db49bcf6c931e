"""Holds what a request costs to figures that are checked in: counts within 5 %, ratios to HAProxy and Envoy within 25 %.

What is out of bounds, or broke, is measured again, three times in all: noise passes, a regression stays. Counts that have become better pass
and are named: until the reference is renewed the gain could be lost again unseen.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks import counts, ratios
from benchmarks.compiled import outdated
from benchmarks.process import Broken, Lacking
from benchmarks.reference import (
    COMPARED,
    COUNTED,
    HEADING,
    Bounds,
    Figures,
    Finding,
    Verdict,
    compare,
    environment,
    read_reference,
    write_reference,
)

ROOT = Path(__file__).resolve().parent.parent
RENEWAL = "python -m benchmarks.guard --renew"
TRIES = 3
Measure = Callable[[Collection[str]], Figures]
"""Measures some cases."""


def main() -> None:
    """Measures, and compares or renews."""
    asked = _arguments()
    began = time.monotonic()
    measures: dict[str, Measure] = {
        "counts": lambda cases: counts.measure_counts(asked.sources, cases),
        "ratios": lambda cases: ratios.measure_ratios(ROOT, asked.sources, cases),
    }
    is_ci = bool(os.environ.get("CI"))
    failing: list[Finding] = []
    for part in asked.parts:
        try:
            if asked.renew:
                _renew(part, measures[part])
            else:
                failing += _guard(part, measures[part])
        except Lacking as lack:
            if is_ci or asked.renew:
                raise SystemExit(f"error: {part}: {lack}") from None
            print(f"{part} are not compared: {lack}")
        except Broken as fault:
            raise SystemExit(f"error: {part}: {fault}") from None
    print(f"{time.monotonic() - began:.0f} s")
    if failing:
        raise SystemExit(verdict_words(failing))


def settle(measure: Measure, cases: Collection[str], reference: Figures, bounds: Bounds, tries: int) -> list[Finding]:
    """What every case is beside its reference, each measured until it is as it was, so many times at most. Raises Broken when the last of them broke."""
    settled: dict[str, list[Finding]] = {}
    left = list(cases)
    for number in range(1, tries + 1):
        try:
            found = compare(reference, measure(left), bounds)
        except Broken as fault:  # a box that stood still for seconds fails requests that are not the proxy's fault
            if number == tries:
                raise
            print(f"measured again: {fault}", file=sys.stderr)
            continue
        settled |= {case: [finding for finding in found if finding.case == case] for case in left}
        left = [case for case in left if any(one.verdict in (Verdict.WORSE, Verdict.BETTER) for one in settled[case])]
        if not left:
            break
    return [finding for case in cases for finding in settled[case]]


def verdict_words(failing: list[Finding]) -> str:
    """What to do about figures that are not as they were."""
    worse = [finding for finding in failing if finding.verdict is Verdict.WORSE]
    if worse:
        names = ", ".join(f"{one.case} {one.what}" for one in worse)
        return f"error: a request costs more than the reference says: {names}\nhint: `python -m benchmarks.instructions --top 40` says where; where it must be so: {RENEWAL}"
    names = ", ".join(f"{one.case} {one.what}" for one in failing)
    return f"error: the reference does not know {names}: {RENEWAL}"


def _guard(part: str, measure: Measure) -> list[Finding]:
    """Prints the table of a part, and gives what must fail."""
    reference = read_reference()
    if part == "ratios":
        found = settle(measure, ratios.CASES, reference.ratios, COMPARED, TRIES)
    elif environment() in reference.counts:
        found = settle(measure, counts.CASES, reference.counts[environment()], COUNTED, TRIES)
    else:
        print(f"counts are not compared: the reference knows {'; '.join(reference.counts)}; this is {environment()}")
        return []
    print("\n".join([HEADING, *map(str, found)]), flush=True)
    better = [finding for finding in found if finding.verdict is Verdict.BETTER]
    if better:
        print(f"hint: {', '.join(f'{one.case} {one.what}' for one in better)} became better; keep the gain: {RENEWAL}")
    return [finding for finding in found if finding.verdict in (Verdict.WORSE, Verdict.NEW)]


def _renew(part: str, measure: Measure) -> None:
    """Measures a part and writes it into the reference."""
    reference = read_reference()
    figures = measure(ratios.CASES if part == "ratios" else counts.CASES)
    kept = {case: dict(of) for case, of in figures.items()}
    was: Figures = reference.ratios if part == "ratios" else reference.counts.get(environment(), {})
    print("\n".join([HEADING, *map(str, compare(was, kept, COMPARED if part == "ratios" else COUNTED))]), flush=True)
    if part == "ratios":
        reference.ratios = kept
    else:
        reference.counts[environment()] = kept
    write_reference(reference)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make guard", description=__doc__)
    parser.add_argument("--renew", action="store_true", help="writes what is measured into the reference")
    parser.add_argument("--parts", nargs="*", choices=("counts", "ratios"), default=("counts", "ratios"))
    parser.add_argument(
        "--sources", type=Path, default=ROOT / "build/compiled", help="a tree; build/compiled unless said"
    )
    asked = parser.parse_args()
    asked.sources = asked.sources.resolve()
    if why := outdated(asked.sources):
        parser.error(why)
    return asked


if __name__ == "__main__":
    main()
