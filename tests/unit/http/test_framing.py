"""Every row of the framing table, read whole and octet by octet."""

from __future__ import annotations

import pytest

from tests.support.framing import REQUESTS, RESPONSES, RequestRow, ResponseRow
from tests.support.h1_reading import read_requests, read_response
from tulle.http.h1 import Refusal


def octets(wire: bytes, size: int) -> list[bytes]:
    return [wire[at : at + size] for at in range(0, len(wire), size)]


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row.name)
def test_request_is_judged_as_the_table_says(row: RequestRow) -> None:
    reading = read_requests([row.wire])

    assert reading.answers == row.answers, reading.refusal


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row.name)
def test_request_in_small_pieces_is_judged_alike(row: RequestRow) -> None:
    reading = read_requests(octets(row.wire, 1 if len(row.wire) < 2_000 else 97))

    assert reading.answers == row.answers, reading.refusal


@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: row.name)
def test_response_is_judged_as_the_table_says(row: ResponseRow) -> None:
    whole = read_response([row.wire], row.method)
    cut = read_response(octets(row.wire, 1), row.method)

    for read in (whole, cut):
        if row.payload is None:
            assert isinstance(read, Refusal)
        else:
            assert not isinstance(read, Refusal), read
            assert read[1] == row.payload


def test_names_of_rows_are_unique() -> None:
    names = [row.name for row in REQUESTS]

    assert len(names) == len(set(names)) >= 120
