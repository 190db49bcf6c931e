"""What two scrapes say about the traffic between them. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_LINE = re.compile(r'([A-Za-z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SERVED = ("1xx", "2xx", "3xx", "4xx")
"""Response classes that are no failure of the service."""


class Series(NamedTuple):
    """One line of an exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


class Pair(NamedTuple):
    """Who calls whom, and which version of it answered."""

    source: str
    destination: str
    version: str


@dataclass(slots=True)
class Flow:
    """Counters of one pair, since the proxy started."""

    requests: float = 0.0
    below_500: float = 0.0
    """Answered so, by the service or by the mesh as a refusal."""
    denied: float = 0.0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))
    """Upper bound in seconds → requests at or below."""

    @property
    def succeeded(self) -> float:
        """Requests that the service answered below 500. What the mesh refused is no success; a 404 of the service is one."""
        return max(self.below_500 - self.denied, 0.0)

    def since(self, earlier: "Flow | None") -> "Flow":
        """What came after that moment. A proxy that started anew in between counts from zero."""
        if earlier is None or earlier.requests > self.requests or earlier.denied > self.denied:
            return self
        return Flow(
            self.requests - earlier.requests,
            self.below_500 - earlier.below_500,
            self.denied - earlier.denied,
            {le: count - earlier.buckets.get(le, 0.0) for le, count in self.buckets.items()},
        )

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the requests was answered; 0 without requests."""
        return quantile(dict(sorted(self.buckets.items())), share)


@dataclass(frozen=True, slots=True)
class Rate:
    """One pair over a time."""

    source: str
    destination: str
    version: str
    rps: float
    success: float | None
    """Share of requests, 0 to 1, that the service answered below 500; None without requests."""
    p50: float
    """Seconds; 0 without requests."""
    p99: float
    denied: float
    """A second."""


def flows(exposition: str) -> dict[Pair, Flow]:
    """Per source, destination and version; lines that are no samples are passed over."""
    return summed(filter(None, map(read_series, exposition.splitlines())))


def summed(series: Iterable[Series]) -> dict[Pair, Flow]:
    """Sums over routes, protocols, classes and policies."""
    found: dict[Pair, Flow] = defaultdict(Flow)
    for name, labels, value in series:
        if "source" not in labels or "destination" not in labels:
            continue
        flow = found[Pair(labels["source"], labels["destination"], labels.get("version", ""))]
        if name == "tulle_requests_total":
            flow.requests += value
            flow.below_500 += value * (labels.get("response_class") in _SERVED)
        elif name == "tulle_request_duration_seconds_bucket":
            flow.buckets[float(labels["le"])] += value
        elif name == "tulle_denied_total":
            flow.denied += value
    return {pair: flow for pair, flow in found.items() if flow.requests or flow.denied}


def rates(before: Mapping[Pair, Flow], after: Mapping[Pair, Flow], seconds: float) -> list[Rate]:
    """Busiest first."""
    found = []
    for pair, flow in after.items():
        recent = flow.since(before.get(pair))
        found.append(
            Rate(
                *pair,
                rps=recent.requests / seconds,
                success=recent.succeeded / recent.requests if recent.requests else None,
                p50=recent.quantile(0.5),
                p99=recent.quantile(0.99),
                denied=recent.denied / seconds,
            )
        )
    return sorted(found, key=lambda rate: (-rate.rps, -rate.denied, rate.source, rate.destination, rate.version))


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """Interpolated within its bucket, as Prometheus does; the last bound for what lies beyond it. 0 when empty."""
    total = max(buckets.values(), default=0.0)
    if total <= 0:
        return 0.0
    rank, lower, below = share * total, 0.0, 0.0
    for bound, count in buckets.items():
        if count >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / max(count - below, 1e-9)
        lower, below = bound, count
    return lower


def read_series(line: str) -> Series | None:
    """A line of Prometheus' text exposition, as far as the proxy writes it; None for a comment, or what is no sample."""
    if (match := _LINE.fullmatch(line)) is None:
        return None
    labels = {name: _unescaped(value) for name, value in _LABEL.findall(match[2] or "")}
    return Series(match[1], labels, float(match[3]))


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)
