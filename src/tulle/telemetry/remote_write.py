"""Prometheus remote write 1.0: points → bodies of requests. https://prometheus.io/docs/specs/prw/remote_write_spec/"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cramjam import snappy
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from tulle.telemetry.exposition import labels
from tulle.telemetry.ledger import Point

SERIES_AT_MOST = 500
"""In one request, as Prometheus itself has had it by default."""
HEADERS = {
    "content-type": "application/x-protobuf",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "0.1.0",
}

_MESSAGES = {
    "Label": (("name", "string"), ("value", "string")),
    "Sample": (("value", "double"), ("timestamp", "int64")),
    "TimeSeries": (("labels", "Label"), ("samples", "Sample")),
    "WriteRequest": (("timeseries", "TimeSeries"),),
}
"""The part of prompb/remote.proto and types.proto that is sent, fields numbered from one; a field that is a message is repeated."""


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
        message = _message(some, common).SerializeToString()
        yield Body(at_ms, sum(len(point.samples) for point in some), bytes(snappy.compress_raw(message)))


def _message(points: Iterable[Point], common: Mapping[str, str]) -> Any:
    request = WriteRequest()
    for series, told in points:
        one = request.timeseries.add()
        for name, value in sorted({**common, **dict(labels(series))}.items()):
            one.labels.add(name=name, value=value)
        for at_ms, number in told:
            one.samples.add(value=number, timestamp=at_ms)
    return request


def _write_request() -> Any:
    """The message's class. Its descriptor is made here: a generated module would have to fit the library's version."""
    file = FileDescriptorProto(name="tulle/remote.proto", package="prometheus", syntax="proto3")
    for message, members in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(members, 1):
            field = described.field.add(name=name, number=number)
            if kind in _MESSAGES:
                field.label = FieldDescriptorProto.LABEL_REPEATED
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".prometheus.{kind}"
            else:
                field.label = FieldDescriptorProto.LABEL_OPTIONAL
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


WriteRequest = _write_request()
"""For whoever reads requests, too."""
