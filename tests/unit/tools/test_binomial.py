"""The arithmetic by which a split is judged."""

import pytest

from tools.binomial import is_kept, is_plausible, wilson


def test_wilson_gives_the_textbook_interval() -> None:
    # Newcombe 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("hits", "plausible"), [(0, False), (150, False), (200, True), (160, True), (255, False)])
def test_one_percent_of_twenty_thousand(hits: int, plausible: bool) -> None:
    assert is_plausible(hits, 20_000, 0.01) is plausible


def test_the_bound_cuts_off_what_it_says() -> None:
    # Chance of 0 of 700 at 1 % is 0.00088, above the tail of 0.0005; of 0 of 800 it is 0.00032.
    assert is_plausible(0, 700, 0.01)
    assert not is_plausible(0, 800, 0.01)


@pytest.mark.parametrize(("draws", "kept"), [([200], True), ([400, 200], True), ([400, 100], False)])
def test_a_split_is_kept_unless_two_draws_in_a_row_are_not_plausible(draws: list[int], kept: bool) -> None:
    left = iter(draws)
    assert is_kept(lambda: next(left), 20_000, 0.01) is kept
    assert list(left) == []
