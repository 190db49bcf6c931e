"""What the relay remembers of heads is bounded, and ids do not come twice."""

import pytest

from tests.support.h1_reading import LIMITS
from tulle.core.tables import build_tables
from tulle.http.h1 import RequestHead, parse_request
from tulle.proxy.counters import Counters
from tulle.proxy.judging import HeadView, judge_head
from tulle.proxy.known_heads import MAX_HOSTS, MAX_OPENINGS
from tulle.proxy.lane import Arrival, Lane
from tulle.proxy.loop import Dispatcher
from tulle.proxy.relay import Relay
from tulle.wire.snapshot import Door, Service, ServicePort, Snapshot


@pytest.fixture
def relay() -> Relay:
    made = Relay(Dispatcher(lambda _: None), Counters())
    service = Service(name="a/b", address="127.80.0.1", ports=(ServicePort(port=80, target_port=81),))
    doors = (Door(port=1, service="a/b", service_port=80),)
    made.adopt(build_tables(Snapshot(generation=1, mesh="m", trust_domain="m", services=(service,), doors=doors)))
    return made


@pytest.fixture
def lane(relay: Relay) -> Lane:
    return relay.lane(Arrival("", "", 1))


def octets(host: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", b"Host: " + host, *fields)) + b"\r\n\r\n"


def head(wire: bytes) -> RequestHead:
    judged = parse_request(wire, LIMITS)
    assert isinstance(judged, RequestHead)
    return judged


def test_openings_are_shared_and_bounded(relay: Relay, lane: Lane) -> None:
    agent = b"User-Agent: %04d " + b"u" * 64
    for number in range(2 * MAX_OPENINGS):
        wire = octets(b"a", agent % number)
        relay.heads.learn(lane, wire)
        learnt = relay.heads.learn(lane, wire)
        assert learnt is not None
        assert learnt is relay.heads.learn(lane, wire) is lane.opening
        assert len(relay.heads.openings) <= MAX_OPENINGS


def test_long_heads_are_not_kept_to_compare(relay: Relay, lane: Lane) -> None:
    relay.heads.learn(lane, octets(b"a", b"Cookie: " + b"c" * 10_000))

    assert lane.stray == b""


def test_hosts_are_remembered_within_bounds(relay: Relay, lane: Lane) -> None:
    for number in range(2 * MAX_HOSTS):
        judge_head(relay, lane, head(octets(b"H%d.:80" % number)))
        assert relay.heads.hosts[f"h{number}."] == f"h{number}"
        assert len(relay.heads.hosts) <= MAX_HOSTS


def test_ids_differ_over_many_turns_of_their_last_digits(relay: Relay) -> None:
    made = [relay.ids.next() for _ in range(70_000)]

    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {16}


def test_decisions_see_no_field_that_connection_names() -> None:
    view = HeadView(
        head(octets(b"a", b"X-Role: admin", b"X-Role: root", b"X-Hop: 1", b"Connection: x-hop")), "/", "/", "a"
    )

    assert view.header(b"x-role") == b"admin,root"
    assert view.header(b"x-hop") is None
