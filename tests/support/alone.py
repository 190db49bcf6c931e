"""A relay of which all is seen that one request comes to: what its caller gets, what endpoints hear, what is told of it."""

from __future__ import annotations

import contextlib
import re
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from tests.support.relay_bench import Arrive, Bench
from tests.support.relayed import QUIET, receive
from tulle.core.backends import EndpointRef
from tulle.core.tables import build_tables
from tulle.proxy.counters import CLASSES
from tulle.proxy.exchange import Exchange
from tulle.proxy.lane import Arrival
from tulle.proxy.tap import summarise
from tulle.wire.snapshot import Protocol, Snapshot

OWN: Final = re.compile(
    rb"(x-request-id: |traceparent: 00-|tulle why )(?!a{16})[0-9a-f]{16,32}(-[0-9a-f]{16}-00)?(?=[\r\n])"
)
"""Ids that the proxy makes, which are others each time. A test's own begin with so many `a`, or are no such."""
OWN_ID: Final = re.compile("(?!a{16})[0-9a-f]{16,32}")
ENDS: Final = (b"\r\n0\r\n\r\n", b"\r\n\r\n0\r\n\r\n")
LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n")

Answer = Callable[[bytes], tuple[bytes, bool]]
"""What a request is answered, and whether the connection ends behind that."""


@dataclass(slots=True)
class Outcome:
    """All that one request came to."""

    got: bytes
    """What its caller got, but for what follows."""
    closings: int
    """How often that said `connection: close`: among which fields is no matter."""
    is_closed: bool
    """Its connection was ended."""
    heard: list[tuple[str, bytes]]
    """By which endpoint, and what, in order."""
    told: list[dict[str, object]]
    """As a tap and the access log have it, and more."""
    counted: Counter[tuple[str, ...]]

    @property
    def is_over(self) -> bool:
        """Whether another request may follow on the connection."""
        return not self.is_closed and len(self.told) == 1


@final
class Relayed:
    """A relay with callers before it and endpoints behind it that answer as they are told to."""

    def __init__(self, snapshot: Snapshot, answer: Answer) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._told: list[dict[str, object]] = []
        self._answer = answer
        self._endpoints: list[Endpoint] = []
        self._bench = Bench(Protocol.HTTP, self._dial)
        self._bench.relay.taps.append(self._note)
        self.adopt(snapshot)

    def adopt(self, snapshot: Snapshot) -> None:
        """Puts it in force."""
        relay = self._bench.relay
        relay.adopt(build_tables(snapshot, relay.tables))
        relay.account(snapshot.access_log, snapshot.tracing)
        self._bench.register.judge_again()
        deque(self._bench.register.renewing(), maxlen=0)

    def connect(self, arrival: Arrival) -> socket.socket:
        """A connection that came so."""
        caller = self._bench.caller(arrival)
        caller.setblocking(False)
        return caller

    def ask(self, caller: socket.socket, pieces: list[bytes]) -> Outcome:
        """Sends them, each when what came before has been dealt with."""
        self.heard, self._told = [], []
        before = self._counts()
        got = b""
        is_closed = False
        for piece in pieces:
            with contextlib.suppress(ConnectionError):
                caller.sendall(piece)
            self._settle()
            while octets := receive(caller):
                got += octets
            is_closed = octets is not None
        *others, last = OWN.sub(rb"\1OURS", got).split(b"connection: close\r\n")
        heard = [(name, OWN.sub(rb"\1OURS", octets)) for name, octets in self.heard]
        counted = self._counts() - before
        return Outcome(b"".join([*others, last]), len(others), is_closed, heard, self._told, counted)

    def close(self, callers: list[socket.socket]) -> None:
        """All leave."""
        for caller in callers:
            caller.close()
        for endpoint in self._endpoints:
            endpoint.sock.close()
        self._endpoints = []
        self._settle()
        relay = self._bench.relay
        assert not self._bench.register.connections
        assert relay.counters.in_flight == relay.counters.upstreams == relay.dispatcher.held == 0
        relay.dispatcher.epoll.close()
        assert self._bench.told == [], "the relay itself failed"

    def _settle(self) -> None:
        idle, dispatcher = 0, self._bench.dispatcher
        while idle < QUIET:
            events = dispatcher.epoll.poll(0, 256)
            dispatcher.turn(events)
            played = [endpoint.play(self) for endpoint in self._endpoints]
            self._endpoints = [endpoint for endpoint in self._endpoints if endpoint.sock.fileno() >= 0]
            idle = 0 if events or any(played) else idle + 1

    def _counts(self) -> Counter[tuple[str, ...]]:
        counters = self._bench.relay.counters
        found: Counter[tuple[str, ...]] = Counter()
        for key, pair in counters.pairs.items():
            for name, series in zip(CLASSES, pair.series, strict=True):
                if series is not None:
                    found[(*key, name)] += series.count
                    found[(*key, name, "octets")] += series.bytes_in + series.bytes_out
        for table in (counters.answers, counters.denied, counters.shadow_denied, counters.retries):
            found.update(table)
        return found

    def answer(self, octets: bytes) -> tuple[bytes, bool]:
        """To a whole request."""
        return self._answer(octets)

    def _dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._endpoints.append(Endpoint(f"{endpoint.host}:{endpoint.port}", far))
        arrive(near)

    def _note(self, ended: object) -> None:
        assert isinstance(ended, Exchange)
        said = summarise(ended)
        del said["time"], said["seconds"]
        for name in ("id", "trace"):
            said[name] = OWN_ID.sub("", str(said[name]))
        head = ended.whole().head
        place = f"{ended.asked.host}:{ended.asked.port}" if ended.asked is not None else ""
        self._told.append({**said, "to": place, "would": ended.would_deny, "query": head.query, "fields": head.fields})


@final
class Endpoint:
    """One connection of a service's."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self.sock = sock
        self._name = name
        self._octets = b""

    def play(self, relayed: Relayed) -> bool:
        """Reads, and answers what is whole; whether there was something to do."""
        octets = receive(self.sock)
        if octets is None:
            return False
        if not octets:
            self.sock.close()
            return True
        relayed.heard.append((self._name, octets))
        self._octets += octets
        if not is_whole(self._octets):
            return True
        answer, ends = relayed.answer(self._octets)
        self._octets = b""
        with contextlib.suppress(ConnectionError):
            self.sock.sendall(answer)
        if ends:
            self.sock.close()
        return True


def is_whole(octets: bytes) -> bool:
    """Whether this is a request as the proxy sends it, with all of its body."""
    head, ended, body = octets.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        return octets.endswith(ENDS)
    return bool(ended) and len(body) == (int(length[1]) if length else 0)
