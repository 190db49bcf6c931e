"""Prometheus remote write 1.0: points → bodies of requests. https://prometheus.io/docs/specs/prw/remote_write_spec/

The message is written here: three kinds of fields are not worth the 7.5 MB that the protobuf library takes of the agent. Tests read it
back with that library (docs/decisions/0014-what-encodes-metrics.md).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cramjam import snappy

from tulle.telemetry.exposition import labels
from tulle.telemetry.ledger import Point

SERIES_AT_MOST = 500
"""In one request, as Prometheus itself has had it by default."""
HEADERS = {
    "content-type": "application/x-protobuf",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "0.1.0",
}

_DOUBLE = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Body:
    """One request's."""

    at_ms: int
    """Unix milliseconds of its oldest sample."""
    samples: int
    octets: bytes
    """Compressed."""


def bodies(points: Sequence[Point], common: Mapping[str, str]) -> Iterator[Body]:
    """Cut into requests. `common` labels are added where a series has none of that name."""
    for start in range(0, len(points), SERIES_AT_MOST):
        some = points[start : start + SERIES_AT_MOST]
        at_ms = min(point.samples[0][0] for point in some)
        octets = bytes(snappy.compress_raw(_message(some, common)))
        yield Body(at_ms, sum(len(point.samples) for point in some), octets)


def _message(points: Iterable[Point], common: Mapping[str, str]) -> bytes:
    """`prometheus.WriteRequest`: TimeSeries 1 { Label 1 { name 1, value 2 }, Sample 2 { value 1: double, timestamp 2: int64 } }."""
    return b"".join(_field(1, _series(series, told, common)) for series, told in points)


def _series(series: str, told: Iterable[tuple[int, float]], common: Mapping[str, str]) -> bytes:
    named = sorted({**common, **dict(labels(series))}.items())
    parts = [_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in named]
    parts += [_field(2, b"\x09" + _DOUBLE.pack(value) + b"\x10" + _varint(at_ms)) for at_ms, value in told]
    return b"".join(parts)


def _field(number: int, octets: bytes) -> bytes:
    """One of a length and so many octets: a text or a message."""
    return bytes((number << 3 | 2,)) + _varint(len(octets)) + octets


def _varint(number: int) -> bytes:
    """Seven bits an octet, the lowest first; negative numbers as 64 bits."""
    rest = number & 0xFFFF_FFFF_FFFF_FFFF
    octets = bytearray()
    while rest > 0x7F:
        octets.append(rest & 0x7F | 0x80)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)
