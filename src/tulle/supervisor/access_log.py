"""What proxies write of requests that ended: taken from their pipe, kept in files that do not grow for ever.

One pipe for all proxies, as long as the supervisor lives: a proxy that ends, or takes another's place, loses no line. Whoever reads
slowly costs lines, which the proxy counts, and never a request: the pipe does not block.
"""

import contextlib
import fcntl
import os

from tulle.supervisor.flow import FLOW, Credit, Flow
from tulle.supervisor.journal import LogFile, Watching

PIPE_BYTES = 1 << 18
"""Some seconds of a busy box. It holds memory only while lines wait."""
_READ_BYTES = 64 << 10


class AccessLog:
    """Pumps whole lines. What no line ends is dropped once it is longer than any."""

    def __init__(self, loop: Watching, log: LogFile, flow: Flow = FLOW) -> None:
        self._loop = loop
        self._log = log
        self._credit = Credit(flow, loop.now())
        self._rest = b""
        self._is_kept = True
        self._read, self.descriptor = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        """The end for proxies."""
        with contextlib.suppress(OSError):  # beyond what this user may have in pipes
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        loop.read(self._read, self._take)

    def want(self, bytes_of_one: int, files: int) -> None:
        """How much is kept from now on; 0 files: nothing."""
        self._is_kept = files > 0
        self._log.limit(bytes_of_one, files)

    def finish(self) -> None:
        """Stores what is left. No proxy writes any more."""
        while self._pump():
            pass
        self._loop.forget(self._read)
        os.close(self._read)
        os.close(self.descriptor)
        self._log.close()

    def _take(self) -> None:
        self._pump()
        if seconds := self._credit.pause():
            self._loop.forget(self._read)
            self._loop.later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._loop.read(self._read, self._take)

    def _pump(self) -> bool:
        try:
            octets = os.read(self._read, _READ_BYTES)
        except BlockingIOError:
            return False
        whole, newline, rest = (self._rest + octets).rpartition(b"\n")
        self._rest = rest if len(rest) < _READ_BYTES else b""
        stored = self._log.append_records(whole + newline) if newline and self._is_kept else 0
        self._credit.charge(stored, self._loop.now())
        return True
