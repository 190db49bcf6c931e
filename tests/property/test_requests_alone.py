"""Whatever came before it, by whichever connections, a request comes to the same as it does alone, to a relay that remembers nothing."""

from __future__ import annotations

import random
import re
import socket
from typing import Final

import hypothesis
import msgspec
import pytest

from tests.support.alone import Outcome, Relayed
from tests.support.h1_wire import cut
from tests.support.proxy_harness import ALLOW_ALL, host, one_service
from tests.support.relay_bench import DOOR
from tests.support.relay_laws import LONG, SERVER
from tulle.proxy.lane import FORWARD_PATH, Arrival
from tulle.wire.snapshot import (
    Action,
    Backend,
    Caller,
    HeaderMatch,
    Limits,
    Match,
    Mode,
    Operation,
    PathMatch,
    Policy,
    Protocol,
    Route,
    Rule,
    Snapshot,
    Source,
    Tracing,
    WeightedBackend,
)

SEEDS: Final = hypothesis.settings().max_examples // 25
REQUESTS: Final = 700
WEB, STRANGER = "default/web", "other/stranger"
ARRIVALS: Final = (
    *(("", "", DOOR), (WEB, "127.80.0.1", 8001), (STRANGER, "127.80.0.1", 8001)) * 3,
    (WEB, FORWARD_PATH, 0),
)
"""A door, two workloads, and one that names the service in each request: pod, address, port."""
PATHS: Final = (b"/a", b"/p", b"/q", b"/a/b", b"/down", b"/%61", b"/a//b", b"/p/%2e%2e/q", b"/a;x", b"*")
HOSTS: Final = (
    *(b"orders.default:8001", b"Orders.default:8001", b"orders:8001", b"127.80.0.1:8001", b"admin.example"),
    b"",
)
METHODS: Final = (b"GET", b"GET", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"BREW")
QUERIES: Final = (b"", b"?", b"??x?y", b'?%zz<>"{}|\\^`;/..//', b"?x=" + b"y" * 40, b"?#", b"?\xe4", b"?a b")
TRACE: Final = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
MEANT: Final = (
    *(b"Connection: keep-alive", b"TE: trailers", b"X-Request-Id: mine", b"Traceparent: " + TRACE, b"X-To: 1"),
    *(b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"traceparent: q", b"Cookie: a=b"),
    *(b"Connection: x-to, cookie", b"Upgrade: websocket\r\nConnection: upgrade"),
)
"""Fields that heads may begin with, in all that one connection asks."""
ODD: Final = (
    *(b"X-N:1", b"X-N:  1", b"X-N: 1 ", b"X-N:", b"X-N: \xff", b"X-N: a\tb", b"X Y: 1", b"X-N : 1", b" folded", b": 1"),
    *(b"X: \x00", b"X: a\nX-To: 1", b"X: a\rb", b"hOST: admin.example", b"content-length: 3", b"CONNECTION: close"),
    *(b"Connection: x-n", b"Connection: cookie, X-To", b"Connection: x-request-id", b"Transfer-Encoding: gzip"),
    *(b"Expect: x", b"expect: 100-continue", b"x-to: 1", b"X-TO: 2", b"Keep-Alive: 1", b"Upgrade: foo", b"TE: gzip"),
    *(b"x-request-id: mine", b"tracestate: t", b"Traceparent: " + TRACE, b"User-Agent: x", b"X: " + b"x" * 1100),
)
"""Fields that others of their connection do not have."""
VALUES: Final = (
    *(b"", b" 1", b"1 ", b"\t1", b"1\x00", b"\xe4", b"a\tb", b"1\nX-To: 1", b"1\rb", b"1\r\n 2"),
    *(b"1" * 200, b"1" * 1100),
)
"""The same of fields that they have."""
FRAMES: Final = (b"Content-Length: 2\r\n", b"content-length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"")
SAID: Final = (
    *(b"X: 1\r\n", b"X: 2\r\n", b"Set-Cookie: a=1\r\n", b"Set-Cookie: b\r\n", b"Date: now\r\n", b"Server: two\r\n"),
    *(b"Connection: close\r\n", b"Connection: x\r\n", b"connection: X, keep-alive\r\n", b"Keep-Alive: 1\r\n"),
    *(b"X:1\r\n", b"X: 1 \r\n", b"X: \x00\r\n", b"X : 1\r\n", b" folded\r\n", b"Content-Length: 3\r\n", b"X: a\nb\r\n"),
    *(b"Upgrade: foo\r\n", b"X-Request-Id: its\r\n", b"Trailer: x\r\n", b"X: " + b"x" * 1100 + b"\r\n"),
)
LINES: Final = (b"HTTP/1.1 200 OK", b"HTTP/1.1 404 No", b"HTTP/1.1 304 ", b"HTTP/1.1 204 No", b"HTTP/1.0 200 OK")
WITHOUT_BODY: Final = LINES[2:4]


def answer(octets: bytes) -> tuple[bytes, bool]:
    """The same each time to the same; one of twenty differs much from the others."""
    found = re.search(rb"n=(\d+)", octets)
    number = int(found[1]) if found else 0
    roll = random.Random(number)
    line, frame = LINES[0], FRAMES[0]
    fields = [b"X-N: %d\r\n" % number, *(roll.choice(SAID[:6]) for _ in range(0 if number % 4 else number % 7))]
    if number % 20 == 0:
        line, frame = roll.choice(LINES), roll.choice(FRAMES)
        fields.insert(roll.randrange(4), roll.choice(SAID))
    fields.insert(0 if number % 6 else 1, frame)
    body = b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n" if b"chunked" in frame else b"ok"
    if octets.startswith(b"HEAD ") or line in WITHOUT_BODY:
        body = b""
    interim = b"HTTP/1.1 103 Soon\r\nX: 1\r\n\r\n" if number % 11 == 0 else b""
    return interim + line + b"\r\n" + SERVER + b"".join(fields) + b"\r\n" + body, not frame or number % 61 == 0


def some_policies(roll: random.Random, generation: int) -> Snapshot:
    """Routes and policies that look at this and that of a request."""
    second = Backend(
        name="second", service="default/orders", version="v2", protocol=Protocol.HTTP, endpoints=(host(2),)
    )
    down = Backend(name="down", service="default/orders", version="v3")
    to_second = (WeightedBackend(backend="second"),)
    routes = [
        Route(name="path", matches=(Match(path=PathMatch(value="/q")),), backends=to_second),
        Route(name="field", matches=(Match(headers=(HeaderMatch(name="x-to", value="1"),)),), backends=to_second),
        Route(
            name="both",
            matches=(Match(path=PathMatch(value="/p"), headers=(HeaderMatch(name="x-n", value="1"),)),),
            backends=to_second,
        ),
        Route(name="host", hostnames=("admin.example", "orders"), backends=to_second),
        Route(name="other host", hostnames=("orders.default",)),
        Route(name="method", matches=(Match(method="DELETE"),)),
        Route(
            name="down", matches=(Match(path=PathMatch(value="/down")),), backends=(WeightedBackend(backend="down"),)
        ),
    ]
    chosen = [route for route in routes if roll.random() < 0.15]
    chosen.append(Route(name="rest", backends=(WeightedBackend(backend="default/orders:9000"),)))
    callers = tuple(
        Caller(pod=pod, principal=pod.replace("/", "/sa/"), namespace=pod.partition("/")[0], service=pod)
        for pod in (WEB, STRANGER)
    )

    def some(*values: str) -> tuple[str, ...]:
        return tuple(value for value in values if roll.random() < 0.5) if roll.random() < 0.5 else ()

    def denial(name: str) -> Policy:
        asked = Operation(
            methods=some("POST", "DELETE"),
            paths=some("/a", "/p*", "/q", "*b") or ("/a/*",),
            hosts=some("admin.example", "orders", "orders.default"),
        )
        sources = (Source(principals=("other/sa/stranger",)),) if roll.random() < 0.3 else ()
        return Policy(name=name, action=Action.DENY, rules=(Rule(sources=sources, operations=(asked,)),))

    denials = tuple(denial(f"deny {number}") for number in range(roll.randrange(3)))
    narrow = Limits(
        header_bytes=roll.choice((65536, 360)),
        header_count=roll.choice((128, 128, 8, 9)),
        target_bytes=roll.choice((64, 12)),
    )
    mesh = one_service(
        {DOOR: Protocol.HTTP},
        (host(1),),
        generation=generation,
        policies=(*denials, ALLOW_ALL),
        mode=Mode.SHADOW if roll.random() < 0.1 else Mode.ENFORCE,
        routes=tuple(chosen),
        backends=(second, down),
        limits=narrow if roll.random() < 0.4 else Limits(),
        speaks=Protocol.HTTP,
    )
    return msgspec.structs.replace(mesh, callers=callers, tracing=Tracing(create=roll.random() < 0.8))


class Line:
    """A connection whose requests have most in common."""

    def __init__(self, roll: random.Random, relayed: Relayed) -> None:
        self.roll = roll
        self.arrival = roll.choice(ARRIVALS)
        self.begins = [LONG[:-2], *(field for field in MEANT if roll.random() < 0.08)]
        roll.shuffle(self.begins)
        self.names = [name for name in (b"X-N", b"X-To", b"Cookie", b"x-real-ip") if roll.random() < 0.6]
        self.methods = roll.choices(METHODS, k=2)
        self.paths = roll.choices(PATHS[:5], k=2)
        self.hosts = roll.choices(HOSTS[:5], k=2)
        self.host_at = roll.choice((0, 0, 0, 1, 9))
        self.repeats = roll.random() < 0.15
        self.share_of_odd = roll.choice((0.0005, 0.002, 0.01))
        self.dial(relayed)

    def dial(self, relayed: Relayed) -> None:
        """Connects, perhaps anew."""
        self.caller: socket.socket = relayed.connect(Arrival(*self.arrival))

    def request(self) -> bytes:
        """What it asks next."""
        roll = self.roll

        def rarely() -> bool:
            return roll.random() < self.share_of_odd

        method = roll.choice(METHODS if rarely() else self.methods)
        path = roll.choice(PATHS if rarely() else self.paths)
        name = roll.choice(HOSTS if rarely() else self.hosts)
        number = roll.randrange(1, 4 if self.repeats else 1_000_000_000 if roll.random() < 0.02 else 10_000)
        target = path + (roll.choice(QUERIES) if rarely() else b"?n=%d" % number)
        if rarely():
            target = b"http://" + roll.choice((name, name, HOSTS[0])) + target
        fields = list(self.begins)
        if not rarely():
            fields.insert(min(self.host_at, len(fields)), b"Host: " + name)
        fields += [
            known + b": " + (roll.choice(VALUES) if rarely() else b"%d" % (number % 3 or number))
            for known in self.names
        ]
        fields += [b"X-M: 1"] * roll.choice((*[0] * 40, 1, 2))
        fields += [b"Connection: close"] if roll.random() < 0.004 else []
        while rarely():
            fields.insert(roll.randrange(len(fields) + 1), roll.choice(ODD))
        if rarely():
            del fields[roll.randrange(len(fields))]
        version = b"HTTP/1.0" if rarely() else b"HTTP/1.1"
        head = b"\r\n".join([b"%b %b %b" % (method, target, version), *fields]) + b"\r\n\r\n"
        if re.search(rb"(?i)\r\ntransfer-encoding: ", head):
            return head + b"3\r\nabc\r\n0\r\n\r\n"
        return head + (b"abc" if re.search(rb"(?i)\r\ncontent-length: ", head) else b"")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_request_comes_to_what_it_comes_to_alone(seed: int) -> None:
    roll = random.Random(seed)
    snapshot = some_policies(roll, 1)
    relayed = Relayed(snapshot, answer)
    lines = [Line(roll, relayed) for _ in range(3)]
    for _ in range(REQUESTS):
        if roll.random() < 0.006:
            snapshot = some_policies(roll, snapshot.generation + 1)
            relayed.adopt(snapshot)
        at = roll.randrange(len(lines))
        if roll.random() < 0.006:
            lines[at].caller.close()
            lines[at] = Line(roll, relayed)
        line = lines[at]
        wire = line.request()
        pieces = cut(wire, [roll.randrange(len(wire)) for _ in range(roll.choice((0, 0, 0, 2)))])

        outcome = relayed.ask(line.caller, pieces)

        assert outcome == alone(snapshot, line.arrival, pieces), pieces
        if not outcome.is_over:
            line.caller.close()
            line.dial(relayed)
    relayed.close([line.caller for line in lines])


def alone(snapshot: Snapshot, arrival: tuple[str, str, int], pieces: list[bytes]) -> Outcome:
    """What a request comes to where nothing came before."""
    relayed = Relayed(snapshot, answer)
    caller = relayed.connect(Arrival(*arrival))
    outcome = relayed.ask(caller, pieces)
    relayed.close([caller])
    return outcome
