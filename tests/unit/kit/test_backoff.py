"""Pauses between restarts: they grow, are forgiven after ten minutes of running, and the first few may cost nothing."""

from tulle.kit.backoff import STEADY_SECONDS, Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.1, 1.0)

    assert [backoff.after(0.0) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_service_that_ends_every_minute_is_started_ever_more_slowly() -> None:
    backoff = Backoff(0.1, 30.0)

    pauses = [backoff.after(60.0) for _ in range(10)]

    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0


def test_ten_minutes_of_running_are_forgiven() -> None:
    backoff = Backoff(0.1, 30.0)
    for _ in range(8):
        backoff.after(1.0)

    assert backoff.after(STEADY_SECONDS) == 0.1
    assert STEADY_SECONDS == 600.0


def test_a_number_of_ends_may_be_free() -> None:
    backoff = Backoff(0.1, 5.0, free=3)

    assert [backoff.after(1.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.1, 0.2]
    assert [backoff.after(STEADY_SECONDS), backoff.after(1.0)] == [0.0, 0.0]


def test_pauses_stay_finite_for_ever() -> None:
    backoff = Backoff(0.1, 30.0)

    assert {backoff.after(0.0) for _ in range(5000)} >= {30.0}
