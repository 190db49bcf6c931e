"""A whole exposition of the proxy's, and what it says of each pair: strictly, since tests go by it."""

from collections import defaultdict
from typing import NamedTuple

from tulle.cli.samples import Series, read_series

__all__ = ["Flow", "Pair", "Series", "flows", "parse", "total"]


def parse(text: str) -> list[Series]:
    """Every sample, in order. Raises ValueError for a line that is neither a sample nor a comment."""
    found = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if (one := read_series(line)) is None:
            raise ValueError(f"not a sample: {line}")
        found.append(one)
    return found


class Pair(NamedTuple):
    """Who calls whom, and which version of it answered."""

    source: str
    destination: str
    version: str


class Flow(NamedTuple):
    """What passed between a pair; counters, so that two of them may be subtracted."""

    requests: float
    succeeded: float
    buckets: tuple[tuple[float, float], ...]
    """(upper bound in seconds, requests at or below), ascending, ends with +Inf."""

    def since(self, earlier: "Flow | None") -> "Flow":
        """What came after that moment."""
        if earlier is None or len(earlier.buckets) != len(self.buckets):
            return self
        buckets = tuple((le, n - m) for (le, n), (_, m) in zip(self.buckets, earlier.buckets, strict=True))
        return Flow(self.requests - earlier.requests, self.succeeded - earlier.succeeded, buckets)

    def quantile(self, q: float) -> float:
        """Seconds, linear within a bucket; NaN when nothing passed."""
        if not self.buckets or self.buckets[-1][1] <= 0:
            return float("nan")
        rank = q * self.buckets[-1][1]
        low, below = 0.0, 0.0
        for le, n in self.buckets:
            if n >= rank and n > below:
                return low if le == float("inf") else low + (le - low) * (rank - below) / (n - below)
            low, below = le, n
        return low


def flows(series: list[Series]) -> dict[Pair, Flow]:
    """Sums over routes, protocols and classes. A 4xx or 5xx, an abort or a truncation is no success."""
    requests: dict[Pair, float] = defaultdict(float)
    succeeded: dict[Pair, float] = defaultdict(float)
    buckets: dict[Pair, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for one in series:
        labels = one.labels
        if one.name == "tulle_requests_total":
            pair = Pair(labels["source"], labels["destination"], labels["version"])
            requests[pair] += one.value
            if labels["response_class"] in ("1xx", "2xx", "3xx"):
                succeeded[pair] += one.value
        elif one.name == "tulle_request_duration_seconds_bucket":
            pair = Pair(labels["source"], labels["destination"], labels["version"])
            buckets[pair][float(labels["le"].replace("+Inf", "inf"))] += one.value
    return {pair: Flow(n, succeeded[pair], tuple(sorted(buckets[pair].items()))) for pair, n in requests.items()}


def total(series: list[Series], name: str, **labels: str) -> float:
    """Sum of one metric over the series that carry these labels."""
    return sum(s.value for s in series if s.name == name and all(s.labels.get(k) == v for k, v in labels.items()))
