"""A relay in this process, a caller and an endpoint of one connection each; and what must hold of whatever octets they send.

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

from tests.support.bridging import OURS, Pairs, by_h11
from tests.support.h1_reading import read_requests
from tests.support.h1_wire import cut
from tests.support.proxy_harness import host, one_service
from tulle.core.backends import EndpointRef
from tulle.core.request import canonical_path
from tulle.core.tables import build_tables
from tulle.http.h1 import Limits as HeadLimits
from tulle.http.h2.frames import PREFACE
from tulle.proxy.arrival import Register
from tulle.proxy.counters import Counters
from tulle.proxy.detect import Detector
from tulle.proxy.lane import Arrival
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay
from tulle.proxy.upstream import Pools
from tulle.wire.snapshot import Limits, Protocol

DOOR: Final = 8080
LIMITS: Final = Limits()
HEADS: Final = HeadLimits(LIMITS.header_bytes, LIMITS.header_count, LIMITS.target_bytes)
QUIET: Final = 3
"""Turns in which nothing happens, until all is said."""
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STATUS: Final = re.compile(rb"(?:\A|(?<=\r\n\r\n)|(?<=\r\n\r\nok))HTTP/1\.1 ([2-5]\d\d) ")
UNREADABLE: Final = re.compile(rb"HTTP/1\.1 \d\d\d( [^\r]*\r\n(?:[^\r]+\r\n)*?x-tulle-reason: bad-request\r\n)")
LONG: Final = b"User-Agent: one that is long enough to make an opening of its own, whatever stands beside it\r\n"
"""A field that makes an opening of heads that have it first."""
SERVER: Final = b"Server: one whose name is long enough to make an opening of its own, whatever stands beside it\r\n"
"""The same for answers."""
MARK: Final = (b"server", SERVER[8:-2])
ANSWERING_TEACHERS: Final = tuple(
    b"HTTP/1.1 200 OK\r\n%bX: %d\r\nContent-Length: 0\r\n\r\n" % (SERVER, n) for n in (1, 2)
)
TEACHERS: Final = tuple(b"GET /%d HTTP/1.1\r\n%bHost: a\r\nX: %d\r\n\r\n" % (n, LONG, n) for n in (1, 2))


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
        self._told: list[str] = []
        self._dispatcher = Dispatcher(self._told.append)
        self._relay = Relay(self._dispatcher, Counters())
        self._relay.connector = Pools(self._relay, self._dial)
        self._register = Register()
        self._relay.adopt(
            build_tables(one_service({DOOR: Protocol.HTTP}, (host(9),), limits=LIMITS, speaks=Protocol.HTTP))
        )
        self._endpoints: list[Endpoint] = []
        self._run = Run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for endpoint in self._endpoints:
            endpoint.close()
        self._endpoints.clear()
        self._settle()
        self._dispatcher.epoll.close()
        assert self._told == [], "the relay itself failed"

    def run(self, pieces: Iterable[bytes]) -> Run:
        """A caller's connection that sends these pieces, each when what came before has been dealt with, and ends."""
        run = self._run = Run()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        connection = self._register.add(Arrival("", "", DOOR), self._dispatcher.now)
        Detector(self._relay, connection, self._relay.lane(connection.arrival), self._dial).start(ours)

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
        idle = 0
        while idle < QUIET:
            events = self._dispatcher.epoll.poll(0, 256)
            self._dispatcher.turn(events)
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


