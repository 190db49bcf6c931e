"""Laws of what is remembered of answers' heads: it changes how long they take to read, never what comes of it."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tests.support.h1_reading import told
from tests.support.h1_wire import mutated
from tulle.http.h1 import Limits, ResponseHead, find_head_end, parse_response, write_response
from tulle.http.response_opening import (
    ResponseOpening,
    find_opened_end,
    learn_response_opening,
    read_opened_response,
)
from tulle.http.write import closing

LIMITS = Limits()

FIRST = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 ",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 503",
]
NO_ANSWER = [
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.1 103 Early Hints",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 200\tOK",
    b"HTTP/1.1 099 ",
    b"",
]
LONG = b"Server: one whose name is long enough to make an opening of its own, whatever stands beside it"
SHARED = [
    LONG,
    b"Date: Sat, 21 Nov 2026 23:00:30 GMT",
    b'ETag: "5f2c-1a"',
    b"X-Secret: 1",
    b"X-Bare: 1",
    b"X-Text: \xe9",
]
TELLING = [
    b"Content-Length: 0",
    b"Content-Length: 3",
    b"cONTENT-lENGTH: 3",
    b"cONNECTION: close",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Connection: x-secret",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Keep-Alive: timeout=5",
    b"TE: trailers",
    b"Accept-Ranges:bytes",
    b"Vary:  \t ",
    b"x-request-id: 7",
    b"traceparent: 7",
]
WRONG = [
    b"Content-Length: 4",
    b"Content-Length: -1",
    b"content-length: 3",
    b"Transfer-Encoding: gzip, chunked",
    b"X-Secret : 1",
    b" folded",
    b"no colon",
    b": 1",
    b"Host : a",
    b"X-Bare: \r1",
    b"X-Bare: 1\r",
    b"X-Bare: \n1",
    b"X-Bare: \x001",
    b"X-Bare: 1\x7f",
    b"X-Bare:  1",
    b"X-Bare: \t1",
    b"X-Bare: 1 ",
    b"X-Bare: 1\t",
    b"X-Bare: ",
    b"",
]
ANY = [*SHARED, *TELLING, *WRONG]


def same(found: ResponseHead, wire: bytes, limits: Limits = LIMITS) -> None:
    """It says what a whole look at the head says, and is sent as that would be."""
    end = find_head_end(wire)
    assert end >= 0
    judged = parse_response(wire[:end], "GET", limits)
    assert isinstance(judged, ResponseHead), judged
    assert {**told(found), "wire": b""} == told(judged)
    assert found.wire in (b"", write_response(judged, 1, False))


def read(wire: bytes, opening: ResponseOpening, limits: Limits) -> ResponseHead | None:
    """The head by its opening; where that alone would do, it does."""
    end = find_opened_end(wire, opening, limits)
    if end >= 0:
        assert end == find_head_end(wire)
        judged = parse_response(wire[:end], "GET", limits)
        assert isinstance(judged, ResponseHead), judged
        own = {"lines", "fields", "forward", "size", "wire"}
        common, whole = told(opening.head), told(judged)
        assert {name: common[name] for name in common.keys() - own} == {
            name: whole[name] for name in whole.keys() - own
        }
        sent = opening.wire + wire[opening.size : end]
        assert sent == write_response(judged, 1, False)
        assert sorted(closing(sent).split(b"\r\n")) == sorted(write_response(judged, 1, True).split(b"\r\n"))
    return read_opened_response(wire, opening, limits)


def learnt(start: bytes) -> ResponseOpening | None:
    return learn_response_opening(start + b"X-Answer: 1\r\n\r\n", start + b"X-Answer: 2\r\n\r\n", LIMITS)


def test_every_line_behind_every_opening_means_what_it_means_without() -> None:
    """Also behind, and instead of, one that was guessed to come."""
    reads = 0
    for first, inside in product(FIRST, [*SHARED[1:], *TELLING, *WRONG]):
        start = b"\r\n".join([first, LONG, inside]) + b"\r\n"
        opening = learnt(start)
        for before, line in product([b"X-Bare: 1", b"Vary: b"], ANY) if opening is not None else ():
            assert opening is not None
            for lines in ([before, line], [before], [line], []):
                wire = b"".join([start, *(one + b"\r\n" for one in lines), b"\r\nabc"])
                found = read(wire, opening, LIMITS)
                if found is not None:
                    same(found, wire)
                    reads += 1
    assert reads > 10_000


@given(
    st.lists(st.sampled_from([*SHARED, *TELLING]), max_size=3),
    st.sampled_from([*FIRST, *NO_ANSWER]),
    st.lists(st.tuples(st.sampled_from(FIRST), st.lists(st.sampled_from(ANY), max_size=4)), min_size=1, max_size=6),
    st.builds(Limits, st.integers(100, 400), st.integers(1, 6)) | st.just(LIMITS),
)
def test_a_head_read_by_its_opening_says_what_it_says_without(
    inside: list[bytes], first: bytes, others: list[tuple[bytes, list[bytes]]], limits: Limits
) -> None:
    """One opening reads them all, and guesses by each what follows in the next."""
    opening = learnt(b"\r\n".join([first, LONG, *inside]) + b"\r\n")
    for other, behind in [*others, *others] if opening is not None else ():
        assert opening is not None
        for line in (first, other):
            wire = b"\r\n".join([line, LONG, *inside, *behind]) + b"\r\n\r\nHTTP/1.1"
            found = read(wire, opening, limits)
            if found is not None:
                same(found, wire, limits)


@given(mutated(), mutated(), st.lists(mutated(), max_size=3))
def test_an_opening_learnt_from_noise_changes_no_verdict(before: bytes, first: bytes, others: list[bytes]) -> None:
    start = b"HTTP/1.1 200 OK\r\n" + LONG + b"\r\n"
    opening = learn_response_opening(start + before, start + first, LIMITS)
    for wire in (before, first, *others) if opening is not None else ():
        assert opening is not None
        found = read(opening.octets + wire, opening, LIMITS)
        if found is not None:
            same(found, opening.octets + wire)


def test_a_sound_head_that_begins_alike_is_read_by_its_opening_once_it_is_whole() -> None:
    start = b"HTTP/1.1 200 OK\r\n" + LONG + b"\r\nContent-Length: 3\r\n"
    opening = learnt(start)
    assert opening is not None
    for behind in (b"", b"X-Answer: 1\r\n", b"X-Answer: 22\r\nETag: a\r\n", b"Connection: close\r\n"):
        wire = start + behind + b"\r\n"
        for _ in range(2):
            assert read(wire + b"abc", opening, LIMITS) is not None
            for cut in range(1, len(wire)):
                assert read(wire[:-cut], opening, LIMITS) is None


def test_interim_answers_make_no_opening() -> None:
    for first in NO_ANSWER:
        assert learnt(first + b"\r\n" + LONG + b"\r\n") is None


def test_limits_hold_for_opening_and_rest_together_also_when_the_rest_was_guessed() -> None:
    start = b"HTTP/1.1 200 OK\r\n" + LONG + b"\r\n"
    opening = learnt(start)
    wire = start + b"X-Answer: 1\r\n\r\n"
    assert opening is not None
    for _ in range(2):
        assert read(wire, opening, LIMITS) is not None
        assert read(wire, opening, Limits(header_count=1)) is None
        assert read(wire, opening, Limits(header_bytes=len(wire) - 1)) is None
    assert find_opened_end(wire, opening, LIMITS) == len(wire)
    assert find_opened_end(wire, opening, Limits(header_count=1)) < 0
    assert find_opened_end(wire, opening, Limits(header_bytes=len(wire) - 1)) < 0
