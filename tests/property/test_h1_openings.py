"""Laws of what is remembered while heads are read: it changes how long that takes, never what comes of it."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tests.support.h1_reading import told
from tests.support.h1_wire import mutated, requests, table_wires
from tulle.core.tables import build_tables
from tulle.http.fields import PlainLines
from tulle.http.h1 import Limits, RequestHead, find_head_end, parse_request, parse_response
from tulle.http.opening import learn_opening, read_opened
from tulle.proxy.counters import Counters
from tulle.proxy.head_reader import MAX_MISSES, HeadReader
from tulle.proxy.judging import judge_head
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
    PathMatch,
    Policy,
    Route,
    Rule,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
)
from tulle.wire.snapshot import Limits as LimitsInForce

LIMITS = Limits()

FIRST = [
    b"GET / HTTP/1.1",
    b"GET / HTTP/1.1",
    b"POST / HTTP/1.1",
    b"GET /a?b=c HTTP/1.1",
    b"PUT /\x7f HTTP/1.1",
    b"POST /a//b%2F..;x HTTP/1.1",
    b"BREW /pot HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET http://shop.example/a HTTP/1.1",
    b"GET / HTTP/1.0",
    b"GET / HTTP/2.0",
    b"GET /\xe9 HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET /a b HTTP/1.1",
    b"GET /a\tb HTTP/1.1",
    b"GETS / HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET  HTTP/1.1",
    b"",
]
SHARED = [
    b"Host: shop.example",
    b"Accept: */*",
    b"User-Agent: one that is long enough to make an opening of its own, whatever stands beside it",
    b"X-Secret: 1",
    b"X-Bare: 1",
    b"X-Trace: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
]
TELLING = [
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: X-Secret, x-request-id",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Content-Length: 3",
    b"cONTENT-lENGTH: 3",
    b"cONNECTION: close",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"TE: trailers",
    b"X-Request-Id: 7",
    b"X-Request-Id: 8",
    b"Accept:text/html",
    b"Accept:  \t ",
]
WRONG = [
    b"Host: a b",
    b"host: other.example:8080",
    b"Content-Length: 4",
    b"X-Secret : 1",
    b" folded",
    b"no colon",
    b"X-Bare: \r1",
    b"X-Bare: 1\r",
    b"X-Bare: \x001",
    b"X-Bare: 1\x7f",
    b"X-Bare:  1",
    b"X-Bare: \t1",
    b"X-Bare: 1 ",
    b"X-Bare: 1\t",
    b"X-Bare: ",
    b"X-Bare: \n1",
    b"X-Nul: \x00",
    b"",
]
first_lines = st.sampled_from(FIRST)
shared_lines = st.sampled_from(SHARED)
telling_lines = st.sampled_from(TELLING)
wrong_lines = st.sampled_from(WRONG)
own_lines = st.lists(shared_lines | telling_lines, max_size=2) | st.lists(
    shared_lines | telling_lines | wrong_lines, min_size=1, max_size=3
)


def lone(line: bytes) -> list[bytes]:
    return [line]


LONG = b"User-Agent: one that is long enough to make an opening of its own, whatever stands beside it"


@st.composite
def families(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Two heads that make an opening; and heads, sound and unsound, that begin as they do and differ in what decides."""
    opening = draw(st.lists(telling_lines | shared_lines, max_size=2, unique=True))
    opening.insert(draw(st.integers(0, len(opening))), LONG)
    if b"Host: shop.example" not in opening and draw(st.integers(0, 3)):
        opening.insert(0, b"Host: shop.example")
    teachers = [b"GET / HTTP/1.1\r\n" + b"\r\n".join([*opening, b"X-Trace: %d" % number]) for number in (1, 2)]
    heads: list[bytes] = []
    for first_line in draw(st.lists(st.just(b"GET /a HTTP/1.1") | first_lines, min_size=1, max_size=4)):
        head = b"\r\n".join([first_line, *opening, *draw(telling_lines.map(lone) | own_lines)]) + b"\r\n\r\n"
        behind = draw(st.sampled_from([b"", b"", b"abc", head]))
        cut = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 5]))
        heads.append((head + behind)[: -cut or None])
    return [teacher + b"\r\n\r\n" for teacher in teachers], heads


def sum_of(family: tuple[list[bytes], list[bytes]]) -> list[bytes]:
    return [*family[0], *family[1]]


@given(families(), st.builds(Limits, st.integers(100, 400), st.integers(1, 6), st.integers(1, 12)) | st.just(LIMITS))
def test_a_head_read_by_its_opening_says_what_it_says_without(
    family: tuple[list[bytes], list[bytes]], limits: Limits
) -> None:
    (before, first), others = family
    opening = learn_opening(before, first)
    if opening is None:
        return
    for wire in (before, first, *others, *others):
        found = read_opened(wire, opening, limits)
        if found is None:
            continue
        end = find_head_end(wire)
        assert end >= 0
        judged = parse_request(wire[:end], limits)
        assert isinstance(judged, RequestHead), judged
        assert told(found) == told(judged)


