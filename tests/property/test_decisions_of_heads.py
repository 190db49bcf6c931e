"""Whatever is remembered of heads: each request gets the decision of the policies in force about itself, and goes on as it came."""

import random
import select
import socket
from collections import deque

import pytest

from tests.support.proxy_harness import ALLOW_ALL, host, one_service
from tests.support.relay_bench import DOOR, Arrive, Bench
from tulle.core.backends import EndpointRef
from tulle.core.tables import build_tables
from tulle.wire.snapshot import Action, Operation, Policy, Protocol, Rule

HOSTS = ("admin", "public", "third")
PATHS = ("/p", "/q", "/p/x")
METHODS = ("GET", "POST", "DELETE")
LONG = "User-Agent: one that is long enough to make an opening of its own, whatever stands beside it\r\n"
SERVER = "Server: one whose name is long enough to make an opening of its own, whatever stands beside it\r\n"
REQUESTS = 400

Asked = tuple[str, str, str]
"""Host, path and method; in a denial empty: any."""


class Mesh:
    """One service, callers that ask now this and now that, and policies that change meanwhile."""

    def __init__(self, seed: int) -> None:
        self.roll = random.Random(seed)
        self.far: list[socket.socket] = []
        self.denied: list[Asked] = []
        self.bench = Bench(Protocol.HTTP, self._dial)
        self.callers = [self.bench.caller() for _ in range(3)]
        self.usual = [self.anything() for _ in self.callers]

    def _dial(self, endpoint: EndpointRef, arrive: Arrive) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.far.append(theirs)
        arrive(ours)

    def anything(self) -> Asked:
        return self.roll.choice(HOSTS), self.roll.choice(PATHS), self.roll.choice(METHODS)

    def change(self) -> None:
        """Other policies are in force."""
        relay = self.bench.relay
        self.denied = []
        for _ in range(self.roll.randrange(4)):
            host_, path, method = self.anything()
            self.denied.append((host_, self.roll.choice((path, "")), self.roll.choice((method, ""))))
        policies = [
            Policy(
                name=f"deny {number}",
                action=Action.DENY,
                rules=(Rule(operations=(Operation(hosts=(one[0],), paths=said(one[1]), methods=said(one[2])),)),),
            )
            for number, one in enumerate(self.denied)
        ]
        relay.adopt(
            build_tables(one_service({DOOR: Protocol.HTTP}, (host(1),), policies=(*policies, ALLOW_ALL)), relay.tables)
        )
        self.bench.register.judge_again()
        deque(self.bench.register.renewing(), maxlen=0)

    def ask(self, number: int) -> None:
        roll = self.roll
        at = roll.randrange(len(self.callers))
        if roll.random() < 0.1:
            self.usual[at] = self.anything()
        asked = self.usual[at] if roll.random() < 0.85 else self.anything()
        name, path, method = asked
        target = f"{path}?{number}" if roll.random() < 0.8 else path
        fields = f"Host: {name}\r\n{LONG}" if roll.random() < 0.9 else f"{LONG}Host: {name}\r\n"
        body = "hi" if method == "POST" else ""
        fields += "Content-Length: 2\r\n" if body else ""
        fields += f"X: {number}\r\n" + roll.choice(("", "", f"X-Y: {number}\r\n", "Connection: x-z\r\nX-Z: 1\r\n"))
        self.callers[at].sendall(f"{method} {target} HTTP/1.1\r\n{fields}\r\n{body}".encode())
        sent, got = self._exchange(self.callers[at], number)

        is_denied = any(all(rule in ("", of) for rule, of in zip(one, asked, strict=True)) for one in self.denied)
        assert got.startswith("HTTP/1.1 403 " if is_denied else "HTTP/1.1 200 "), (asked, self.denied)
        assert (sent == "") == is_denied
        if not is_denied:
            assert got.endswith(f"\r\nX-N: {number}\r\n\r\n{number:03}")
            assert sent.startswith(f"{method} {target} HTTP/1.1\r\nhost: {name}\r\n")
            assert sent.endswith("\r\n\r\n" + body)
            assert f"\r\nX: {number}\r\n" in sent
            assert "X-Z" not in sent
            assert [sent.count(own) for own in ("\r\nx-request-id: ", "\r\ntraceparent: ")] == [1, 1]

    def _exchange(self, caller: socket.socket, number: int) -> tuple[str, str]:
        """What the endpoint heard, and what the caller got; the endpoint answers at once."""
        dispatcher = self.bench.dispatcher
        sent = b""
        while not is_readable(caller):
            dispatcher.turn(dispatcher.epoll.poll(1.0))
            for end in self.far:
                if is_readable(end):
                    sent += end.recv(65536)
                    answer = f"HTTP/1.1 200 OK\r\n{SERVER}Content-Length: 3\r\nX-N: {number}\r\n\r\n{number:03}"
                    end.sendall(answer.encode())
        return sent.decode(), caller.recv(65536).decode()


def said(value: str) -> tuple[str, ...]:
    return (value,) if value else ()


def is_readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


@pytest.mark.parametrize("seed", range(3))
def test_each_request_gets_its_own_decision(seed: int) -> None:
    mesh = Mesh(seed)
    for number in range(REQUESTS):
        if mesh.roll.random() < 0.01:
            mesh.change()
        mesh.ask(number)
    assert not mesh.bench.told
    for sock in (*mesh.callers, *mesh.far):
        sock.close()
    mesh.bench.until(lambda: not mesh.bench.register.connections and not mesh.bench.relay.counters.upstreams)
