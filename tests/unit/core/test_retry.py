import pytest

from tulle.core.retry import MAX_ATTEMPTS, MAX_CONNECTS, may_reconnect, may_retry


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
def test_an_idempotent_request_without_answer_is_sent_once_more(method: str) -> None:
    assert may_retry(method, True, True, 1)
    assert not may_retry(method, True, True, MAX_ATTEMPTS)


@pytest.mark.parametrize("method", ["POST", "PATCH", "get", "PURGE", ""])
def test_what_may_have_had_an_effect_is_never_sent_twice(method: str) -> None:
    assert not may_retry(method, True, True, 1)


def test_an_answer_that_began_or_a_body_that_is_gone_forbids_it() -> None:
    assert not may_retry("GET", False, True, 1)
    assert not may_retry("GET", True, False, 1)


def test_connecting_is_tried_a_bounded_number_of_times() -> None:
    assert [may_reconnect(attempt) for attempt in range(1, MAX_CONNECTS + 1)] == [True, True, False]
