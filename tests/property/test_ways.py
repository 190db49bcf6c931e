"""Laws of all that lies between a caller and an endpoint: no cut and no memory changes what is answered or what goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.framing import REQUESTS, RESPONSES, RequestRow, ResponseRow
from tests.support.h1_wire import connections, cuts, mutated
from tests.support.relayed import check_answers, check_requests

SMALL = [row for row in REQUESTS if len(row.wire) < 500 and row.name != "preface of HTTP/2"]
answers = st.sampled_from([row.wire for row in RESPONSES])
methods = st.sampled_from([b"GET", b"HEAD"])


@given(connections.filter(lambda wire: b"%" not in wire), cuts)
def test_sound_requests_go_on_alike_however_they_come(wire: bytes, places: list[int]) -> None:
    assert check_requests(wire, places) > 0


@given(mutated(), cuts)
def test_spoilt_requests_are_answered_and_go_on_alike_however_they_come(wire: bytes, places: list[int]) -> None:
    check_requests(wire, places)


@given(answers | mutated(), methods, cuts)
def test_answers_come_alike_however_they_are_cut_and_whatever_is_known(
    wire: bytes, method: bytes, places: list[int]
) -> None:
    check_answers(wire, method, places)


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_every_request_of_the_table_octet_by_octet(row: RequestRow) -> None:
    assert check_requests(row.wire, list(range(len(row.wire)))) == row.answers.count(200)


@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: row.name)
def test_every_answer_of_the_table_octet_by_octet(row: ResponseRow) -> None:
    places = list(range(min(len(row.wire), 500)))
    is_beyond_our_limits = row.name in ("head too long", "too many fields")
    assert check_answers(row.wire, row.method.encode(), places) == (row.payload is not None or is_beyond_our_limits)
