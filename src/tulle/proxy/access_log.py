"""The access log: a line of JSON for each request and connection that was refused or failed, and for some of the others.

The proxy opens no file. Lines go through a pipe to whoever keeps them, at the end of a turn, and are never waited for: what the
pipe does not take is dropped and counted. Lines are ASCII without controls, whatever callers send.
"""

from __future__ import annotations

import json
import math
import os
import random
import select
import time
from typing import TYPE_CHECKING, Final, final

import msgspec

from tulle.proxy.counters import CLASSES, CLOSED, RESET, Counters
from tulle.proxy.grpc import STATUSES
from tulle.proxy.log_floods import FLOOD_SECONDS, Alike, Floods
from tulle.proxy.loop import Dispatcher
from tulle.proxy.wheel import Timed
from tulle.wire.reason import Reason
from tulle.wire.snapshot import AccessLog as Settings

if TYPE_CHECKING:
    from tulle.core.backends import BackendTable, EndpointRef
    from tulle.proxy.exchange import Exchange
    from tulle.proxy.lane import Lane
    from tulle.proxy.tcp import Tunnel

NOT_DUE: Final = 1 << 60
"""No sample is wanted."""
SERVER_ERROR: Final = 4
"""Index into CLASSES; those behind are failures too, but for CLOSED."""
SAMPLES_PER_SECOND: Final = 50
"""Of what went well, where a share of it is asked for and not all: a line costs as much as some requests."""
MAX_LINE: Final = select.PIPE_BUF
"""Octets of a line, and of a write: those are never cut by a pipe, nor mixed with another proxy's."""
MAX_PATH: Final = 1024
MAX_HOST: Final = 128
MAX_ID: Final = 128
"""Characters of what callers choose."""
MAX_LEFT: Final = 64
"""Of each of those in a line that is too long all the same."""

Fields = dict[str, object]

_encode: Final = msgspec.json.Encoder().encode
_encode_as_ascii: Final = json.JSONEncoder(separators=(",", ":")).encode
"""The same, eight times slower."""


