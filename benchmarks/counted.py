"""Traffic in exact numbers, so that what one request costs the proxy can be counted, not timed.

One event is in flight at a time where this process plays both ends; gRPC calls come all at once, and again when all are answered.
"""

import select
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from benchmarks.backend import Backend
from benchmarks.calls import SERVICES, compile_peer, start_answering
from benchmarks.ends import driven, undriven
from benchmarks.load import FIELDS
from benchmarks.process import Broken
from benchmarks.traffic import Traffic

STREAMS: Final = 32
"""gRPC calls at a time, on one connection."""
BODY: Final = b'{"order":1}'
ANSWER: Final = (
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 22:00:00 GMT\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\nConnection: keep-alive\r\n"
)
ANSWER_FIELDS: Final = "Cache-Control: no-store\r\nVary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\n"
"""With ETag and X-Answer-Id, which are what differs, ten."""
REQUEST_FIELDS: Final = "".join(f"{name}: {value}\r\n" for name, value in FIELDS.items())
PATIENCE_MS: Final = 60_000
"""For one event; the proxy may run fifty times slower under its counter."""


class Ends(Protocol):
    """Caller and service of one kind of traffic."""

    traffic: Traffic

    def run(self, port: int, variant: str, requests: int) -> None:
        """Sends exactly so many requests through the proxy's port. Raises Broken when one is not answered as it should be."""


class Group(NamedTuple):
    """What one proxy serves: its variants follow one another."""

    name: str
    variants: tuple[str, ...]
    profiled: int
    """Requests in the first of two windows under a profiler; the second has twice as many."""
    traced: int
    """The same where every system call or allocation is counted: few where each request has its own, many where they are shared."""
    start: Callable[[ExitStack, Path], Ends]

    def case(self, variant: str) -> str:
        """The name of one variant's figures."""
        return f"{self.name}-{variant}"


class Requests:
    """HTTP/1.1, one connection at each side, the heads those of the bench: of ten fields each way, of which two may differ, or minimal."""

    def __init__(self, started: ExitStack) -> None:
        self._service = _Service(started, self._answer)
        self.traffic = _traffic("http1", self._service.backend, self._await, methods=("GET", "POST"))
        self._started = started
        self._caller: socket.socket | None = None
        self._numbers = count(1)
        self._variant = ""

    def run(self, port: int, variant: str, requests: int) -> None:
        if self._caller is None or variant != self._variant:
            self._begin(port, variant)
        assert self._caller is not None
        for number in islice(self._numbers, requests):
            self._caller.sendall(request_head(variant, number))
            said = self._service.serve_until(self._caller)
            if not (said.startswith(b"HTTP/1.1 200") and said.endswith(BODY)):
                raise Broken(f"the proxy answers {said[:200]!r}")

    def _begin(self, port: int, variant: str) -> None:
        """New connections at both sides: what a connection has learnt of the heads before is no part of this variant."""
        if self._caller is not None:
            self._caller.close()
            self._service.close()
        self._variant = variant
        self._caller = self._started.enter_context(socket.create_connection(("127.0.0.1", port)))

    def _answer(self, asked: bytes) -> bytes:
        if not asked.endswith(b"\r\n\r\n"):
            raise Broken(f"the proxy asks {asked[-200:]!r}")
        return answer_head(self._variant, next(self._numbers)) + BODY

    def _await(self, _name: str, port: int, _process: "subprocess.Popen[bytes]", _log: Path) -> None:
        self.run(port, "repeat", 1)


class Connections:
    """TCP: each connection carries a few octets each way and is closed by its caller."""

    def __init__(self, started: ExitStack) -> None:
        self._service = _Service(started, lambda asked: asked[::-1])
        self.traffic = _traffic("tcp", self._service.backend, self._await, is_tcp=True)

    def run(self, port: int, variant: str, requests: int) -> None:
        for _ in range(requests):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.sendall(b"ping")
                said = self._service.serve_until(caller)
                if said != b"gnip":
                    raise Broken(f"the proxy answers {said[:200]!r}")
            self._service.serve_until_closed()

    def _await(self, _name: str, port: int, _process: "subprocess.Popen[bytes]", _log: Path) -> None:
        self.run(port, "connect", 1)


