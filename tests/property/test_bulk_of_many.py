"""Large bodies of many at once, moved through shared pipes: each octet reaches whom it is for, whoever leaves when, and nothing is left."""

from __future__ import annotations

import contextlib
import random
import re
import socket
from collections import deque
from typing import Final

import hypothesis
import pytest

from tests.support.bulk import BULK
from tests.support.proxy_harness import ALLOW_ALL, host, one_service, only
from tests.support.relay_bench import DOOR, Arrive, Bench
from tests.support.relayed import QUIET, receive
from tulle.core.backends import EndpointRef
from tulle.core.tables import build_tables
from tulle.proxy.exchange import Exchange
from tulle.proxy.loop import READ_BYTES
from tulle.proxy.pipes import MAX_IDLE, PIPE_BYTES, Pipes
from tulle.proxy.wheel import NEVER
from tulle.proxy.wire import BULK_BYTES, FEW_BYTES
from tulle.wire.snapshot import Limits, Protocol

SEEDS: Final = hypothesis.settings().max_examples // 12
STEPS: Final = 800
SIZES: Final = (
    0,
    1,
    FEW_BYTES,
    READ_BYTES,
    READ_BYTES + BULK_BYTES,
    3 * READ_BYTES,
    PIPE_BYTES,
    PIPE_BYTES + READ_BYTES,
)
MUCH: Final = 1 << 26
HEAD: Final = re.compile(rb"(?s)(.*?)\r\n\r\n")
LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)\r\n")


class Asked:
    """One exchange: what goes up, and what is to come down."""

    def __init__(self, roll: random.Random, number: int) -> None:
        self.number = number
        up, down = (
            max(0, roll.choice(SIZES) + roll.choice((0, 0, -1, 1, roll.randrange(BULK_BYTES)))) for _ in range(2)
        )
        start = roll.randrange(len(BULK) - max(up, down))
        self.up = BULK[start : start + up]
        self.down = BULK[start : start + down][::-1]
        self.method = roll.choice(("PUT", "POST"))


class End:
    """What one side sends and has to get, on one connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.left = b""
        """What it has still to send."""
        self._head = b""
        self._due = memoryview(b"")
        self._is_own = False
        self._missing = 0

    @property
    def is_open(self) -> bool:
        """Neither side has left."""
        return self.sock.fileno() >= 0

    @property
    def is_amid(self) -> bool:
        """It has a part of a message."""
        return bool(self._head) or self._missing > 0

    def send(self, most: int) -> None:
        """As much as is taken."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.left = self.left[self.sock.send(self.left[:most]) :]

    def read(self, city: City) -> bool:
        """Whether something came."""
        octets = receive(self.sock)
        if octets:
            self._take(octets, city)
        elif octets is not None:
            self.sock.close()
        return bool(octets)

    def _take(self, octets: bytes, city: City) -> None:
        """Holds each octet to what it has to be."""
        while octets or not self._missing:
            if not self._missing:
                self._head += octets
                found = HEAD.match(self._head)
                if found is None:
                    return
                octets, self._head = self._head[found.end() :], b""
                length = LENGTH.search(found[0])
                self._missing = int(length[1]) if length else 0
                body = self.due(found[0], city)
                self._is_own = body is None
                self._due = memoryview(body or b"")
                assert self._is_own or len(self._due) == self._missing
            piece, octets = octets[: self._missing], octets[self._missing :]
            self._missing -= len(piece)
            assert self._is_own or self._due[: len(piece)] == piece, "somebody else's octets"
            self._due = self._due[len(piece) :]
            if not self._missing:
                self.whole(city)

    def due(self, head: bytes, city: City) -> bytes | None:
        """The body that has to follow; None: the proxy's own."""
        raise NotImplementedError

    def whole(self, city: City) -> None:
        """All of a message is here."""


class Caller(End):
    """Asks one after the other, and does not always wait for the answer."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.asked: deque[Asked] = deque()

    def ask(self, asked: Asked) -> None:
        """Has it sent."""
        self.asked.append(asked)
        self.left += (
            f"{asked.method} /{asked.number} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(asked.up)}\r\n\r\n".encode()
        )
        self.left += asked.up

    def due(self, head: bytes, city: City) -> bytes | None:
        asked = self.asked.popleft()
        if b"\r\nx-tulle-reason: " in head:
            return None
        assert b"\r\nX-N: %d\r\n" % asked.number in head, "somebody else's answer"
        return asked.down


class Server(End):
    """Answers each request once it is whole; one of many at once."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.number = -1
        """Of the request that comes."""
        self._answered = -1

    def due(self, head: bytes, city: City) -> bytes | None:
        found = re.match(rb"P\w+ /(\d+) HTTP/1\.1\r\n", head)
        assert found is not None, head
        self.number = int(found[1])
        if city.roll.random() < 0.05:
            city.early.add(self.number)
            self.whole(city)
        return city.asked[self.number].up

    def whole(self, city: City) -> None:
        if self._answered == self.number:
            return
        self._answered = self.number
        down = city.asked[self.number].down
        self.left += b"HTTP/1.1 200 OK\r\nX-N: %d\r\nContent-Length: %d\r\n\r\n" % (self.number, len(down)) + down