def test_every_line_in_and_behind_an_opening_means_what_it_means_without() -> None:
    read = 0
    for inside, behind in product([*SHARED, *TELLING], [*SHARED, *TELLING, *WRONG]):
        start = b"POST / HTTP/1.1\r\nHost: a\r\n" + LONG + b"\r\n" + inside + b"\r\n"
        opening = learn_opening(start + b"X-Trace: 1\r\n\r\n", start + b"X-Trace: 2\r\n\r\n")
        for wire in (start + behind + b"\r\n\r\n", start + b"\r\n") if opening is not None else ():
            assert opening is not None
            found = read_opened(wire, opening, LIMITS)
            judged = parse_request(wire[: find_head_end(wire)], LIMITS)
            assert found is None or told(found) == told(judged)
            read += found is not None
    assert read > 300


def test_a_line_that_has_the_name_of_the_last_one_is_judged_as_without() -> None:
    """Also where both are part of the opening."""
    for behind, following in product([*SHARED, *TELLING], [*SHARED, *TELLING, *WRONG]):
        for inside in ([], [following]):
            start = b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", LONG, *inside]) + b"\r\n"
            opening = learn_opening(start + b"X-Trace: 1\r\n\r\n", start + b"X-Trace: 2\r\n\r\n")
            for line in (behind, following, behind) if opening is not None else ():
                assert opening is not None
                wire = start + line + b"\r\n\r\n"
                found = read_opened(wire, opening, LIMITS)
                assert found is None or told(found) == told(parse_request(wire[: find_head_end(wire)], LIMITS))


def test_every_first_line_before_an_opening_is_judged_as_without() -> None:
    start = b"\r\nHost: a\r\n" + LONG + b"\r\n"
    opening = learn_opening(b"GET /" + start + b"\r\n", b"PUT /" + start + b"\r\n")
    assert opening is not None
    for line, limits in product(FIRST, (LIMITS, Limits(target_bytes=5))):
        wire = line + start + b"\r\n"
        found = read_opened(wire, opening, limits)
        judged = parse_request(wire, limits)
        assert found is None or told(found) == told(judged)
        assert (found is not None) or not line.startswith(b"GET /a?") or limits is not LIMITS


@given(mutated(), mutated(), st.lists(mutated(), max_size=3))
def test_an_opening_learnt_from_noise_changes_no_verdict(before: bytes, first: bytes, others: list[bytes]) -> None:
    """Also where the heads compared were never accepted."""
    opening = learn_opening(before + LONG + b"\r\n", before + LONG)
    for wire in (before, first, *others) if opening is not None else ():
        assert opening is not None
        head = wire.partition(b"\r\n")[0] + b"\r\n" + opening.octets + wire.partition(b"\r\n")[2]
        found = read_opened(head, opening, LIMITS)
        if found is not None:
            judged = parse_request(head[: find_head_end(head)], LIMITS)
            assert isinstance(judged, RequestHead), judged
            assert told(found) == told(judged)


@given(requests(), st.sampled_from([b"/", b"/other?x=1"]), st.binary(max_size=8))
def test_a_sound_head_that_begins_alike_is_read_by_its_opening(wire: bytes, target: bytes, unique: bytes) -> None:
    end = find_head_end(wire)
    _line, _, lines = wire[: end - 2].partition(b"\r\n")
    lines = b"User-Agent: " + b"u" * 64 + b"\r\n" + lines
    one, other = (
        b"GET %b HTTP/1.1\r\n%bX-Trace: %b\r\n\r\n" % (place, lines, trace)
        for place, trace in ((b"/", b"0"), (target, unique.hex().encode() or b"1"))
    )
    opening = learn_opening(one, other)

    assert opening is not None
    assert read_opened(other, opening, LIMITS) is not None
    assert read_opened(other[:-1], opening, LIMITS) is None


@given(st.lists(families().map(sum_of) | st.lists(mutated() | table_wires), max_size=3), st.sampled_from([1, 4, 1024]))
def test_lines_seen_before_change_no_verdict(sequences: list[list[bytes]], most: int) -> None:
    plain = PlainLines(most)
    for wire in (wire for sequence in sequences for wire in sequence for _ in range(2)):
        head = wire[: find_head_end(wire)] if b"\r\n\r\n" in wire else wire
        assert told(parse_request(head, LIMITS, plain)) == told(parse_request(head, LIMITS))
        answer = b"HTTP/1.1 200 OK\r\n" + head.partition(b"\r\n")[2]
        assert told(parse_response(answer, "GET", LIMITS, plain)) == told(parse_response(answer, "GET", LIMITS))
        assert len(plain.known) <= most