@final
class AccessLog(Timed):
    """What an exchange asks when it ends is `due` and `is_failure`; everything else is only for those that get a line."""

    def __init__(self, dispatcher: Dispatcher, counters: Counters) -> None:
        super().__init__()
        self.due = NOT_DUE
        """Ends until the next sample. Counted down by those that end."""
        self._dispatcher = dispatcher
        self._counters = counters
        self._descriptor = -1
        self._settings = Settings()
        self._is_on = False
        self._lines: list[bytes] = []
        self._missing = 0
        """Lines dropped since the last one that was taken."""
        self._floods = Floods(dispatcher, self._tell_left_out)
        self._sampling_since = 0.0
        self._samples = 0
        """Since then, in a second."""
        self._second = 0
        self._stamp = ""

    def open(self, descriptor: int) -> None:
        """Writes to this pipe from now on; it must not block."""
        self._descriptor = descriptor
        self.configure(self._settings)

    def configure(self, settings: Settings) -> None:
        """What is written from now on."""
        self._settings = settings
        self._is_on = settings.enabled and self._descriptor >= 0
        self.due = self._next_due()
        self._floods.forget()

    def note(self, exchange: Exchange) -> None:
        """A request ended that is due, failed, or was refused."""
        if self.due <= 0:
            self.due = self._next_due()
        if not self._is_on:
            return
        reason = exchange.reason.code if exchange.reason is not None else ""
        lane = exchange.lane
        ended = CLASSES[exchange.response_class]
        if reason or exchange.would_deny or is_failure(exchange.response_class):
            why = f"shadow {exchange.would_deny}" if exchange.would_deny and not reason else reason or ended
            if not self._admits(lane, why):
                return
        elif not self._takes_sample():
            return
        upgrade = exchange.upgrade
        head = exchange.judged.head
        path = head.path
        if self._settings.query:
            query = exchange.whole().head.query
            path = f"{path}?{query}" if query else path
        self._add(
            {
                **self._parties(lane, exchange.backend),
                "protocol": exchange.protocol,
                "method": "GET" if head.protocol else head.method,
                "host": head.host,
                "path": path,
                "status": exchange.status,
                "grpc_status": STATUSES[exchange.grpc_status] if exchange.grpc_status >= 0 else "",
                "class": ended,
                "reason": reason,
                "shadow": exchange.would_deny,
                "policy": exchange.policy,
                "close": upgrade.code if upgrade is not None else "",
                "closed_by": upgrade.closed_by if upgrade is not None else "",
                "duration_ms": _milliseconds(exchange.ended - exchange.started),
                "bytes_in": exchange.bytes_in,
                "bytes_out": exchange.bytes_out,
                "request_id": exchange.request_id,
                "trace_id": exchange.trace_id,
                "retries": exchange.retries,
                "endpoint": _place(exchange.asked),
            }
        )

    def note_tunnel(self, tunnel: Tunnel) -> None:
        """Likewise of an opaque connection."""
        if self.due <= 0:
            self.due = self._next_due()
        if not self._is_on:
            return
        reason = tunnel.reason.code if tunnel.reason is not None else ""
        if reason or tunnel.would_deny or tunnel.response_class == RESET:
            why = f"shadow {tunnel.would_deny}" if tunnel.would_deny and not reason else reason or CLASSES[RESET]
            if not self._admits(tunnel.lane, why):
                return
        elif not self._takes_sample():
            return
        self._add(
            {
                **self._parties(tunnel.lane, tunnel.backend),
                "protocol": "tcp",
                "class": CLASSES[tunnel.response_class],
                "reason": reason,
                "shadow": tunnel.would_deny,
                "policy": tunnel.policy,
                "duration_ms": _milliseconds(tunnel.ended - tunnel.started),
                "bytes_in": tunnel.bytes_in,
                "bytes_out": tunnel.bytes_out,
                "retries": tunnel.retries,
                "endpoint": _place(tunnel.asked),
            }
        )

    def note_unread(self, lane: Lane, protocol: str, status: int, reason: Reason, request_id: str) -> None:
        """What was no request: there is nothing to tell of it but that it was refused."""
        if self._is_on and self._admits(lane, reason.code):
            self._add(
                {
                    **self._parties(lane, None),
                    "protocol": protocol,
                    "status": status,
                    "class": CLASSES[status // 100 - 1],
                    "reason": reason.code,
                    "request_id": request_id,
                }
            )

    def finish(self) -> None:
        """The process ends: all that is known is written."""
        self._floods.finish()
        self.on_flush()

    def on_flush(self) -> None:
        """Writes what the turn brought, as many lines in one write as are never cut."""
        lines = self._lines
        self._lines = []
        first = self.line({"time": self._time(), "dropped": self._missing}) if self._missing and lines else b""
        begin = 0
        size = len(first)
        for at, line in enumerate(lines):
            if size + len(line) > MAX_LINE:
                if not self._write(first + b"".join(lines[begin:at])):
                    self._drop(len(lines) - begin)
                    return
                first = b""
                begin = at
                size = 0
            size += len(line)
        if begin < len(lines) and not self._write(first + b"".join(lines[begin:])):
            self._drop(len(lines) - begin)

    def give_up(self) -> None:
        """A defect in writing ends nothing that is served."""
        self._lines = []

    def _parties(self, lane: Lane, backend: BackendTable | None) -> Fields:
        return {
            "time": self._time(),
            "source": lane.source,
            "pod": lane.caller.pod,
            "destination": lane.destination,
            "version": backend.version if backend is not None else "",
        }

    @staticmethod
    def line(fields: Fields) -> bytes:
        """What is empty is left out, what callers choose is cut: never more than MAX_LINE."""
        line = _line(fields, MAX_PATH, MAX_HOST, MAX_ID)
        return line if len(line) <= MAX_LINE else _line(fields, MAX_LEFT, MAX_LEFT, MAX_LEFT)

    def _add(self, fields: Fields) -> None:
        if not self._lines:
            self._dispatcher.gather(self)
        self._lines.append(self.line(fields))

    def _write(self, octets: bytes) -> bool:
        try:
            os.write(self._descriptor, octets)
        except OSError:
            return False
        self._missing = 0
        return True

    def _drop(self, lines: int) -> None:
        self._missing += lines
        self._counters.log_dropped += lines

    def _takes_sample(self) -> bool:
        now = self._dispatcher.now
        if now - self._sampling_since >= 1.0:
            self._sampling_since = now
            self._samples = 0
        self._samples += 1
        return self._samples <= SAMPLES_PER_SECOND or self._settings.sample >= 1.0

    def _admits(self, lane: Lane, why: str) -> bool:
        """False: there were too many alike, and this one is only counted."""
        if self._floods.admits((lane.source, lane.destination, why)):
            return True
        self._counters.log_left_out += 1
        return False

    def _tell_left_out(self, alike: Alike, left_out: int) -> None:
        if self._is_on:
            source, destination, why = alike
            self._add(
                {
                    "time": self._time(),
                    "source": source,
                    "destination": destination,
                    "reason": why,
                    "left_out": left_out,
                    "seconds": FLOOD_SECONDS,
                }
            )

    def _next_due(self) -> int:
        share = self._settings.sample
        if not self._is_on or share <= 0.0:
            return NOT_DUE
        if share >= 1.0:
            return 1
        return 1 + int(math.log(1.0 - random.random()) / math.log(1.0 - share))  # noqa: S311  (a sample, no secret)

    def _time(self) -> str:
        """RFC 3339 in UTC, with microseconds."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1_000_000):06d}Z"


def is_failure(response_class: int) -> bool:
    """What ended in this class is logged whatever is sampled."""
    return response_class >= SERVER_ERROR and response_class != CLOSED


def _line(fields: Fields, path: int, host: int, request_id: int) -> bytes:
    said: Fields = {}
    for name, value in fields.items():
        if value == "" or (value == 0 and name in ("status", "retries")):
            continue
        if name == "path":
            value = str(value)[:path]
        elif name == "host":
            value = str(value)[:host]
        elif name == "request_id":
            value = str(value)[:request_id]
        said[name] = value
    line = _encode(said)
    if not line.isascii() or line.find(b"\x7f") >= 0:
        line = _encode_as_ascii(said).encode("ascii")
    return line + b"\n"


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _place(endpoint: EndpointRef | None) -> str:
    return f"{endpoint.workload}:{endpoint.port}" if endpoint is not None else ""