def check_requests(wire: bytes, places: list[int], before: tuple[bytes, ...] = ()) -> int:
    """Law: however a connection's octets are cut, whatever is known of heads and whatever sound requests came before, the same is answered, and what goes on is what the codec
    accepts, as `h11` reads it. Gives how many requests went on. What begins as HTTP/2 does is read as that."""
    if wire[: len(PREFACE)] == PREFACE[: len(wire)]:
        return 0
    with House() as house:
        first = house.run([wire])
        again = [house.run([wire]) for _ in range(2)]
    with House() as house:
        pieces = house.run(cut(wire, places))
    with House() as house:
        for teacher in TEACHERS:
            house.run([teacher])
        taught = house.run([begun_alike(wire)])
    others = [*again, pieces, taught]
    if before:
        others.append(_behind(before, wire))
    for run in (first, *others):
        assert not run.faults, run.faults
        assert essence(run) == essence(first), (run, first)
    accepted = read_requests([wire], HEADS).messages
    assert len(first.seen) <= len(accepted)
    for (target, body, fields), message in zip(first.seen, accepted, strict=False):
        path, asked, query = message.head.origin.partition(b"?")
        readings = canonical_path(path)
        assert readings is not None, target
        assert (target, body) == (readings[0].encode() + asked + query, message.payload)
        assert all(name in OURS or (name, value) in message.head.fields for name, value in fields)
    return len(first.seen)


def _behind(before: tuple[bytes, ...], wire: bytes) -> Run:
    """What a connection comes to on which sound requests came first; without those."""
    with House() as house:
        run = house.run([*before, wire])
    assert run.statuses[: len(before)] == [b"200"] * len(before)
    end = run.came.index(OK[-2:], 0)
    for _ in before[1:]:
        end = run.came.index(OK[-2:], end + 2)
    return Run(run.came[end + 2 :], run.seen[len(before) :], run.faults)


def check_answers(wire: bytes, method: bytes, places: list[int], before: tuple[bytes, ...] = ()) -> bool:
    """Law: however an answer is cut, whatever is known of heads and whatever sound answers came before, the caller gets the same whole answer, or none. Gives whether it got it."""
    asked = method + b" / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with House((wire,), ends=True) as house:
        runs = [house.run([asked]) for _ in range(3)]
    with House(tuple(cut(wire, places)) or (b"",), ends=True) as house:
        runs.append(house.run([asked]))
    with House() as house:
        for teacher in ANSWERING_TEACHERS:
            house.answer = (teacher,)
            assert house.run([asked]).statuses == [b"200"]
        house.answer, house.ends = (begun_alike(wire, SERVER),), True
        runs.append(house.run([asked]))
    if before:
        with House() as house:
            for one in before:
                house.answer = (one,)
                assert house.run([asked]).statuses == [b"200"]
            house.answer, house.ends = (wire,), True
            runs.append(house.run([asked]))
    found = [whole(run.came, method) for run in runs]
    assert all(one == found[0] for one in found), found
    return found[0] is not None


def whole(came: bytes, method: bytes) -> tuple[object, ...] | None:
    """The endpoint's answer as `h11` reads it: None where the proxy answered in its place, or cut it short."""
    seen = [one for one in by_h11(came, asked=method) if not one.first[0].startswith(b"1")]
    if not seen or not seen[0].is_whole or any(name == b"x-tulle-reason" for name, _ in seen[0].fields):
        return None
    assert len(seen) == 1, "one request has one answer"
    fields = [pair for pair in seen[0].fields if pair != MARK]
    return seen[0].first, fields, seen[0].body, seen[0].trailers


def begun_alike(wire: bytes, like: bytes = LONG) -> bytes:
    """The same with a field first that makes an opening."""
    line, ended, rest = wire.partition(b"\r\n")
    return line + ended + like + rest if line and rest else wire


def essence(run: Run) -> tuple[object, ...]:
    """All but what is new each time, the field that makes an opening, and what is wrong with a head that several things are wrong with: a version that is not
    served is said as soon as the first line is there, whatever would have followed."""
    messages = [
        (target, body, [pair for pair in fields if pair[0] not in OURS and pair[0] != b"user-agent"])
        for target, body, fields in run.seen
    ]
    return STATUS.findall(UNREADABLE.sub(rb"HTTP/1.1 400\1", run.came)), messages
