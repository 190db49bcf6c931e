"""Ids of requests, and of the traces that begin with them."""

from __future__ import annotations

import os
from random import getrandbits
from typing import Final, final

from tulle.http.request import END
from tulle.http.trace_context import NOT_SAMPLED, SAMPLED, SIZE
from tulle.wire.snapshot import Tracing

ID_OCTETS: Final = 16
"""Of a request id that is ours."""

_LAST: Final = [b"%02x" % number for number in range(256)]
_TRACE_AT: Final = len(b"traceparent: ")
_TRACE_ENDS: Final = _TRACE_AT + SIZE
_ID_AT: Final = _TRACE_ENDS + len(b"\r\nx-request-id: ")
_ID_ENDS: Final = _ID_AT + ID_OCTETS
_FIELDS_SIZE: Final = _ID_ENDS + len(END)


@final
class RequestIds:
    """Unique among the proxies of a fleet, and cheap: 256 of them are made at once, with a trace for each, as fields that end a head.

    An id is the first half of its trace's, so that one tells the other; the second is random, since samplers look at that.
    """

    def __init__(self) -> None:
        self._prefix = os.urandom(5).hex().encode()
        self._count = getrandbits(20)
        self.makes_traces = True
        """A request without a valid traceparent gets one."""
        self._sampled_below = 0
        """Rolls of 32 bits below this ask services to record a trace that begins here."""
        self._fields = b""
        """Of each id with these first digits, one after the other."""

    def configure(self, tracing: Tracing) -> None:
        """Which traces begin here from now on."""
        self.makes_traces = tracing.create
        self._sampled_below = int(tracing.sample * (1 << 32))
        self._fields = b""

    def next(self) -> str:
        """A new request id, unique among the proxies of a fleet."""
        return self.next_octets().decode("ascii")

    def next_octets(self) -> bytes:
        """The same, as it stands in a head."""
        return id_in(self.next_fields())

    def next_traceparent(self) -> bytes:
        """A trace that begins here."""
        return traceparent_in(self.next_fields())

    def next_fields(self) -> bytes:
        """A new trace and a new request id, as the fields that a head ends with."""
        self._count += 1
        last = self._count & 0xFF
        if last == 0 or not self._fields:
            self._fields = self._make()
        at = last * _FIELDS_SIZE
        return self._fields[at : at + _FIELDS_SIZE]

    def _make(self) -> bytes:
        stem = b"%b%04x" % (self._prefix, (self._count >> 8) & 0xFFFF)
        digits = os.urandom(2056).hex().encode()
        middle = b"-" + digits[-16:] + NOT_SAMPLED + b"\r\nx-request-id: " + stem
        sampled = b"-" + digits[-16:] + SAMPLED + b"\r\nx-request-id: " + stem
        below = self._sampled_below
        begin = b"traceparent: 00-" + stem
        between = END + begin
        parts = [begin]
        at = 0
        for last in _LAST:
            parts.append(last)
            parts.append(digits[at : at + 16])
            parts.append(sampled if below and getrandbits(32) < below else middle)
            parts.append(last)
            parts.append(between)
            at += 16
        return b"".join(parts)


def id_in(fields: bytes) -> bytes:
    """The request id of such fields."""
    return fields[_ID_AT:_ID_ENDS]


def traceparent_in(fields: bytes) -> bytes:
    """Their trace."""
    return fields[_TRACE_AT:_TRACE_ENDS]
