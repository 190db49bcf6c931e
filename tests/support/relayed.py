"""A relay in this process, a caller and an endpoint of one connection each.

The endpoint reads with `h11`. Nothing waits: a run is over when no end has anything more to say.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Self, final

import h11

from tests.support.bridging import Pairs
from tests.support.relay_bench import Bench
from tulle.core.backends import EndpointRef
from tulle.wire.snapshot import Limits, Protocol

LIMITS: Final = Limits()
QUIET: Final = 3
"""Turns in which nothing happens, until all is said."""
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STATUS: Final = re.compile(rb"(?:\A|(?<=\r\n\r\n)|(?<=\r\n\r\nok))HTTP/1\.1 ([2-5]\d\d) ")


@dataclass(slots=True)
class Run:
    """What one caller's connection came to."""

    came: bytes = b""
    """What the caller got."""
    seen: list[tuple[bytes, bytes, Pairs]] = field(default_factory=list)
    """Target, body and fields of each whole request that the endpoint read."""
    faults: list[str] = field(default_factory=list)
    """What `h11` did not like."""

    @property
    def statuses(self) -> list[bytes]:
        """Final ones."""
        return STATUS.findall(self.came)


class House:
    """One service behind a door."""

    def __init__(self, answer: tuple[bytes, ...] = (OK,), *, ends: bool = False) -> None:
        self.answer = answer
        """The pieces of the next answers."""
        self.ends = ends
        """Whether a connection of the service's ends behind one."""
        self._bench = Bench(Protocol.HTTP, self._dial, LIMITS, speaks=Protocol.HTTP)
        self._endpoints: list[Endpoint] = []
        self._run = Run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for endpoint in self._endpoints:
            endpoint.close()
        self._endpoints.clear()
        self._settle()
        self._bench.dispatcher.epoll.close()
        assert self._bench.told == [], "the relay itself failed"

    def run(self, pieces: Iterable[bytes]) -> Run:
        """A caller's connection that sends these pieces, each when what came before has been dealt with, and ends."""
        run = self._run = Run()
        theirs = self._bench.caller()
        theirs.setblocking(False)

        def read() -> bool:
            octets = receive(theirs)
            run.came += octets or b""
            return bool(octets)

        with theirs:
            for piece in pieces:
                with contextlib.suppress(ConnectionError):
                    theirs.sendall(piece)
                self._settle(read)
            with contextlib.suppress(OSError):
                theirs.shutdown(socket.SHUT_WR)
            self._settle(read)
        self._settle()
        return run

    def _settle(self, read: Callable[[], bool] = lambda: False) -> None:
        """Turns, and plays the endpoints, until nothing more happens."""
        idle, dispatcher = 0, self._bench.dispatcher
        while idle < QUIET:
            events = dispatcher.epoll.poll(0, 256)
            dispatcher.turn(events)
            played = [endpoint.play(self._run, self.answer, self.ends) for endpoint in self._endpoints]
            self._endpoints = [endpoint for endpoint in self._endpoints if endpoint.sock.fileno() >= 0]
            idle = 0 if events or any(played) or read() else idle + 1

    def _dial(self, _endpoint: EndpointRef, arrive: Callable[[socket.socket | None], None]) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._endpoints.append(Endpoint(far))
        arrive(near)


@final
class Endpoint:
    """One connection of the service."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = h11.Connection(h11.SERVER)
        self._asked: h11.Request | None = None
        self._body = b""
        self._to_say: list[bytes] = []

    def close(self) -> None:
        """Speaks no more."""
        self.sock.close()

    def play(self, run: Run, answer: tuple[bytes, ...], ends: bool) -> bool:
        """Says the next piece of an answer, or reads; whether there was something to do."""
        if self._to_say:
            with contextlib.suppress(ConnectionError):
                self.sock.sendall(self._to_say.pop(0))
            if ends and not self._to_say:
                self.close()
            return True
        octets = receive(self.sock)
        if octets is None:
            return False
        try:
            self._reader.receive_data(octets)
            self._read(run, answer)
        except h11.RemoteProtocolError as fault:
            if octets:
                run.faults.append(repr(fault))
            self.close()
        if not octets:
            self.close()
        return True

    def _read(self, run: Run, answer: tuple[bytes, ...]) -> None:
        while True:
            event = self._reader.next_event()
            if isinstance(event, h11.Request):
                self._asked, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and self._asked is not None:
                run.seen.append((self._asked.target, self._body, list(self._asked.headers)))
                self._to_say += answer
                self._reader.send(h11.Response(status_code=200, headers=[]))
                self._reader.send(h11.EndOfMessage())
                if self._reader.our_state is not h11.DONE:
                    return
                self._reader.start_next_cycle()
            else:
                return


def receive(sock: socket.socket) -> bytes | None:
    """What has come; None: nothing yet, empty: nothing will."""
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""
