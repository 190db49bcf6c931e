"""A summary of the proxy's becomes one line for a person."""

import json
import re

import pytest

from tulle.cli.tap import words_of, words_of_access

DENIED = {
    "time": 1795277451.6202877, "id": "701f", "source": "dev/spy", "destination": "prod/payments", "version": "", "route": "prod/payments",
    "method": "GET", "host": "payments.prod", "path": "/payments/42", "status": 403, "class": "4xx", "reason": "denied",
    "policy": "prod/no-dev", "seconds": 0.0, "bytes_in": 0, "bytes_out": 0,
}  # fmt: skip


def words(**changed: object) -> str:
    return words_of(json.dumps(DENIED | changed).encode())


def test_a_refusal_is_one_line_with_its_policy() -> None:
    said = re.sub(r"^\d\d:\d\d:51\.620  ", "", words())

    assert said == (
        "dev/spy → prod/payments  GET payments.prod/payments/42  403 denied by prod/no-dev  0 ms  id=701f  route=prod/payments"
    )


@pytest.mark.parametrize(
    ("changed", "holds"),
    [
        ({"version": "v1"}, "→ prod/payments v1  GET"),
        ({"status": 200, "class": "2xx", "reason": "", "policy": ""}, "  200  0 ms"),
        ({"status": 0, "class": "aborted", "reason": "", "policy": ""}, "  aborted  "),
        ({"status": 200, "class": "truncated", "reason": "upstream-reset", "policy": ""}, "  200 truncated upstream-reset  "),
        ({"seconds": 0.0123, "bytes_in": 5, "bytes_out": 70}, "  12.3 ms  5/70 octets  "),
        ({"protocol": "http"}, "→ prod/payments  GET payments"),
        ({"protocol": "http2"}, "→ prod/payments  GET payments"),
        ({"protocol": "grpc", "grpc_status": "PERMISSION_DENIED"}, "→ prod/payments  grpc payments.prod/payments/42  PERMISSION_DENIED denied by"),
        ({"protocol": "grpc", "status": 200, "class": "5xx", "reason": "", "policy": "", "grpc_status": "INTERNAL"}, "  INTERNAL  0 ms"),
        ({"news": 1}, "  news=1"),
    ],
)  # fmt: skip
def test_what_came_of_it_is_said(changed: dict[str, object], holds: str) -> None:
    assert holds in words(**changed)


def test_an_opaque_connection_is_one_line() -> None:
    opaque = {name: value for name, value in DENIED.items() if name not in ("id", "method", "host", "path", "status")}
    line = opaque | {"protocol": "tcp", "class": "reset", "seconds": 2, "bytes_in": 5, "bytes_out": 70}

    said = words_of(json.dumps(line).encode())

    assert said.endswith(
        "dev/spy → prod/payments  tcp  reset denied by prod/no-dev  2.0 s  5/70 octets  route=prod/payments"
    )


def test_what_is_missing_is_said() -> None:
    assert words_of(b'{"dropped": 7}') == "… 7 more, for which this reader was too slow"


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b"{}", b"7", b'{"time": "x", "source": "a", "destination": "b"}'])
def test_what_is_no_summary_is_shown_as_it_came(line: bytes) -> None:
    assert words_of(line) == line.decode()


def test_controls_that_a_caller_sent_are_shown_and_not_obeyed() -> None:
    assert "id=\\x9b2J\\n" in words(id="\u009b2J\n")
    assert words_of(b"\x1b[2J") == "\\x1b[2J"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"source": "a/b", "destination": "c/d", "version": "v1", "protocol": "http", "method": "GET", "host": "d",
             "path": "/x", "status": 503, "class": "5xx", "reason": "connect-failed", "duration_ms": 12.3, "bytes_in": 0,
             "bytes_out": 4, "request_id": "r", "trace_id": "t", "retries": 2},
            "a/b → c/d v1  GET d/x  503 connect-failed  12.3 ms  0/4 octets  request_id=r  trace_id=t  retries=2",
        ),
        ({"dropped": 3}, "… 3 more, for which the log was too slow"),
        ({"lost": 3}, "… 3 more, which could not be written"),
        (
            {"source": "a/b", "destination": "c/d", "reason": "denied", "left_out": 7, "seconds": 10.0},
            "… 7 more of a/b → c/d denied within 10 s",
        ),
    ],
)  # fmt: skip
def test_a_line_of_the_access_log_is_one_for_a_person(said: dict[str, object], expected: str) -> None:
    line = json.dumps({"time": "2026-11-21T14:31:33.123456Z"} | said)

    assert words_of_access(line) == f"14:31:33.123  {expected}"


def test_a_line_that_is_none_of_ours_is_shown_without_its_controls() -> None:
    assert words_of_access("\x1b[2J{") == "\\x1b[2J{"
