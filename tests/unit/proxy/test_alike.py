"""Heads that differ only where no decision looks are judged once: for one path, one beginning and one generation, within bounds."""

from __future__ import annotations

import pytest

from tulle.core.tables import build_tables
from tulle.core.verdict import Allow, Deny
from tulle.http.head import RequestHead
from tulle.proxy.counters import Counters
from tulle.proxy.head_reader import MAX_MISSES, HeadReader
from tulle.proxy.judged import Judged
from tulle.proxy.judging import judge_head
from tulle.proxy.known_heads import MAX_REMEMBERED
from tulle.proxy.lane import Arrival
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay
from tulle.wire.snapshot import (
    Action,
    Backend,
    Door,
    HeaderMatch,
    Limits,
    Match,
    Operation,
    Policy,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
)

ANY = Route(name="any", backends=(WeightedBackend(backend="one"),))
BY_FIELD = Route(
    name="by field", matches=(Match(headers=(HeaderMatch(name="x-to", value="1"),)),), backends=ANY.backends
)
FIELDS = b"Host: b\r\nUser-Agent: a browser with a long name, as they all have, and then some\r\n"


class Caller:
    """One connection."""

    def __init__(self, *routes: Route, limits: Limits | None = None) -> None:
        self.relay = Relay(Dispatcher(lambda _: None), Counters())
        self.reader = HeadReader()
        self.limits = limits or Limits()
        self.routes = routes or (ANY,)
        self.begun = b""
        """The last head that was known, as it is sent."""
        self.adopt("/*")

    def adopt(self, path: str, forbidden: str = "nowhere") -> None:
        policies = (
            Policy(name="p", action=Action.ALLOW, rules=(Rule(operations=(Operation(paths=(path,)),)),)),
            Policy(name="q", action=Action.DENY, rules=(Rule(operations=(Operation(hosts=(forbidden,)),)),)),
        )
        port = ServicePort(port=80, target_port=81, routes=self.routes)
        service = Service(name="a/b", address="127.80.0.1", ports=(port,), policies=("p", "q"))
        snapshot = Snapshot(
            generation=1,
            mesh="m",
            trust_domain="m",
            services=(service,),
            backends=(Backend(name="one", service="a/b", version="one"),),
            policies=policies,
            doors=(Door(port=1, service="a/b", service_port=80),),
            limits=self.limits,
        )
        self.relay.adopt(build_tables(snapshot))

    def ask(self, number: int, path: bytes = b"/a", fields: bytes = FIELDS, behind: bytes = b"") -> Judged | None:
        """What is known of a head before it is judged; it is, where nothing is."""
        relay = self.relay
        lane = relay.lane(Arrival("", "", 1))
        wire = b"GET %b?n=%d HTTP/1.1\r\n%bX-Trace: %d\r\n%b\r\n" % (path, number, fields, number, behind)
        known, self.begun, _ = self.reader.recall_alike(relay, lane, wire)
        if known is None:
            head = self.reader.read(relay, lane, wire)
            assert isinstance(head, RequestHead)
            self.reader.keep(relay, lane, wire, judge_head(relay, lane, head))
        return known


def test_heads_that_differ_in_query_and_plain_fields_are_judged_once() -> None:
    caller = Caller()
    known = [caller.ask(number) for number in range(MAX_MISSES + 20)]

    assert known[:MAX_MISSES] == [None] * MAX_MISSES
    assert isinstance(known[-1], Judged)
    assert {id(one) for one in known[MAX_MISSES + 1 :]} == {id(known[-1])}
    assert caller.begun == (b"GET /a?n=35 HTTP/1.1\r\nhost: b\r\n" + FIELDS.partition(b"\r\n")[2] + b"X-Trace: 35\r\n")


def test_what_is_known_of_heads_alike_names_none_of_them() -> None:
    caller = Caller()
    known = [caller.ask(number) for number in range(MAX_MISSES + 2)][-1]

    assert known is not None
    assert (known.head.query, known.head.target, known.head.value(b"x-trace")) == ("", b"/a", None)
    assert known.read_again(b"GET /a?n=7 HTTP/1.1\r\n" + FIELDS + b"\r\n").head.query == "n=7"