class City:
    """A relay, with callers who come and go and servers that do too."""

    def __init__(self, seed: int) -> None:
        self.roll = random.Random(seed)
        self.asked: list[Asked] = []
        self.callers: list[Caller] = []
        self.servers: list[Server] = []
        self.early: set[int] = set()
        """What is answered before it is whole."""
        self.whole = 0
        self.limits = Limits(pool_size=self.roll.choice((64, 1, 0)))
        self.bench = Bench(Protocol.HTTP, self._dial, self.limits, speaks=Protocol.HTTP)
        self.bench.relay.taps.append(self._note)

    def _dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        self.servers.append(Server(far))
        arrive(near)

    def _note(self, ended: object) -> None:
        """What is counted is what came."""
        assert isinstance(ended, Exchange)
        number = int(ended.judged.head.path[1:])
        asked = self.asked[number]
        assert ended.bytes_in <= len(asked.up)
        assert ended.bytes_out <= len(asked.down)
        if ended.reason is None and ended.response_class == 1:
            assert ended.bytes_in == len(asked.up) or number in self.early
            assert ended.bytes_out == len(asked.down)
            self.whole += 1

    def step(self, leaves: float) -> None:
        """Somebody does something."""
        roll, dispatcher = self.roll, self.bench.dispatcher
        if not self.callers or (len(self.callers) < 8 and roll.random() < 0.05):
            self.callers.append(Caller(self.bench.caller()))
        caller = roll.choice(self.callers)
        if len(caller.asked) < 2 and roll.random() < 0.3:
            self.asked.append(Asked(roll, len(self.asked)))
            caller.ask(self.asked[-1])
        for end in (caller, *roll.choices(self.servers, k=min(1, len(self.servers)))):
            if roll.random() < 0.7:
                end.send(roll.randrange(1, PIPE_BYTES))
            if roll.random() < 0.7:
                end.read(self)
            if roll.random() < leaves:
                end.sock.close()
        if roll.random() < 0.01:
            policy = only("PUT") if roll.random() < 0.3 else ALLOW_ALL
            mesh = one_service(
                {DOOR: Protocol.HTTP}, (host(1),), policies=(policy,), limits=self.limits, speaks=Protocol.HTTP
            )
            self.bench.relay.adopt(build_tables(mesh, self.bench.relay.tables))
        if roll.random() < 0.01:
            dispatcher.may_hold = roll.choice((MUCH, PIPE_BYTES, READ_BYTES))
        self._turn()

    def end(self) -> None:
        """All go on until nobody has anything more to say, and leave."""
        bench, dispatcher = self.bench, self.bench.dispatcher
        dispatcher.may_hold = MUCH
        dispatcher.hold(0)
        idle = 0
        while idle < QUIET:
            idle += 1
            for end in (*self.callers, *self.servers):
                end.send(PIPE_BYTES)
                idle = 0 if end.read(self) else idle
            self._turn()
        assert not any(caller.asked or caller.is_amid for caller in self.callers)
        for end in (*self.callers, *self.servers):
            end.sock.close()
        bench.until(lambda: not bench.register.connections and not bench.relay.counters.upstreams)
        assert dispatcher.held == dispatcher.pipes.lent == bench.relay.counters.in_flight == 0
        assert not bench.told
        assert all(is_empty(dispatcher.pipes) for _ in range(MAX_IDLE))
        dispatcher.epoll.close()

    def _turn(self) -> None:
        dispatcher = self.bench.dispatcher
        dispatcher.turn(dispatcher.epoll.poll(0, 256))
        self.callers = [caller for caller in self.callers if caller.is_open]
        self.servers = [server for server in self.servers if server.is_open]


def is_empty(pipes: Pipes) -> bool:
    """Whether the pipe that is lent next holds nothing, whatever it says. One that was just made does not."""
    pipe = pipes.lend(NEVER)
    if pipe is None:
        return True
    assert pipe.held == 0
    pipe.held = 1
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            pipe.empty(ours.fileno())
        except BlockingIOError:
            return True
        finally:
            pipe.close()
    return False


@pytest.mark.parametrize("seed", range(SEEDS))
def test_octets_of_many_reach_whom_they_are_for(seed: int) -> None:
    city = City(seed)
    leaves = city.roll.choice((0.0, 0.002, 0.01))
    for _ in range(STEPS):
        city.step(leaves)
    city.end()
    assert city.whole
