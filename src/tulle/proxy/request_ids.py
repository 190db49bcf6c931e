"""Ids of requests, and of the traces that begin with them."""

from __future__ import annotations

import os
from random import getrandbits
from typing import Final, final

from tulle.http.trace_context import NOT_SAMPLED, SAMPLED
from tulle.wire.snapshot import Tracing

ID_OCTETS: Final = 16
"""Of a request id that is ours."""

_LAST: Final = [b"%02x" % number for number in range(256)]


@final
class RequestIds:
    """Unique among the proxies of a fleet, and cheap: what 256 of them share is made at once."""

    def __init__(self) -> None:
        self._prefix = os.urandom(5).hex().encode()
        self._count = getrandbits(20)
        self._stem = b""
        """All of an id but its last two digits."""
        self.makes_traces = True
        """A request without a valid traceparent gets one."""
        self._sampled_below = 0
        """Rolls of 32 bits below this ask services to record a trace that begins here."""
        self._random = b""
        """Random digits, 16 for each of the ids that share a stem."""
        self._trace_stem = b""
        self._trace_end = b""
        self._sampled_end = b""

    def configure(self, tracing: Tracing) -> None:
        """Which traces begin here from now on."""
        self.makes_traces = tracing.create
        self._sampled_below = int(tracing.sample * (1 << 32))

    def next(self) -> str:
        """A new request id, unique among the proxies of a fleet."""
        return self.next_octets().decode("ascii")

    def next_octets(self) -> bytes:
        """The same, as it stands in a head."""
        self._count += 1
        last = self._count & 0xFF
        if last == 0 or not self._stem:
            self._stem = b"%b%04x" % (self._prefix, (self._count >> 8) & 0xFFFF)
            digits = os.urandom(2056).hex().encode()
            self._random = digits[16:]
            self._trace_stem = b"00-" + self._stem
            self._trace_end = b"-" + digits[:16] + NOT_SAMPLED
            self._sampled_end = b"-" + digits[:16] + SAMPLED
        return self._stem + _LAST[last]

    def next_traceparent(self) -> bytes:
        """A trace that begins here, for the request whose id was made last.

        That id is the first half of the trace-id, so that one tells the other; the second is random, since samplers look at that.
        """
        last = self._count & 0xFF
        end = self._trace_end
        if self._sampled_below and getrandbits(32) < self._sampled_below:
            end = self._sampled_end
        at = last * 16
        return self._trace_stem + _LAST[last] + self._random[at : at + 16] + end
