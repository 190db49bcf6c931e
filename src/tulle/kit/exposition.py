"""Prometheus' text exposition, version 0.0.4: metrics as data, and the lines that are made of them."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """Prometheus' metric types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One metric family."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


def written(metric: Metric, samples: Iterable[tuple[Sequence[str], float]]) -> Iterator[str]:
    """The lines of a metric that is no histogram: label values, value."""
    yield f"# HELP {metric.name} {metric.meaning}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for values, value in samples:
        number = str(value) if isinstance(value, int) else repr(value)
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in zip(metric.labels, values, strict=True))
        yield f"{metric.name}{{{pairs}}} {number}" if pairs else f"{metric.name} {number}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
