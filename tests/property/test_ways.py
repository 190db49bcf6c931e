"""Laws of all that lies between a caller and an endpoint: no cut and no memory changes what is answered or what goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.framing import REQUESTS, RESPONSES, RequestRow, ResponseRow
from tests.support.h1_wire import connections, cuts, fields, mutated, spoilt
from tests.support.relay_laws import LONG, SERVER, check_answers, check_requests

SMALL = [row for row in REQUESTS if len(row.wire) < 500 and row.name != "preface of HTTP/2"]
answers = st.sampled_from([row.wire for row in RESPONSES])
sound_requests = st.tuples(
    st.sampled_from([b"GET", b"PUT"]), st.sampled_from([b"/", b"/a?b=c"]), fields, st.booleans(), st.booleans()
).map(lambda drawn: in_a_row(partial(a_request, *drawn[:-1]), drawn[-1]))
sound_answers = st.tuples(fields, st.booleans(), st.booleans()).map(
    lambda drawn: in_a_row(partial(an_answer, *drawn[:-1]), drawn[-1])
)
methods = st.sampled_from([b"GET", b"HEAD"])


def in_a_row(made: Callable[[int], bytes], differ: bool) -> tuple[bytes, ...]:
    """Three, which are recalled when they are the same; else what they begin with is, and the names behind it."""
    return tuple(made(number if differ else 1) for number in (1, 2, 3))


def a_request(method: bytes, target: bytes, pairs: list[tuple[bytes, bytes]], has_body: bool, number: int) -> bytes:
    """One that leaves its connection open, and has a field that makes an opening."""
    lines = (
        LONG
        + b"Host: a\r\n"
        + b"".join(name + b": " + value + b"\r\n" for name, value in [*pairs, (b"X-Number", b"%d" % number)])
    )
    return (
        method + b" " + target + b" HTTP/1.1\r\n" + lines + (b"Content-Length: 3\r\n\r\nabc" if has_body else b"\r\n")
    )


def an_answer(pairs: list[tuple[bytes, bytes]], is_chunked: bool, number: int) -> bytes:
    """Likewise."""
    lines = SERVER + b"".join(name + b": " + value + b"\r\n" for name, value in [*pairs, (b"X-Number", b"%d" % number)])
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" if is_chunked else b"Content-Length: 2\r\n\r\nok"
    return b"HTTP/1.1 200 OK\r\n" + lines + body


@given(connections.filter(lambda wire: b"%" not in wire), cuts)
def test_sound_requests_go_on_alike_however_they_come(wire: bytes, places: list[int]) -> None:
    assert check_requests(wire, places) > 0


@given(mutated(), cuts)
def test_spoilt_requests_are_answered_and_go_on_alike_however_they_come(wire: bytes, places: list[int]) -> None:
    check_requests(wire, places)


@given(st.data(), sound_requests, cuts)
def test_a_request_is_what_it_is_whatever_sound_one_it_resembles(
    data: st.DataObject, before: tuple[bytes, ...], places: list[int]
) -> None:
    check_requests(data.draw(spoilt(before[-1])), places, before)


@given(answers | mutated(), methods, cuts)
def test_answers_come_alike_however_they_are_cut_and_whatever_is_known(
    wire: bytes, method: bytes, places: list[int]
) -> None:
    check_answers(wire, method, places)


@given(st.data(), sound_answers, cuts)
def test_an_answer_is_what_it_is_whatever_sound_one_it_resembles(
    data: st.DataObject, before: tuple[bytes, ...], places: list[int]
) -> None:
    check_answers(data.draw(spoilt(before[-1])), b"GET", places, before)


@pytest.mark.parametrize("spice", [b"\x00", b"\n", b"\xff"])
@pytest.mark.parametrize("differ", [False, True])
def test_any_octet_of_a_head_may_be_another_behind_heads_like_it(differ: bool, spice: bytes) -> None:
    asked = in_a_row(partial(a_request, b"GET", b"/a", [(b"X", b"1")], False), differ)
    answered = in_a_row(partial(an_answer, [(b"X", b"1")], False), differ)
    for at in others_than(asked[-1], LONG):
        check_requests(asked[-1][:at] + spice + asked[-1][at + 1 :], [], asked)
    for at in others_than(answered[-1], SERVER):
        check_answers(answered[-1][:at] + spice + answered[-1][at + 1 :], b"GET", [], answered)


def others_than(wire: bytes, long: bytes) -> list[int]:
    """The places in a message that are not in its long line, which says nothing."""
    begin = wire.index(long)
    return [*range(begin), *range(begin + len(long), len(wire))]


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_every_request_of_the_table_octet_by_octet(row: RequestRow) -> None:
    assert check_requests(row.wire, list(range(len(row.wire)))) == row.answers.count(200)


@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: row.name)
def test_every_answer_of_the_table_octet_by_octet(row: ResponseRow) -> None:
    places = list(range(min(len(row.wire), 500)))
    is_beyond_our_limits = row.name in ("head too long", "too many fields")
    assert check_answers(row.wire, row.method.encode(), places) == (row.payload is not None or is_beyond_our_limits)
