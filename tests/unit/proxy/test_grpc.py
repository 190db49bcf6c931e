"""How gRPC's own words are read."""

import pytest

from tulle.proxy.grpc import (
    MALFORMED,
    NO_TIMEOUT,
    STATUSES,
    class_of,
    is_grpc_type,
    status_of,
    status_of_reset,
    timeout_of,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, NO_TIMEOUT),
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"250m", 0.25),
        (b"99999999u", 99.999999),
        (b"0n", 0.0),
        (b"100000000n", MALFORMED),
        (b"", MALFORMED),
        (b"S", MALFORMED),
        (b"5", MALFORMED),
        (b"5s", MALFORMED),
        (b"-1S", MALFORMED),
        (b"1.5S", MALFORMED),
        (b" 1S", MALFORMED),
        (b"1S, 2S", MALFORMED),
        ("²S".encode(), MALFORMED),
    ],
)
def test_a_timeout_is_eight_digits_at_most_and_a_unit(value: bytes | None, seconds: float) -> None:
    assert timeout_of(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("content_type", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_grpc_is_told_by_its_content_type(content_type: bytes, is_grpc: bool) -> None:
    assert is_grpc_type(content_type) is is_grpc


@pytest.mark.parametrize(
    ("value", "http_status", "name"),
    [
        (b"0", 200, "OK"),
        (b"16", 200, "UNAUTHENTICATED"),
        (b"17", 200, "UNKNOWN"),
        (b"-1", 200, "UNKNOWN"),
        (b"00", 200, "UNKNOWN"),
        (b"x" * 1000, 200, "UNKNOWN"),
        (b"5", 503, "NOT_FOUND"),
        (None, 200, "UNKNOWN"),
        (None, 400, "INTERNAL"),
        (None, 401, "UNAUTHENTICATED"),
        (None, 403, "PERMISSION_DENIED"),
        (None, 404, "UNIMPLEMENTED"),
        (None, 429, "UNAVAILABLE"),
        (None, 502, "UNAVAILABLE"),
        (None, 503, "UNAVAILABLE"),
        (None, 504, "UNAVAILABLE"),
        (None, 500, "UNKNOWN"),
    ],
)
def test_an_answer_has_the_status_that_callers_make_of_it(value: bytes | None, http_status: int, name: str) -> None:
    assert STATUSES[status_of(value, http_status)] == name


@pytest.mark.parametrize(
    ("code", "name"),
    [(0, "INTERNAL"), (1, "INTERNAL"), (7, "UNAVAILABLE"), (8, "CANCELLED"), (11, "RESOURCE_EXHAUSTED"), (12, "PERMISSION_DENIED"), (99, "INTERNAL")],
)  # fmt: skip
def test_a_reset_has_the_status_that_grpc_gives_its_code(code: int, name: str) -> None:
    assert STATUSES[status_of_reset(code)] == name


def test_classes_follow_whose_fault_it_was() -> None:
    by_class = {digit: {name for n, name in enumerate(STATUSES) if class_of(n) == digit - 1} for digit in (2, 4, 5)}
    assert by_class[2] == {"OK"}
    assert by_class[5] == {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
    assert len(by_class[4]) == 10
