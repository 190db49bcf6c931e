"""Puts a run into the documents: `python -m benchmarks.publish RAW.json [--name 2026-11-22]`.

Its samples and tables go to results/, its costs to cost.svg, its targets to README.md beside this file, and the comparison in one sentence to the
README of the whole. What is said of missed targets is written by hand: they are named.
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.plot import as_svg
from benchmarks.record import Run, read_run
from benchmarks.report import MARKDOWN, as_text, target_rows
from benchmarks.summary import ratio
from benchmarks.targets import TARGETS, judge

HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = HERE / "results"
PICTURE: Final = HERE / "cost.svg"
METHOD: Final = HERE / "README.md"
FRONT: Final = HERE.parent / "README.md"
TABLE: Final = re.compile(r"(?<=^### Targets\n\n)(?:\|.*\n)+", re.MULTILINE)
SENTENCE: Final = re.compile(r"(?<=In the run of \[benchmarks/README\.md\]\(benchmarks/README\.md\) )[^;]*(?=;)")
HEADS: Final = ("heads=repeat", "heads=differ")


def main() -> None:
    """Writes all of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--name", help="of the files in results/; the run's date unless said")
    asked = parser.parse_args()
    run = read_run(asked.raw)
    name = asked.name or run.machine["date"].split()[0]
    samples = asked.raw.read_bytes()
    (RESULTS / f"{name}.json").write_bytes(samples)
    (RESULTS / f"{name}.md").write_text(page(run, name))
    PICTURE.write_text(as_svg(run))
    _replace(METHOD, TABLE, f"{table(run)}\n")
    _replace(FRONT, SENTENCE, comparison(run))
    for one in judge(run, TARGETS):
        if not one.verdict.startswith("met"):
            print(f"{one.verdict}: {one.target.what}, {one.found.words if one.found else 'no samples'}")


def page(run: Run, name: str) -> str:
    """All tables of a run."""
    head = f"# A run of `make bench`\n\nRaw samples: [{name}.json]({name}.json). What is measured, and how: [../README.md](../README.md)."
    return f"{head}\n\n{as_text(run, MARKDOWN)}\n"


def table(run: Run) -> str:
    """The targets, and what came of each."""
    return MARKDOWN.table(target_rows(judge(run, TARGETS)))


def comparison(run: Run) -> str:
    """The compiled proxy beside others, in one sentence."""
    http, calls = (
        {
            peer: _range(_ratio(run, case, heads, target, peer) for heads in HEADS)
            for target, peer in (("tulle", "haproxy"), ("tulle", "envoy"))
        }
        for case in ("http1", "grpc")
    )
    interpreted = _range(_ratio(run, "http1", heads, "tulle-interpreted", "envoy") for heads in HEADS)
    pod = _range([_ratio(run, "connect", "from=pod", "tulle", "haproxy")])
    return (
        f"the compiled proxy takes {http['haproxy']} times HAProxy's CPU per HTTP/1.1 request and {http['envoy']} times Envoy's"
        f" (interpreted {interpreted}), per gRPC call {calls['haproxy']} times HAProxy's and {calls['envoy']} times Envoy's,"
        f" {pod} times HAProxy's for a new connection from a pod"
    )


def _ratio(run: Run, case: str, variant: str, target: str, peer: str) -> float:
    found = ratio(run, case, variant, target, "cpu_us", peer)
    if found is None:
        raise ValueError(f"the run does not say what {target} costs beside {peer} in {case} {variant}")
    return found.of_medians


def _range(ratios: Iterable[float]) -> str:
    found = sorted(ratios)
    least, most = (f"{number:.1f}" if number >= 0.5 else f"{number:.2f}" for number in (found[0], found[-1]))
    return least if least == most else f"{least} to {most}"


def _replace(document: Path, place: re.Pattern[str], words: str) -> None:
    text, count = place.subn(lambda _: words, document.read_text())
    if count != 1:
        raise SystemExit(f"error: {document.name} has {count} places for `{words.splitlines()[0][:40]}…`")
    document.write_text(text)


if __name__ == "__main__":
    main()