def test_judgements_of_heads_alike_end_with_their_generation() -> None:
    caller = Caller()
    for number in range(MAX_MISSES + 2):
        caller.ask(number)
    before = caller.ask(0)
    assert before is not None
    assert isinstance(before.verdict, Allow)
    caller.adopt("/b")

    assert caller.ask(1) is None
    found = [caller.ask(number) for number in range(9)][-1]
    assert found is not None
    assert isinstance(found.verdict, Deny)


@pytest.mark.parametrize(
    ("caller", "fields"),
    [
        (Caller(BY_FIELD, ANY), FIELDS),
        (Caller(), FIELDS + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
    ],
    ids=["a route by field", "a change of protocol"],
)
def test_heads_whose_fields_have_a_say_are_judged_one_by_one(caller: Caller, fields: bytes) -> None:
    assert [caller.ask(number, fields=fields) for number in range(MAX_MISSES + 20)] == [None] * (MAX_MISSES + 20)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(target_bytes=len(b"/a?n=19")),
        Limits(header_count=3),
        Limits(header_bytes=len(b"GET /a?n=19 HTTP/1.1\r\n" + FIELDS + b"X-Trace: 19\r\n\r\n")),
    ],
    ids=["target", "fields", "octets"],
)
def test_limits_hold_for_heads_alike(limits: Limits) -> None:
    caller = Caller(limits=limits)
    assert [caller.ask(number) for number in range(20)][-1] is not None
    lane = caller.relay.lane(Arrival("", "", 1))

    two = b"1\r\nX-Other: 2"
    for query, behind in ((b"100", b"1"), (b"19", b"100"), (b"19", two), (b"19", two)):
        wire = b"GET /a?n=%b HTTP/1.1\r\n%bX-Trace: %b\r\n\r\n" % (query, FIELDS, behind)
        known, _, _ = caller.reader.recall_alike(caller.relay, lane, wire)
        head = caller.reader.read(caller.relay, lane, wire)
        assert known is None or isinstance(head, RequestHead)


def test_heads_that_begin_otherwise_in_any_octet_are_not_alike() -> None:
    caller = Caller()
    assert [caller.ask(number) for number in range(MAX_MISSES + 2)][-1] is not None
    lane = caller.relay.lane(Arrival("", "", 1))
    wire = b"GET /a?n=1 HTTP/1.1\r\n" + FIELDS + b"X-Trace: 1\r\n\r\n"

    assert caller.reader.recall_alike(caller.relay, lane, wire)[0] is not None
    for at in (*range(wire.index(b"?")), *range(wire.index(b" HTTP"), wire.index(b": 1") + 1)):
        other = wire[:at] + bytes((wire[at] ^ 2,)) + wire[at + 1 :]
        assert caller.reader.recall_alike(caller.relay, lane, other)[0] is None, other


def test_what_is_known_of_heads_alike_is_bounded() -> None:
    caller = Caller()
    lane = caller.relay.lane(Arrival("", "", 1))
    most = 0
    for number in range(2 * MAX_REMEMBERED):
        for _ in range(4):
            caller.ask(number, b"/a%d" % number)
        most = max(most, sum(len(known) for known in lane.alike.values()))

    assert 1 < most <= MAX_REMEMBERED


def test_what_is_decided_about_one_host_holds_for_no_other_that_heads_begin_with() -> None:
    caller = Caller()
    caller.adopt("/*", forbidden="c")
    others = FIELDS.replace(b"Host: b", b"Host: c")
    for number in range(4):
        caller.ask(number)
    for number in range(MAX_MISSES):
        caller.ask(number, b"/elsewhere", others)
    caller.ask(0)  # which begins otherwise than those before it, and those behind it
    known = [caller.ask(number, b"/a", others) for number in range(4)]
    assert known[-1] is not None
    assert all(one is None or isinstance(one.verdict, Deny) for one in known)
