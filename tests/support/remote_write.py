"""Reads remote write with Google's protobuf: what a receiver would understand."""

from typing import Any

from cramjam import snappy
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_MESSAGES = {
    "Label": (("name", "string"), ("value", "string")),
    "Sample": (("value", "double"), ("timestamp", "int64")),
    "TimeSeries": (("labels", "Label"), ("samples", "Sample")),
    "WriteRequest": (("timeseries", "TimeSeries"),),
}
"""The part of prompb/remote.proto and types.proto that is sent, fields numbered from one; a field that is a message is repeated."""


def read_request(octets: bytes) -> Any:
    """A compressed `WriteRequest`."""
    return _WriteRequest.FromString(bytes(snappy.decompress_raw(octets)))


def _write_request() -> Any:
    """The message's class."""
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


_WriteRequest = _write_request()
