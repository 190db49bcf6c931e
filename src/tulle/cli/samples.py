"""What two scrapes say about the traffic between them. Pure."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_LINE = re.compile(r'([A-Za-z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_SUCCEEDED = ("1xx", "2xx", "3xx", "4xx")
"""Response classes that are no failure of the service, unless the mesh refused: that is counted apart."""


class Series(NamedTuple):
    """One line of an exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(slots=True)
class Flow:
    """Counters of one pair, since the proxy started."""

    requests: float = 0.0
    succeeded: float = 0.0
    denied: float = 0.0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))
    """Upper bound in seconds → requests at or below."""


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


Pair = tuple[str, str, str]


def flows(exposition: str) -> dict[Pair, Flow]:
    """Per source, destination and version."""
    found: dict[Pair, Flow] = defaultdict(Flow)
    for name, labels, value in filter(None, map(read_series, exposition.splitlines())):
        if "source" not in labels or "destination" not in labels:
            continue
        flow = found[(labels["source"], labels["destination"], labels.get("version", ""))]
        if name == "tulle_requests_total":
            flow.requests += value
            flow.succeeded += value * (labels.get("response_class") in _SUCCEEDED)
        elif name == "tulle_request_duration_seconds_bucket":
            flow.buckets[float(labels["le"])] += value
        elif name == "tulle_denied_total":
            flow.denied += value
    return {pair: flow for pair, flow in found.items() if flow.requests or flow.denied}


def rates(before: Mapping[Pair, Flow], after: Mapping[Pair, Flow], seconds: float) -> list[Rate]:
    """Busiest first. A proxy that started anew in between counts from zero."""
    found = []
    for (source, destination, version), now in after.items():
        then = before.get((source, destination, version), Flow())
        if then.requests > now.requests or then.denied > now.denied:
            then = Flow()
        requests, denied = now.requests - then.requests, now.denied - then.denied
        buckets = {le: count - then.buckets.get(le, 0.0) for le, count in sorted(now.buckets.items())}
        found.append(
            Rate(
                source,
                destination,
                version,
                rps=requests / seconds,
                success=max(now.succeeded - then.succeeded - denied, 0.0) / requests if requests else None,
                p50=quantile(buckets, 0.5),
                p99=quantile(buckets, 0.99),
                denied=denied / seconds,
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
