"""The framing table, row by row, on every way into the proxy and whatever is remembered of heads: the same answers, and the same messages go on."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.bridging import OURS, Pairs
from tests.support.framing import GET, NEXT, REQUESTS, RequestRow
from tests.support.h1_reading import Message, read_requests
from tests.support.proxy_harness import Client
from tests.support.relay_laws import begun_alike, meant
from tests.support.ways import WAYS, Ways
from tulle.http.h1 import Limits as HeadLimits
from tulle.proxy.detect import HTTP, guess_protocol
from tulle.wire.snapshot import Limits

LIMITS = Limits(header_bytes=32_768, header_count=100, target_bytes=8_192)
HEADS = HeadLimits(header_bytes=32_768, header_count=100, target_bytes=8_192)
HOST_ITSELF = b"\r\nHost: shop.example\r\n"
FORWARDS = ("path", "forward")
"""These find the service by what the head says: a row may mean another one, or none."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the proxy has seen before a row comes, and how the row comes then."""

    name: str
    before: Callable[[bytes], tuple[bytes, ...]] = lambda _wire: ()
    """Whole connections."""
    spell: Callable[[bytes], bytes] = lambda wire: wire
    pieces: int = 1


TEACHERS = tuple(begun_alike(GET + b"X: %d\r\n\r\n" % number) for number in (1, 2))
KNOWN = (
    Known("nothing"),
    Known("the same octets", before=lambda wire: (wire, wire)),
    Known("heads that begin alike", before=lambda _wire: TEACHERS, spell=begun_alike),
    Known("its first half", pieces=2),
)


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with Ways(LIMITS) as made:
        yield made
        assert made.proxy.metrics().sum("tulle_defects_total") == 0


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_answers_and_sends_on_as_the_table_says(ways: Ways, way: str, known: Known) -> None:
    held = 0
    for row in REQUESTS:
        wire = known.spell(row.wire)
        if says_nothing(way, row, wire):
            continue
        for before in known.before(wire):
            answers_to(ways, way, [before], len(row.answers) if before == wire else 1)
        ways.judge.take()
        cut = len(wire) // known.pieces
        answers = answers_to(ways, way, [wire[:cut], wire[cut:]] if cut < len(wire) else [wire], len(row.answers))
        seen = ways.judge.take()
        if way not in FORWARDS or names_the_service(way, wire):
            assert answers == row.answers, row.name
            held += 1
        else:
            pairs = zip(answers, row.answers, strict=False)
            assert all(got >= 400 or got == told for got, told in pairs), (row.name, answers)
        went_on(seen, read_requests([wire], HEADS).messages, answers)
    assert held > (100 if way in FORWARDS else 230)


def answers_to(ways: Ways, way: str, pieces: list[bytes], count: int) -> tuple[int, ...]:
    """The statuses of so many answers, or up to a refusal, which is the last."""
    answers: list[int] = []
    with ways.by_name[way]() as sock:
        client = Client(sock)
        for piece in pieces:
            client.send(absolute(piece) if way == "forward" else piece)
        while len(answers) < count and answers[-1:] < [400]:
            answers.append(client.read()[0])
    return tuple(answers)


def went_on(seen: list[tuple[bytes, bytes, Pairs]], read: list[Message], answers: tuple[int, ...]) -> None:
    """What the endpoint's judge read is what was accepted, in its order, with no field that did not come."""
    accepted = [message for message, status in zip(read, answers, strict=False) if status == 200]
    assert [(target, body) for target, body, _ in seen] == [(meant(one), one.payload) for one in accepted]
    for (_, _, fields), message in zip(seen, accepted, strict=True):
        for name, value in fields:
            assert name[:1] == b":" or name in OURS or (name, value) in message.head.fields, name


def says_nothing(way: str, row: RequestRow, wire: bytes) -> bool:
    """Whether a row is not of a way: what looks like no HTTP is not detected, a preface begins HTTP/2, `h2` takes no request without a host,
    CONNECT asks the forward proxy for a tunnel; and what is as long as may be, or counted, bears nothing more."""
    return (
        row.name == "preface of HTTP/2"
        or (row.name == "as many fields as may be" and wire != row.wire)
        or ("detected" in way and guess_protocol(wire) != HTTP)
        or (way == "door, to HTTP/2" and 200 in row.answers and b"\nhost:" not in first_head(wire).lower())
        or (way in FORWARDS and row.name == "CONNECT")
        or (way == "forward" and row.name in ("target as long as may be", "chunk that looks like a request"))
    )


def names_the_service(way: str, wire: bytes) -> bool:
    """Whether all that the forward proxy reads of where a request leads is a name of the service."""
    return (
        HOST_ITSELF in first_head(wire)
        and wire.lower().count(b"host: ") == wire.count(HOST_ITSELF)
        and wire.startswith((b"GET /", b"POST /"))
    )


def first_head(wire: bytes) -> bytes:
    """Up to its empty line, without it."""
    return wire.partition(b"\r\n\r\n")[0] + b"\r\n"


def absolute(wire: bytes) -> bytes:
    """The same requests with the service in their targets."""
    place = b" http://shop.example/"
    wire = re.sub(rb"\A((?:\r\n)?(?:GET|POST)) /", lambda found: found[1] + place, wire)
    return wire.replace(NEXT, NEXT.replace(b" /", place, 1))
