"""The text that Prometheus reads, made of plain slots when somebody asks."""

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tulle.kit.exposition import Metric
from tulle.proxy import metrics
from tulle.proxy.counters import BOUNDS, CLASSES, CLOSED, Counters, Series
from tulle.proxy.grpc import STATUSES
from tulle.proxy.metrics import METRICS

Sample = tuple[str, tuple[str, ...], float]
"""(suffix of the name, label values, value)."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Telemetry:
    """Renders the counters, and what the process knows of itself."""

    def __init__(self, counters: Counters, version: str, resident_bytes: Callable[[], int]) -> None:
        self.generation = 0
        self._counters = counters
        self._version = version
        self._started = time.time()
        self.resident_bytes = resident_bytes
        """Memory of this process now."""
        self.endpoints: Callable[[], Mapping[tuple[str, str], int]] = dict
        """Workload and port of every endpoint → whether it is ready."""

    def text(self, counters: Counters | None = None) -> str:
        """The exposition, version 0.0.4; of other counters than its own where they are given."""
        counters = counters or self._counters
        samples = self._samples(counters)
        lines: list[str] = []
        for metric in METRICS:
            lines.append(f"# HELP {metric.name} {metric.meaning}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            if metric is metrics.DURATION:
                lines.extend(_durations(counters))
                continue
            lines.extend(_line(metric, sample) for sample in samples[metric.name])
        return "\n".join(lines) + "\n"

    def _samples(self, counters: Counters) -> dict[str, Iterable[Sample]]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        http = list(_series(counters, range(CLOSED)))
        opaque = list(_series(counters, range(CLOSED, len(CLASSES))))
        links = list(counters.links.items())
        return {
            metrics.REQUESTS.name: [("", key, one.count) for key, one in http],
            metrics.GRPC.name: list(_calls(counters)),
            metrics.TCP.name: [("", key, one.count) for key, one in opaque],
            metrics.TCP_SECONDS.name: [("", key, one.seconds) for key, one in opaque],
            metrics.WEBSOCKET_CLOSES.name: _table(counters.closes),
            metrics.REQUEST_BYTES.name: [("", key, one.bytes_in) for key, one in http + opaque],
            metrics.RESPONSE_BYTES.name: [("", key, one.bytes_out) for key, one in http + opaque],
            metrics.CONNECTIONS.name: [("", key, link.total) for key, link in links],
            metrics.CONNECTIONS_OPEN.name: [("", key, link.open) for key, link in links],
            metrics.DENIED.name: _table(counters.denied),
            metrics.SHADOW_DENIED.name: _table(counters.shadow_denied),
            metrics.ANSWERS.name: _table(counters.answers),
            metrics.RETRIES.name: _table(counters.retries),
            metrics.REFUSED.name: _table(counters.refused),
            metrics.STREAMS_REFUSED.name: _table(counters.turned_away),
            metrics.SQUATTED.name: _table(counters.squatted),
            metrics.SNAPSHOTS.name: [("", (result,), count) for result, count in counters.snapshots.items()],
            metrics.ENDPOINT_READY.name: [("", key, value) for key, value in self.endpoints().items()],
            metrics.IN_FLIGHT.name: _one(counters.in_flight),
            metrics.BUFFERED.name: _one(counters.held),
            metrics.UPSTREAM_OPEN.name: _one(counters.upstreams),
            metrics.TAP_DROPPED.name: _one(counters.tap_dropped),
            metrics.LOG_DROPPED.name: [("", ("full",), counters.log_dropped), ("", ("flood",), counters.log_left_out)],
            metrics.DEFECTS.name: _one(counters.defects),
            metrics.SNAPSHOT_GENERATION.name: _one(self.generation),
            metrics.BUILD.name: [("", (self._version, sys.version.split()[0], _is_compiled()), 1)],
            metrics.CPU.name: _one(usage.ru_utime + usage.ru_stime),
            metrics.MEMORY.name: _one(self.resident_bytes()),
            metrics.STARTED.name: _one(self._started),
        }


def _series(counters: Counters, classes: range) -> Iterator[tuple[tuple[str, ...], Series]]:
    for pair in counters.pairs.values():
        for index in classes:
            series = pair.series[index]
            if series is not None:
                yield (*pair.key, CLASSES[index]), series


def _calls(counters: Counters) -> Iterator[Sample]:
    for pair in counters.pairs.values():
        for name, count in zip(STATUSES, pair.grpc or (), strict=False):
            if count:
                yield "", (*pair.key[:4], name), count


def _durations(counters: Counters) -> Iterator[str]:
    metric = metrics.DURATION
    for key, series in _series(counters, range(CLOSED)):
        labels = _labels(metric.labels, key)
        total = 0
        for bound, count in zip([*map(_number, BOUNDS), "+Inf"], series.buckets, strict=True):
            total += count
            yield f'{metric.name}_bucket{{{labels},le="{bound}"}} {total}'
        yield f"{metric.name}_sum{{{labels}}} {_number(series.seconds)}"
        yield f"{metric.name}_count{{{labels}}} {series.count}"


def _table(table: Mapping[Any, int]) -> list[Sample]:
    return [("", key, count) for key, count in table.items()]


def _one(value: float) -> list[Sample]:
    return [("", (), value)]


def _line(metric: Metric, sample: Sample) -> str:
    suffix, values, value = sample
    labels = _labels(metric.labels, values)
    return (
        f"{metric.name}{suffix}{{{labels}}} {_number(value)}" if labels else f"{metric.name}{suffix} {_number(value)}"
    )


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def _is_compiled() -> str:
    from tulle.proxy import exchange

    return "no" if str(exchange.__file__).endswith(".py") else "yes"
