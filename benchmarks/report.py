"""Samples as a table: medians with their range, and ratios to Envoy and HAProxy of the same run."""

from collections.abc import Callable
from statistics import median

from benchmarks.load import HEADS, Heads
from benchmarks.measure import Sample


def as_table(samples: list[Sample]) -> str:
    """One line for each target and kind of head that was measured. Ratios are of medians; `user` and `system` are medians too."""
    title = (
        f"{'heads':8}{'target':19}{'us/request':>11}{'min':>8}{'max':>8}{'user':>8}{'system':>8}"
        f"{'/envoy':>8}{'/haproxy':>9}{'req/s':>9}{'p50 us':>8}{'p99 us':>8}{'RSS MB':>8}"
    )
    targets = dict.fromkeys(sample.target for sample in samples)
    measured = {(sample.heads, sample.target) for sample in samples}
    rows = [(heads, target) for heads in HEADS for target in targets if (heads, target) in measured]
    return "\n".join([title, *(_line(samples, target, heads) for heads, target in rows)])


def _line(samples: list[Sample], target: str, heads: Heads) -> str:
    chosen = [s for s in samples if s.target == target and s.heads == heads]
    costs = [s.cpu_us for s in chosen if s.cpu_us is not None]
    speed = f"{median(s.rate for s in chosen):9.0f}{median(s.p50_us for s in chosen):8.0f}{median(s.p99_us for s in chosen):8.0f}"
    if not costs:
        return f"{heads:8}{target:19}{'':>60}{speed}"
    own = median(costs)
    return (
        f"{heads:8}{target:19}{own:11.2f}{min(costs):8.2f}{max(costs):8.2f}"
        f"{_median(chosen, lambda s: s.user_us):8.2f}{_median(chosen, lambda s: s.system_us):8.2f}"
        f"{_ratio(own, samples, 'envoy', heads):>8}{_ratio(own, samples, 'haproxy', heads):>9}"
        f"{speed}{_median(chosen, lambda s: s.rss_kb) / 1024:8.1f}"
    )


def _median(samples: list[Sample], value: Callable[[Sample], float | None]) -> float:
    return median(v for v in map(value, samples) if v is not None)


def _ratio(own: float, samples: list[Sample], peer: str, heads: Heads) -> str:
    costs = [s.cpu_us for s in samples if s.target == peer and s.heads == heads and s.cpu_us is not None]
    return f"{own / median(costs):.2f}" if costs else "-"
