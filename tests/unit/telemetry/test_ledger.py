"""What the receiver is told is enough to know what it would know if it were told everything."""

import math
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from tulle.telemetry.ledger import Ledger, Point

STEP = 30_000


def ends(points: Iterable[Point]) -> set[str]:
    return {point.series for point in points if math.isnan(point.samples[-1][1])}


def test_an_unchanged_series_is_repeated_only_within_the_time_that_a_query_looks_back() -> None:
    ledger = Ledger(repeat_seconds=120)

    told = [bool(ledger.points(at * STEP, {"a": 1.0})) for at in range(1, 10)]

    assert told == [True, False, False, False, True, False, False, False, True]


def test_a_step_is_told_with_the_value_before_it_so_that_it_stays_a_step() -> None:
    ledger = Ledger()
    ledger.points(STEP, {"a": 1.0})
    ledger.points(2 * STEP, {"a": 1.0})
    ledger.points(3 * STEP, {"a": 1.0})

    assert ledger.points(4 * STEP, {"a": 5.0}) == [Point("a", ((3 * STEP, 1.0), (4 * STEP, 5.0)))]
    assert ledger.points(5 * STEP, {"a": 6.0}) == [Point("a", ((5 * STEP, 6.0),))]


def test_a_series_that_ends_is_marked_once_and_may_begin_again() -> None:
    ledger = Ledger()
    ledger.points(STEP, {"a": 1.0, "b": 1.0})

    assert ends(ledger.points(2 * STEP, {"b": 1.0})) == {"a"}
    assert ledger.points(3 * STEP, {"b": 1.0}) == []
    assert ledger.points(4 * STEP, {"a": 0.0, "b": 1.0}) == [Point("a", ((4 * STEP, 0.0),))]


def test_after_a_loss_everything_is_told_anew() -> None:
    ledger = Ledger()
    ledger.points(STEP, {"a": 1.0, "b": 2.0})

    ledger.forget()

    assert ledger.points(2 * STEP, {"a": 1.0, "b": 2.0}) == [
        Point("a", ((2 * STEP, 1.0),)),
        Point("b", ((2 * STEP, 2.0),)),
    ]


def test_a_clock_that_jumps_does_not_stop_the_telling() -> None:
    ledger = Ledger()
    ledger.points(1_000_000 * STEP, {"a": 1.0})

    assert ledger.points(STEP, {"a": 1.0}) == [Point("a", ((STEP, 1.0),))]
    assert ledger.points(2 * STEP, {"a": 2.0}) == [Point("a", ((2 * STEP, 2.0),))]
    assert ledger.points(1_000_000 * STEP, {"a": 2.0}) == [Point("a", ((1_000_000 * STEP, 2.0),))]


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2).map(float), max_size=4), max_size=40))
def test_whoever_is_told_can_tell_every_value_at_every_time(scrapes: list[dict[str, float]]) -> None:
    ledger = Ledger(repeat_seconds=120)
    known: dict[str, list[tuple[int, float]]] = {}
    for number, scrape in enumerate(scrapes, 1):
        for point in ledger.points(number * STEP, scrape):
            history = known.setdefault(point.series, [])
            assert not history or history[-1][0] < point.samples[0][0], "never out of order"
            history.extend(point.samples)
    for number, scrape in enumerate(scrapes, 1):
        for series, history in known.items():
            at = number * STEP
            before = [value for then, value in history if then <= at]
            recent = [then for then, _ in history if at - 120_000 < then <= at]
            if series in scrape:
                assert before[-1] == scrape[series]
                assert recent, "an instant query finds it"
            else:
                assert not before or math.isnan(before[-1])
