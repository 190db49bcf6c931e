"""What must hold of whatever octets a caller or an endpoint sends through a relay."""

from __future__ import annotations

import re
from typing import Final

from tests.support.bridging import OURS, by_h11
from tests.support.h1_reading import Message, read_requests
from tests.support.h1_wire import cut
from tests.support.relayed import LIMITS, OK, STATUS, House, Run
from tulle.core.request import canonical_path
from tulle.http.h1 import Limits as HeadLimits
from tulle.http.h2.frames import PREFACE

HEADS: Final = HeadLimits(LIMITS.header_bytes, LIMITS.header_count, LIMITS.target_bytes)
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
        assert (target, body) == (meant(message), message.payload)
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


def meant(message: Message) -> bytes:
    """The target as the policies read it, which is how it goes on."""
    path, asked, query = message.head.origin.partition(b"?")
    readings = canonical_path(path)
    assert readings is not None
    return readings[0].encode() + asked + query


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
