"""W3C trace context (w3.org/TR/trace-context), for one who forwards and records no span of its own."""

from __future__ import annotations

from typing import Final

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
BOTH: Final = frozenset((TRACEPARENT, TRACESTATE))

SIZE: Final = 55
"""Octets of `00-<trace-id>-<parent-id>-<flags>`."""
NOT_SAMPLED: Final = b"-00"
SAMPLED: Final = b"-01"

_HEX: Final = b"0123456789abcdef"
_NO_TRACE: Final = b"0" * 32
_NO_PARENT: Final = b"0" * 16


def continued(value: bytes) -> bytes:
    """What goes on for a traceparent that came: itself, or as version 00 what a later version says. Empty: it is invalid.

    Who records nothing leaves the parent-id alone, or the services behind would hang their spans on one that nobody knows.
    """
    if len(value) < SIZE or value[:SIZE].translate(None, _HEX) != b"---":
        return b""
    if value[2] != 45 or value[35] != 45 or value[52] != 45:
        return b""
    version = value[:2]
    if version == b"ff" or value[3:35] == _NO_TRACE or value[36:52] == _NO_PARENT:
        return b""
    if len(value) == SIZE and version == b"00":
        return value
    if version == b"00" or (len(value) > SIZE and value[SIZE] != 45):
        return b""
    is_sampled = int(value[53:SIZE], 16) & 1
    return b"00" + value[2:52] + (SAMPLED if is_sampled else NOT_SAMPLED)


def trace_id(traceparent: bytes) -> str:
    """The trace that a valid one names; empty for none."""
    return traceparent[3:35].decode("ascii")