BACKENDS = tuple(Backend(name=name, service="a/b", version=name) for name in ("one", "two"))
ROUTES = (
    Route(
        name="by a field",
        matches=(Match(path=PathMatch(value="/a"), headers=(HeaderMatch(name="x-bare", value="1"),)),),
        backends=(WeightedBackend(backend="two"),),
    ),
    Route(name="others", backends=(WeightedBackend(backend="one"),)),
)
POLICIES = (
    Policy(name="get", action=Action.ALLOW, rules=(Rule(operations=(Operation(methods=("GET", "BREW")),)),)),
    Policy(name="post", action=Action.ALLOW, rules=(Rule(operations=(Operation(methods=("POST",), paths=("/",)),)),)),
)


def relay_of(limits: LimitsInForce) -> Relay:
    made = Relay(Dispatcher(lambda _: None), Counters())
    port = ServicePort(port=80, target_port=81, routes=ROUTES)
    service = Service(name="a/b", address="127.80.0.1", ports=(port,), policies=("get", "post"))
    made.adopt(
        build_tables(
            Snapshot(
                generation=1,
                mesh="m",
                trust_domain="m",
                services=(service,),
                backends=BACKENDS,
                policies=POLICIES,
                doors=(Door(port=1, service="a/b", service_port=80),),
                limits=limits,
            )
        )
    )
    return made


class Reading:
    """One connection, whose heads are read and judged as a caller's are, each served before the next one comes."""

    def __init__(self, limits: LimitsInForce) -> None:
        self.relay = relay_of(limits)
        self.reader = HeadReader()
        self.alike = 0
        """Heads that were judged with others like them."""

    def serve(self, wire: bytes) -> dict[str, object]:
        """All that becomes of a head: what it says, what was decided, and what is sent."""
        relay = self.relay
        lane = relay.lane(Arrival("", "", 1))
        judged = self.reader.recall(lane, wire)
        begun = b""
        if judged is None:
            judged, begun, size = self.reader.recall_alike(relay, lane, wire)
            if judged is not None:
                self.alike += 1
                common, end = told(judged.head), judged.end(b"id", b"trace")
                judged = judged.read_again(wire[:size])
                whole = told(judged.head)
                own = {"target", "origin", "query", "size", "lines", "fields", "forward"}
                assert {name: common[name] for name in common.keys() - own} == {
                    name: whole[name] for name in whole.keys() - own
                }
                assert end == judged.end(b"id", b"trace")
                assert begun == judged.begin()
        if judged is None:
            head = self.reader.read(relay, lane, wire)
            if not isinstance(head, RequestHead):
                return told(head) if head is not None else {}
            judged = judge_head(relay, lane, head)
            self.reader.keep(relay, lane, wire, judged)
        return told(judged.head) | {
            "refused": judged.refusal,
            "verdict": repr(judged.verdict),
            "route": judged.route.name if judged.route is not None else "",
            "offers": judged.upgrade,
            "counted": judged.protocol,
            "sent": (begun or judged.begin()) + judged.end(b"id", b"trace"),
        }


def teachers(before: bytes, first: bytes) -> list[bytes]:
    """So many heads like these that a connection looks for none that repeats."""
    line, ended, lines = before.partition(b"\r\n")
    fields = lines[: lines.rindex(b"X-Trace")]
    return [before, first, *(line + ended + fields + b"X-Trace: %d\r\n\r\n" % number for number in range(3, 20))]


@given(
    families(),
    st.builds(
        LimitsInForce,
        header_bytes=st.integers(300, 400),
        header_count=st.integers(3, 6),
        target_bytes=st.integers(4, 12),
    )
    | st.just(LimitsInForce()),
)
def test_a_head_that_is_one_of_many_alike_comes_to_what_it_comes_to_alone(
    family: tuple[list[bytes], list[bytes]], limits: LimitsInForce
) -> None:
    (before, first), others = family
    reading = Reading(limits)
    for wire in (*teachers(before, first), *(other for other in others for _ in range(4)), *others):
        assert reading.serve(wire) == Reading(limits).serve(wire)


def test_every_query_and_every_field_behind_heads_alike_means_what_it_means_alone() -> None:
    alike = 0
    start = b"\r\nHost: a\r\n" + LONG + b"\r\n"
    queries = (b"", b"?", b"?b=c", b"?b=c#d", b"?b c", b"?\x7f", b"?\xe9", b"?b HTTP/1.1", b"?b\r\nX-Bare: 1")
    for line in FIRST:
        asked = line.partition(b" HTTP")[0]
        reading = Reading(LimitsInForce())
        for number in range(MAX_MISSES + 4):
            reading.serve(asked.partition(b"?")[0] + b" HTTP/1.1" + start + b"X-Trace: %d\r\n\r\n" % number)
        ends = [(query, b"X-Trace: 1") for query in queries]
        ends += [(b"?b=c", last) for behind in (*SHARED, *TELLING, *WRONG) for last in (behind, b"X-Trace: 1", behind)]
        for query, last in ends:
            wire = asked + query + b" HTTP/1.1" + start + last + b"\r\n\r\n"
            assert reading.serve(wire) == Reading(LimitsInForce()).serve(wire)
        alike += reading.alike
    assert alike > 100
