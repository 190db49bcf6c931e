"""What a receiver's answer means, and how long the next attempt waits."""

import pytest

from tulle.telemetry.delivery import (
    LONGEST_OBEYED_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Later,
    Refused,
    Taken,
    obeyed,
    outcome,
    pause,
)

NOW = 1_700_000_000.0
"""Tue, 14 Nov 2023 22:13:20 GMT."""


@pytest.mark.parametrize("status", [200, 202, 204])
def test_success_is_taken(status: int) -> None:
    assert outcome(status, "", "", NOW) == Taken()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413])
def test_what_no_repetition_mends_is_refused(status: int) -> None:
    assert outcome(status, "5", "out of order sample", NOW) == Refused(f"{status}: out of order sample")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_is_tried_again_when_the_receiver_says_so(status: int) -> None:
    assert outcome(status, "7", "busy", NOW) == Later(f"{status}: busy", 7.0)
    assert outcome(status, "", "", NOW) == Later(f"status {status}", None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999", LONGEST_OBEYED_SECONDS),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_OBEYED_SECONDS),
        ("-1", None),
        ("soon", None),
        ("Tue, 14 Nov 2023 22:14:20 CET", None),
        ("Tue, 34 Nov 2023 22:14:20 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_http_writes_it(text: str, seconds: float | None) -> None:
    assert obeyed(text, NOW) == seconds


def test_pauses_grow_to_a_bound_and_are_spread() -> None:
    assert [pause(n, 1.0) for n in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert [pause(n, 0.0) for n in (1, 2)] == [0.5, 1.0]
    assert pause(10_000, 1.0) == LONGEST_PAUSE_SECONDS
