"""CPU per request of the compiled proxy to that of HAProxy and Envoy, in short rounds that alternate."""

from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.case import Bench
from benchmarks.cases import grpc, http1
from benchmarks.process import Broken, Lacking
from benchmarks.record import Run
from benchmarks.runner import Pace, measure_case
from benchmarks.summary import ratio

OURS: Final = "tulle"
PEERS: Final = ("haproxy", "envoy")
VARIANTS: Final = ("heads=repeat", "heads=differ")
BENCH_CASES: Final = {case.name: case for case in (*http1.CASES, *grpc.CASES) if case.name in ("http1", "grpc")}
CASES: Final = tuple(f"{name} {variant}" for name in BENCH_CASES for variant in VARIANTS)
PACE: Final = Pace(rounds=5, seconds=1.0, warm=1.0)


def measure_ratios(root: Path, sources: Path, cases: Collection[str]) -> dict[str, dict[str, float]]:
    """By case and peer, the ratio of medians. Raises Lacking where one of the programs is missing, Broken where a request failed or the proxy does not serve."""
    run = Run(machine={}, command="")
    for name, case in BENCH_CASES.items():
        variants = [variant for variant in VARIANTS if f"{name} {variant}" in cases]
        if not variants:
            continue
        with TemporaryDirectory(prefix="tulle-ratios-") as work:
            only = frozenset((OURS, *PEERS))
            bench = Bench(Path(work), sources, root / "src", quick=True, only=only, skipped=run.skipped)
            measure_case(case, bench, PACE, run, variants)
        if bench.broken:
            raise Broken("; ".join(f"{what}: {run.skipped[what]}" for what in bench.broken))
    if run.skipped:
        raise Lacking("; ".join(f"{what}: {why}" for what, why in run.skipped.items()))
    if run.failed:
        raise Broken(f"{run.failed} requests failed: the figures mean nothing")
    return {f"{name} {variant}": _to_peers(run, name, variant) for name, variant, _ in run_probes(run)}


def run_probes(run: Run) -> list[tuple[str, str, str]]:
    """Case, variant and target of what was measured."""
    return [(name, variant, target) for name in run.cases for variant, target in run.probes(name) if target == OURS]


def _to_peers(run: Run, name: str, variant: str) -> dict[str, float]:
    found = {peer: ratio(run, name, variant, OURS, "cpu_us", peer) for peer in PEERS}
    return {f"to {peer}": one.of_medians for peer, one in found.items() if one is not None}
