"""Decisions that are remembered for streams: only what no other field has a say in, and only within a generation."""

import pytest

from tulle.core.tables import build_tables
from tulle.core.verdict import Allow, Deny
from tulle.http.h2.field import FieldStore
from tulle.http.h2.heads import judge_request
from tulle.http.head import Limits, RequestHead
from tulle.proxy.counters import Counters
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
    Match,
    Operation,
    Policy,
    Protocol,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
)

BACKENDS = tuple(Backend(name=name, service="a/b", version=name) for name in ("one", "two"))


def relay_of(routes: tuple[Route, ...], *paths: str) -> Relay:
    made = Relay(Dispatcher(lambda _: None), Counters())
    adopt(made, 1, routes, *paths)
    return made


def adopt(relay: Relay, generation: int, routes: tuple[Route, ...], *paths: str) -> None:
    policies = (Policy(name="p", action=Action.ALLOW, rules=(Rule(operations=(Operation(paths=paths),)),)),)
    port = ServicePort(port=80, target_port=81, protocol=Protocol.HTTP2, routes=routes)
    service = Service(name="a/b", address="127.80.0.1", ports=(port,), policies=("p",))
    snapshot = Snapshot(
        generation=generation,
        mesh="m",
        trust_domain="m",
        services=(service,),
        backends=BACKENDS,
        policies=policies,
        doors=(Door(port=1, service="a/b", service_port=80),),
    )
    relay.adopt(build_tables(snapshot))


def route(backend: str, *headers: tuple[str, str]) -> Route:
    matches = (Match(headers=tuple(HeaderMatch(name=name, value=value) for name, value in headers)),)
    return Route(name=backend, matches=matches, backends=(WeightedBackend(backend=backend, weight=1),))


def judge(
    relay: Relay, path: bytes, *fields: tuple[bytes, bytes], method: bytes = b"POST", host: bytes = b"b"
) -> Judged:
    store: FieldStore = relay.fields
    asked = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", host), *fields]
    head = judge_request([store.field(name, value) for name, value in asked], True, Limits(), False)
    assert isinstance(head, RequestHead)
    return judge_head(relay, relay.lane(Arrival("", "", 1)), head)


def test_what_no_field_has_a_say_in_is_decided_once() -> None:
    relay = relay_of((route("one"),), "/ok/*")
    found = [judge(relay, b"/ok/1", (b"traceparent", b"%d" % number)) for number in range(4)]

    assert all(isinstance(one.verdict, Allow) and one.route is not None for one in found)
    assert len(relay.lane(Arrival("", "", 1)).decisions) == 1
    assert isinstance(judge(relay, b"/no").verdict, Deny)
    assert isinstance(judge(relay, b"/ok/1", method=b"GET").verdict, Allow)


@pytest.mark.parametrize("first", ["one", "two"])
def test_routes_by_a_field_are_asked_for_each_stream(first: str) -> None:
    relay = relay_of((route("one", ("x-to", "one")), route("two", ("x-to", "two"))), "/*")
    order = [first, "one", "two", "two", "one"]
    found = [judge(relay, b"/a", (b"x-to", to.encode())).route for to in order]

    assert [one.name if one is not None else "" for one in found] == order
    assert judge(relay, b"/a").route is None


def test_decisions_end_with_their_generation() -> None:
    relay = relay_of((route("one"),), "/a")
    for _ in range(3):
        assert isinstance(judge(relay, b"/a").verdict, Allow)
    adopt(relay, 2, (route("one"),), "/b")

    assert isinstance(judge(relay, b"/a").verdict, Deny)


def test_decisions_are_bounded() -> None:
    relay = relay_of((route("one"),), "/*")
    most = 0
    for number in range(2 * MAX_REMEMBERED):
        for _ in range(2):
            judge(relay, b"/a%d" % number)
        most = max(most, len(relay.lane(Arrival("", "", 1)).decisions))

    assert 1 < most <= MAX_REMEMBERED


def test_protocols_of_one_path_are_counted_apart() -> None:
    relay = relay_of((route("one"),), "/*")
    found = [judge(relay, b"/a", (b"content-type", kind)) for kind in (b"application/grpc", b"text/plain") * 3]

    assert [one.protocol for one in found] == ["grpc", "http2"] * 3
    assert found[4].pairs is found[2].pairs is not found[3].pairs