class Calls:
    """gRPC unary calls on one connection, between the ends of `grpc_peer.c`."""

    def __init__(self, started: ExitStack, work: Path) -> None:
        self._peer = compile_peer(work)
        backend = start_answering(started, work, self._peer)
        prefixes = tuple(f"/shop.{service}/" for service in SERVICES)
        self.traffic = _traffic("grpc", backend, self._await, methods=("POST",), prefixes=prefixes, is_http2=True)

    def run(self, port: int, variant: str, requests: int) -> None:
        counted = driven(self._peer, "load", port, PATIENCE_MS // 1000, 1, STREAMS, variant, 1, requests)
        if counted["failed"] or counted["requests"] != requests:
            raise Broken(
                f"of {requests} calls {counted['requests']:.0f} were answered and {counted['failed']:.0f} failed"
            )

    def _await(self, _name: str, port: int, _process: "subprocess.Popen[bytes]", _log: Path) -> None:
        self.run(port, "repeat", 1)


GROUPS: Final = (
    Group("http1", ("repeat", "differ", "answers", "minimal"), 1000, 800, lambda started, _work: Requests(started)),
    Group("grpc", ("repeat", "differ"), 1600, 6400, Calls),
    Group("tcp", ("connect",), 600, 200, lambda started, _work: Connections(started)),
)
"""`differ`: query, two fields of each request and two of each answer are new; `answers`: only those of the answer."""


class _Service:
    """Answers each read of a connection, on two ports for two versions, while somebody waits for a caller's answer."""

    def __init__(self, started: ExitStack, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._poll = select.poll()
        self._doors: dict[int, socket.socket] = {}
        self._served: dict[int, socket.socket] = {}
        for _ in range(2):
            door = started.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
            self._doors[door.fileno()] = door
            self._poll.register(door, select.POLLIN)
        started.callback(self.close)
        v1, v2 = (door.getsockname()[1] for door in self._doors.values())
        self.backend = Backend((v1, v2))

    def serve_until(self, caller: socket.socket) -> bytes:
        """What the caller reads first."""
        self._poll.register(caller, select.POLLIN)
        try:
            while True:
                for ready in self._turn():
                    if ready == caller.fileno():
                        return caller.recv(65536)
        finally:
            self._poll.unregister(caller)

    def serve_until_closed(self) -> None:
        """Returns when the proxy has closed all its connections to the service."""
        while self._served:
            self._turn()

    def _turn(self) -> list[int]:
        """Serves what is ready; gives the descriptors that are not the service's."""
        others = []
        ready = self._poll.poll(PATIENCE_MS)
        if not ready:
            raise Broken("the proxy neither asks nor answers")
        for descriptor, _ in ready:
            if descriptor in self._doors:
                served, _ = self._doors[descriptor].accept()
                self._served[served.fileno()] = served
                self._poll.register(served, select.POLLIN)
            elif descriptor not in self._served:
                others.append(descriptor)
            elif asked := self._served[descriptor].recv(65536):
                self._served[descriptor].sendall(self._answer(asked))
            else:
                self._poll.unregister(descriptor)
                self._served.pop(descriptor).close()
        return others

    def close(self) -> None:
        """Closes all connections, not the ports."""
        for served in self._served.values():
            self._poll.unregister(served)
            served.close()
        self._served.clear()


def request_head(variant: str, number: int) -> bytes:
    """The bench's head of a request; what differs is the number's own."""
    if variant == "minimal":
        return b"GET /orders/0 HTTP/1.1\r\nHost: orders\r\n\r\n"
    number = number if variant == "differ" else 0
    own = f"X-Trace: 4bf92f3577b34da6{number:016x}\r\nX-Request-Start: t=1718000000.{number % 1_000_000:06}\r\n"
    query = f"cart={number:016x}" if variant == "differ" else "page=2"
    return f"GET /orders/1?{query} HTTP/1.1\r\n{REQUEST_FIELDS}{own}\r\n".encode()


def answer_head(variant: str, number: int) -> bytes:
    """nginx's head of an answer; what differs is the number's own."""
    if variant == "minimal":
        return f"{ANSWER}\r\n".encode()
    number = number if variant in ("differ", "answers") else 0
    return f'{ANSWER}{ANSWER_FIELDS}ETag: "{number:08x}"\r\nX-Answer-Id: {number:032x}\r\n\r\n'.encode()


def _traffic(
    name: str,
    backend: Backend,
    await_service: Callable[[str, int, "subprocess.Popen[bytes]", Path], None],
    methods: tuple[str, ...] = (),
    prefixes: tuple[str, ...] = ("/orders/",),
    is_http2: bool = False,
    is_tcp: bool = False,
) -> Traffic:
    return Traffic(name, "request", is_http2, methods, prefixes, (), backend, undriven, await_service, is_tcp=is_tcp)
