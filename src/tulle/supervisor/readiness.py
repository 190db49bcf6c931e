"""Whether a service takes requests: asked from inside its pod, when, and what the answers come to.

Until the first yes often, then every period; after so many noes in a row it is unready, and asked often again. The
periods of all pods end at the same moments of the box's clock, so that a box at rest wakes once for all of them.
"""

import socket
import time

from tulle.supervisor import words
from tulle.wire.plan import Readiness

_FIRST_SECONDS, _USUAL_SECONDS, _SLOW_SECONDS = 0.02, 0.5, 2.0


class Asking:
    """When to ask, and what to tell the supervisor. Reads no clock: whoever asks says what time it is."""

    def __init__(self, readiness: Readiness, now: float) -> None:
        self._readiness = readiness
        self._began = now
        self._next = now
        self._pause = _FIRST_SECONDS
        self._is_ready = False
        self._was_ready = False
        self._slow_for = ""
        """Why it is not ready in time, as last told; empty while there is time."""
        self._noes = 0

    def wait(self, now: float) -> float | None:
        """Seconds until the next question; None when there is none."""
        return None if self._next == float("inf") else max(self._next - now, 0.0)

    def answered(self, fault: str, now: float) -> tuple[str, ...]:
        """The words to say about an answer; none when nothing is new. `fault` is empty for a yes."""
        self._noes = self._noes + 1 if fault else 0
        said: tuple[str, ...] = ()
        if not fault and not self._is_ready:
            self._is_ready = self._was_ready = True
            said = (words.READY,)
        elif self._is_ready and self._noes >= self._readiness.failure_threshold:
            self._is_ready = False
            said = (words.UNREADY, fault)
        elif self._is_late(now) and fault not in ("", self._slow_for):
            self._slow_for = fault
            said = (words.SLOW, fault)
        self._next = self._after(now)
        return said

    def _is_late(self, now: float) -> bool:
        return not self._was_ready and now - self._began > self._readiness.startup_seconds

    def _after(self, now: float) -> float:
        period = self._readiness.period_seconds
        if self._is_ready:
            return (now // period + 1) * period if period else float("inf")
        if self._was_ready:
            return now + min(period, _SLOW_SECONDS)
        self._pause = _SLOW_SECONDS if self._slow_for else min(self._pause * 1.5, _USUAL_SECONDS)
        return now + self._pause


def fault_of(readiness: Readiness) -> str:
    """Asks once, on both loopback addresses: empty when either says yes, else why the first does not."""
    first = _fault(socket.AF_INET, "127.0.0.1", readiness)
    return first if first and _fault(socket.AF_INET6, "::1", readiness) else ""


def _fault(family: socket.AddressFamily, address: str, readiness: Readiness) -> str:
    # A plain connect to a number: what looks names up imports a codec, and this user may not read where Python lies.
    deadline = time.monotonic() + readiness.timeout_seconds
    where = f"GET {readiness.path} at port {readiness.port}" if readiness.path else f"port {readiness.port}"
    head = b""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(readiness.timeout_seconds)
            connection.connect((address, readiness.port))
            if not readiness.path:
                return ""
            request = f"GET {readiness.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode("latin-1", "replace"))
            while len(head) < 12 and (more := connection.recv(12 - len(head))):
                head += more
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
    except TimeoutError:
        return f"{where}: no answer in {readiness.timeout_seconds:g} s"
    except OSError as fault:
        return f"{where}: {fault.strerror}"
    status = head[9:12].decode("ascii", "replace")
    if not head.startswith(b"HTTP/1.") or len(status) < 3 or not status.isdecimal():
        return f"{where}: no HTTP"
    return "" if status[0] in "23" else f"{where}: {status}"
