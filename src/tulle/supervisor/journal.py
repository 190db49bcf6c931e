"""Output of what runs here, in files that do not grow for ever.

Each line is stored in the form that Kubernetes' container runtimes use, so that all logs of a node merge by time:

    2026-11-21T14:31:33.123456789Z stdout F the line as it was written

`F` ends a line; `P` is a part of one longer than 16 KiB. At 4 MiB `x.log` becomes `x.log.1`, that one `x.log.2`,
and what was `x.log.2` is gone. Files are 0600.
"""

import contextlib
import functools
import os
import sys
import time

from tulle.supervisor.loop import Loop

LIMIT_BYTES = 4 << 20
KEPT_FILES = 3
_PART_BYTES = 16 << 10
_READ_BYTES = 64 << 10


class LogFile:
    """Appends stamped lines; rotates by size. A full disk loses lines, never the caller."""

    def __init__(self, path: str, limit_bytes: int = LIMIT_BYTES, kept_files: int = KEPT_FILES) -> None:
        self.path = path
        self._limit = limit_bytes
        self._kept = kept_files
        self._descriptor = -1
        self._size = 0
        self._lost = 0

    def append(self, stream: str, lines: list[tuple[bytes, bool]]) -> None:
        """Stores lines, or parts (False) of them, of `stdout` or `stderr`."""
        stamp = _stamp(time.time_ns())
        records = [b"%s %s %s %s\n" % (stamp, stream.encode(), b"F" if whole else b"P", text) for text, whole in lines]
        if self._lost:
            records.insert(0, b"%s stderr F [tulle lost %d lines: could not write]\n" % (stamp, self._lost))
        text = b"".join(records)
        try:
            self._open()
            if self._size and self._size + len(text) > self._limit:
                self._rotate()
            os.write(self._descriptor, text)
            self._size += len(text)
            self._lost = 0
        except OSError:
            self._lost += len(lines)

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
        self._open()


class Output:
    """Two pipes that a process writes to, pumped into a log file until both are closed at the other end."""

    def __init__(self, loop: Loop, log: LogFile) -> None:
        self._loop = loop
        self._log = log
        self._rest: dict[int, bytes] = {}
        self._streams: dict[int, str] = {}
        out, self.stdout = os.pipe2(os.O_CLOEXEC)
        err, self.stderr = os.pipe2(os.O_CLOEXEC)
        """Ends for the process; closed here by `handed_over`."""
        for descriptor, stream in ((out, "stdout"), (err, "stderr")):
            os.set_blocking(descriptor, False)
            self._rest[descriptor] = b""
            self._streams[descriptor] = stream
            loop.read(descriptor, functools.partial(self._pump, descriptor, stream))

    def handed_over(self) -> None:
        """The process has its ends."""
        os.close(self.stdout)
        os.close(self.stderr)

    def drain(self) -> None:
        """Stores what has been written so far; to be called when the process has ended."""
        for descriptor, stream in list(self._streams.items()):
            while descriptor in self._rest and self._pump(descriptor, stream):
                pass

    def _pump(self, descriptor: int, stream: str) -> bool:
        """True when there may be more."""
        try:
            text = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        lines, self._rest[descriptor] = split_lines(self._rest[descriptor] + text, at_end=not text)
        if lines:
            self._log.append(stream, lines)
        if not text:
            self._loop.forget(descriptor)
            os.close(descriptor)
            del self._rest[descriptor]
        return bool(text)


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


def _stamp(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ" % fraction
