"""Keeps connections busy against one HTTP/1.1 address and tells exactly what became of each request.

One thread, one epoll, the standard library alone: so that the demo, the tests and a service inside a pod share it. It repeats
nothing: whatever was sent and not answered is a failure, with its class and its time.

    python tools/load.py http://127.0.0.1:8080/ --seconds 5 --rate 200 --connections 8
"""

import argparse
import enum
import errno
import heapq
import json
import re
import select
import signal
import socket
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit


class Failure(enum.StrEnum):
    """What became of a request that got no answer."""

    REFUSED = "refused"
    """connect() was refused: nobody listened."""
    RESET = "reset"
    CLOSED = "closed"
    """The peer closed in good order before the answer was whole."""
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    """The answer was not HTTP/1.1 as this reader knows it."""


class Sample(NamedTuple):
    """One finished request; times are of `time.monotonic()`."""

    started: float
    ended: float
    outcome: int | Failure
    """The status, or why there is none."""


@dataclass(slots=True)
class Report:
    """What happened so far; whole once `Load.run` has returned."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """`x-tulle-reason` of answers that the mesh made itself."""
    versions: Counter[str] = field(default_factory=Counter)
    """Who answered with 200: the header `x-version`."""
    failures: Counter[Failure] = field(default_factory=Counter)
    latencies: "array[float]" = field(default_factory=lambda: array("f"))
    """Seconds, of every answer."""
    samples: list[Sample] = field(default_factory=list)
    """Every finished request, when the load was told to keep them; otherwise those without an answer."""
    connects: int = 0
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        return self.statuses.total()

    @property
    def failed(self) -> int:
        """Requests without an answer, and those answered 4xx or 5xx."""
        return self.failures.total() + sum(n for status, n in self.statuses.items() if status >= 400)

    def quantile(self, q: float) -> float:
        """Seconds; NaN when nothing was answered."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    def as_json(self) -> str:
        """All but the latencies themselves."""
        return json.dumps({
            "sent": self.sent, "answered": self.answered, "failed": self.failed, "connects": self.connects,
            "seconds": self.seconds, "statuses": self.statuses, "reasons": self.reasons, "versions": self.versions,
            "failures": self.failures, "p50": self.quantile(0.5), "p99": self.quantile(0.99),
            "samples": [list(s) for s in self.samples],
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, how fast and until when: whichever of `count` and `seconds` comes first."""

    url: str
    connections: int = 8
    rate: float | None = None
    """Requests a second; None: as fast as the answers come."""
    count: int | None = None
    seconds: float | None = None
    keep_alive: bool = True
    """False: a connection for each request."""
    timeout_seconds: float = 10.0
    headers: tuple[str, ...] = ()
    """Whole lines, `name: value`."""
    keep_samples: bool = False


class Load:
    """Runs one order in the calling thread. `stop` may be called from another."""

    def __init__(self, order: Order, on_tick: Callable[[Report], None] | None = None) -> None:
        self.report = Report()
        self._order = order
        self._on_tick = on_tick
        url = urlsplit(order.url)
        self._address = (url.hostname or "127.0.0.1", url.port or 80)
        lines = [f"GET {url.path or '/'}{'?' + url.query if url.query else ''} HTTP/1.1", f"host: {url.netloc}"]
        lines += [*order.headers, *([] if order.keep_alive else ["connection: close"]), "", ""]
        self._request = "\r\n".join(lines).encode()
        self._epoll = select.epoll()
        self._idle: deque[_Connection] = deque()
        """Taken in turn: none is left for so long that it never hears that it is to end."""
        self._open: dict[int, _Connection] = {}
        self._deadlines: list[tuple[float, int, int]] = []
        self._stopped = False

    def stop(self) -> None:
        """Sends no more; what is in flight may finish."""
        self._stopped = True

    @property
    def in_flight(self) -> int:
        """Requests sent, or being connected for, and not finished."""
        return len(self._open) - len(self._idle)

    def run(self) -> Report:
        """Returns when the last request has finished or timed out."""
        began = time.monotonic()
        next_tick = began + 1.0
        try:
            while True:
                now = time.monotonic()
                self._start_due(began, now)
                if self._is_over(began, now) and not self.in_flight:
                    return self.report
                for fd, events in self._epoll.poll(self._wait(began, now)):
                    connection = self._open.get(fd)
                    if connection is not None:
                        self._advance(connection, events)
                self._expire(time.monotonic())
                self.report.seconds = time.monotonic() - began
                if self._on_tick is not None and time.monotonic() >= next_tick:
                    next_tick += 1.0
                    self._on_tick(self.report)
        finally:
            for connection in self._open.values():
                connection.socket.close()
            self._epoll.close()

    def _is_over(self, began: float, now: float) -> bool:
        order = self._order
        return (
            self._stopped
            or (order.count is not None and self.report.sent >= order.count)
            or (order.seconds is not None and now - began >= order.seconds)
        )

    def _start_due(self, began: float, now: float) -> None:
        order = self._order
        while self.in_flight < order.connections and not self._is_over(began, now):
            due = now
            if order.rate is not None:
                due = began + self.report.sent / order.rate
                if due > now:
                    return
            self.report.sent += 1
            connection = self._idle.popleft() if self._idle else self._connect(due)
            if connection is None:
                continue
            # An open-loop source counts from when a request was due, or a stall of the server would hide itself.
            connection.started = due
            connection.serial = self.report.sent
            heapq.heappush(self._deadlines, (now + order.timeout_seconds, connection.fd, connection.serial))
            if connection.is_connected:
                self._send(connection)

    def _wait(self, began: float, now: float) -> float:
        order = self._order
        wait = 0.2
        if order.rate is not None and self.in_flight < order.connections:
            wait = min(wait, began + self.report.sent / order.rate - now)
        return max(0.0, wait)

    def _connect(self, due: float) -> "_Connection | None":
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.report.connects += 1
        connection = _Connection(plain)
        self._open[connection.fd] = connection
        code = plain.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            connection.started = due
            self._fail(connection, _failure_of(code))
            return None
        self._epoll.register(connection.fd, select.EPOLLOUT)
        return connection

    def _advance(self, connection: "_Connection", events: int) -> None:
        if not connection.is_connected:
            code = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._fail(connection, _failure_of(code))
                return
            connection.is_connected = True
            self._epoll.modify(connection.fd, select.EPOLLIN)
            self._send(connection)
            return
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as fault:
            self._fail(connection, _failure_of(fault.errno))
            return
        if not data:
            self._fail(connection, Failure.CLOSED)
            return
        try:
            answer = connection.answer.feed(data)
        except ValueError:
            self._fail(connection, Failure.MALFORMED)
            return
        if answer is not None:
            self._finish(connection, answer)

    def _send(self, connection: "_Connection") -> None:
        connection.answer = _AnswerReader()
        try:
            connection.socket.send(self._request)
        except OSError as fault:
            self._fail(connection, _failure_of(fault.errno))

    def _finish(self, connection: "_Connection", answer: "_Answer") -> None:
        now = time.monotonic()
        report = self.report
        report.statuses[answer.status] += 1
        report.latencies.append(now - connection.started)
        if answer.reason:
            report.reasons[answer.reason] += 1
        if answer.status == 200 and answer.version:
            report.versions[answer.version] += 1
        if self._order.keep_samples:
            report.samples.append(Sample(connection.started, now, answer.status))
        connection.serial = 0
        if answer.is_last or not self._order.keep_alive:
            self._drop(connection)
        else:
            self._idle.append(connection)

    def _fail(self, connection: "_Connection", failure: Failure) -> None:
        """An idle connection that ends is no failure; a request is."""
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self.report.failures[failure] += 1
            self.report.samples.append(Sample(connection.started, time.monotonic(), failure))
        self._drop(connection)

    def _drop(self, connection: "_Connection") -> None:
        del self._open[connection.fd]
        connection.socket.close()

    def _expire(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            _, fd, serial = heapq.heappop(self._deadlines)
            connection = self._open.get(fd)
            if connection is not None and connection.serial == serial:
                self._fail(connection, Failure.TIMEOUT)


class _Connection:
    __slots__ = ("answer", "fd", "is_connected", "serial", "socket", "started")

    def __init__(self, plain: socket.socket) -> None:
        self.socket = plain
        self.fd = plain.fileno()
        self.is_connected = False
        self.started = 0.0
        self.serial = 0
        self.answer = _AnswerReader()


class _Answer(NamedTuple):
    status: int
    reason: str
    version: str
    is_last: bool


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LAST = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_REASON = re.compile(rb"\r\nx-tulle-reason: *([^\r]*)", re.IGNORECASE)
_VERSION = re.compile(rb"\r\nx-version: *([^\r]*)", re.IGNORECASE)


class _AnswerReader:
    """Reads one answer with a length or in chunks; bodies are counted and thrown away."""

    __slots__ = ("_head", "_missing", "_tail")

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._missing = -1

    def feed(self, data: bytes) -> _Answer | None:
        """The answer once it is whole. Raises ValueError when it is no HTTP/1.1."""
        if self._missing < 0:
            data = self._tail + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._tail = data
                return None
            self._head, data, self._tail = data[: end + 2], data[end + 4 :], b""
            length = _LENGTH.search(self._head)
            self._missing = int(length[1]) if length else 0
            if not length and not _CHUNKED.search(self._head):
                raise ValueError("neither a length nor chunked")
        if _CHUNKED.search(self._head):
            self._tail += data
            return self._answer() if self._chunks_are_whole() else None
        self._missing -= len(data)
        if self._missing < 0:
            raise ValueError("more than was announced")
        return self._answer() if self._missing == 0 else None

    def _chunks_are_whole(self) -> bool:
        while (end := self._tail.find(b"\r\n")) >= 0:
            size = int(self._tail[:end].partition(b";")[0], 16)
            if len(self._tail) < end + size + 4:
                return False
            self._tail = self._tail[end + size + 4 :]
            if size == 0:
                return True
        return False

    def _answer(self) -> _Answer:
        head = self._head
        if not head.startswith(b"HTTP/1.1 "):
            raise ValueError("not HTTP/1.1")
        reason, version = _REASON.search(head), _VERSION.search(head)
        return _Answer(
            int(head[9:12]),
            reason[1].decode("latin-1") if reason else "",
            version[1].decode("latin-1") if version else "",
            _LAST.search(head) is not None,
        )


def _failure_of(code: int | None) -> Failure:
    if code == errno.ECONNREFUSED:
        return Failure.REFUSED
    return Failure.TIMEOUT if code == errno.ETIMEDOUT else Failure.RESET


def main() -> None:
    """Runs one order from the command line and prints its report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--close", action="store_true", help="a connection for each request")
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--samples", action="store_true", help="keep every request, not only the failed ones")
    given = parser.parse_args()
    order = Order(
        url=given.url, connections=given.connections, rate=given.rate, count=given.count, seconds=given.seconds,
        keep_alive=not given.close, timeout_seconds=given.timeout, keep_samples=given.samples,
    )  # fmt: skip
    load = Load(order)
    signal.signal(signal.SIGTERM, lambda *_: load.stop())
    print(load.run().as_json())


if __name__ == "__main__":
    main()
