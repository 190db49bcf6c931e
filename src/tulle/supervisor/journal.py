"""Output of what runs here, in files that do not grow for ever.

Each line is stored in the form that Kubernetes' container runtimes use, so that all logs of a node merge by time:

    2026-11-21T14:31:33.123456789Z stdout F the line as it was written

`F` ends a line; `P` is a part of one longer than 16 KiB. At 4 MiB `x.log` becomes `x.log.1`, that one `x.log.2`,
and what was `x.log.2` is gone. Files are 0600.

Who writes more than `FLOW` lets through waits: its pipe is read again when it may go on. So no service keeps the
supervisor busy, and none wears out the disk.
"""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from tulle.supervisor.flow import FLOW, Credit, Flow
from tulle.supervisor.loop import Timer

LIMIT_BYTES = 4 << 20
KEPT_FILES = 3
MOST_FILES = 10
"""That any log may be told to keep."""
_PART_BYTES = 16 << 10
_READ_BYTES = 64 << 10
_LEFT_READS = 64
"""Of what an ended process has left: more than a pipe holds, and an end where another goes on writing."""


class Watching(Protocol):
    """What an Output needs of the Loop."""

    def now(self) -> float: ...
    def read(self, descriptor: int, callback: Callable[[], object]) -> None: ...
    def forget(self, descriptor: int) -> None: ...
    def later(self, seconds: float, callback: Callable[[], object]) -> Timer: ...


class LogFile:
    """Appends stamped lines; rotates by size. A full disk loses lines, never the caller."""

    def __init__(self, path: str, limit_bytes: int = LIMIT_BYTES, kept_files: int = KEPT_FILES) -> None:
        self.path = path
        self._limit = limit_bytes
        self._kept = kept_files
        self._descriptor = -1
        self._size = 0
        self._lost = 0

    def append(self, stream: str, lines: list[tuple[bytes, bool]]) -> int:
        """Stores lines, or parts (False) of them, of `stdout` or `stderr`; returns how many bytes that takes."""
        stamp = stamp_of(time.time_ns())
        records = [b"%s %s %s %s\n" % (stamp, stream.encode(), b"F" if whole else b"P", text) for text, whole in lines]
        if self._lost:
            records.insert(0, b"%s stderr F [tulle lost %d lines: could not write]\n" % (stamp, self._lost))
        return self._store(b"".join(records), len(lines))

    def append_records(self, records: bytes) -> int:
        """Stores whole lines of JSON as they are; returns how many bytes that takes."""
        count = records.count(b"\n")
        if self._lost:
            records = b'{"time":"%s","lost":%d}\n' % (stamp_of(time.time_ns()), self._lost) + records
        return self._store(records, count)

    def limit(self, bytes_of_one: int, files: int) -> None:
        """How much is kept from now on; the oldest files beyond that are removed, with 0 all of them."""
        self._limit = bytes_of_one
        self._kept = files
        if not files:
            self.close()
        for number in range(files, MOST_FILES):
            with contextlib.suppress(OSError):
                os.unlink(f"{self.path}.{number}" if number else self.path)

    def _store(self, text: bytes, count: int) -> int:
        try:
            self._open()
            if self._size and self._size + len(text) > self._limit:
                self._rotate()
            self._size += (written := os.write(self._descriptor, text))
            self._lost = 0 if written == len(text) else text.count(b"\n", written)
        except OSError:
            self._lost += count
        return len(text)

    def close(self) -> None:
        """Opens again by itself."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self.path, flags, 0o600)
            self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        for number in range(self._kept - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, f"{self.path}.{number}")
        with contextlib.suppress(FileNotFoundError):
            if self._kept == 1:
                os.unlink(self.path)
        self._open()


class Output:
    """Two pipes that a process writes to, pumped into a log file until both are closed at the other end."""

    def __init__(self, loop: Watching, log: LogFile, flow: Flow = FLOW) -> None:
        self._loop = loop
        self._log = log
        self._credit = Credit(flow, loop.now())
        self._pause: Timer | None = None
        self._rest: dict[int, bytes] = {}
        self._streams: dict[int, str] = {}
        out, self.stdout = os.pipe2(os.O_CLOEXEC)
        try:
            err, self.stderr = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(out)
            os.close(self.stdout)
            raise
        # `stdout` and `stderr` are ends for the process: `handed_over` closes them here.
        for descriptor, stream in ((out, "stdout"), (err, "stderr")):
            os.set_blocking(descriptor, False)
            self._rest[descriptor] = b""
            self._streams[descriptor] = stream
        self._listen()

    def handed_over(self) -> None:
        """The process has its ends."""
        os.close(self.stdout)
        os.close(self.stderr)

    def finish(self) -> None:
        """Stores what has been written so far and closes; to be called when the process has ended."""
        if self._pause:
            self._pause.cancel()
        for descriptor in list(self._rest):
            for _ in range(_LEFT_READS):
                if not self._pump(descriptor):
                    break
            if descriptor in self._rest:  # somebody else holds the other end
                if rest := self._rest[descriptor]:
                    self._log.append(self._streams[descriptor], [(rest, False)])
                self._forget(descriptor)

    def _listen(self) -> None:
        self._pause = None
        for descriptor in self._rest:
            self._loop.read(descriptor, functools.partial(self._take, descriptor))

    def _take(self, descriptor: int) -> None:
        if descriptor not in self._rest or self._pause:
            return
        self._pump(descriptor)
        if self._rest and (seconds := self._credit.pause()):
            for one in self._rest:
                self._loop.forget(one)
            self._pause = self._loop.later(seconds, self._listen)

    def _pump(self, descriptor: int) -> bool:
        """True when there may be more."""
        stream = self._streams[descriptor]
        try:
            text = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        lines, self._rest[descriptor] = split_lines(self._rest[descriptor] + text, at_end=not text)
        self._credit.charge(self._log.append(stream, lines) if lines else 0, self._loop.now())
        if not text:
            self._forget(descriptor)
        return bool(text)

    def _forget(self, descriptor: int) -> None:
        self._loop.forget(descriptor)
        os.close(descriptor)
        del self._rest[descriptor]


class Voice:
    """What the supervisor itself has to say: to its stderr and its log."""

    def __init__(self, log: LogFile) -> None:
        self._log = log

    def say(self, text: str) -> None:
        """One line."""
        self._log.append("stderr", [(text.encode("utf-8", "replace"), True)])
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"tulle: {text}\n")
            sys.stderr.flush()


def split_lines(text: bytes, *, at_end: bool) -> tuple[list[tuple[bytes, bool]], bytes]:
    """Whole lines and parts of long ones, and what is left to be completed."""
    *whole, rest = text.split(b"\n")
    lines: list[tuple[bytes, bool]] = []
    for line in whole:
        lines += _parts(line)
        lines.append((line[len(line) - len(line) % _PART_BYTES :], True))
    parts = _parts(rest)
    lines += parts
    rest = rest[len(parts) * _PART_BYTES :]
    if at_end and rest:
        return [*lines, (rest, False)], b""
    return lines, rest


def _parts(line: bytes) -> list[tuple[bytes, bool]]:
    return [(line[at : at + _PART_BYTES], False) for at in range(0, len(line) - len(line) % _PART_BYTES, _PART_BYTES)]


def stamp_of(nanoseconds: int) -> bytes:
    """RFC 3339 in UTC."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % fraction
