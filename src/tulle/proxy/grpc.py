"""What the proxy knows of gRPC: which calls are gRPC, how long they may take, how they ended (gRPC over HTTP2, github.com/grpc/grpc)."""

from __future__ import annotations

from typing import Final

from tulle.http.h2.field import CONTENT_TYPE, value_of
from tulle.http.h2.frames import CANCEL, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, REFUSED_STREAM
from tulle.http.head import RequestHead

STATUSES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""By number."""
OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2

MAX_DIGITS: Final = 8
NO_TIMEOUT: Final = -1.0
MALFORMED: Final = -2.0

_UNITS: Final[dict[bytes, float]] = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_NUMBERS: Final[dict[bytes, int]] = {b"%d" % number: number for number in range(len(STATUSES))}
_OF_HTTP: Final[dict[int, int]] = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_OF_RESET: Final[dict[int, int]] = {REFUSED_STREAM: 14, CANCEL: CANCELLED, ENHANCE_YOUR_CALM: 8, INADEQUATE_SECURITY: 7}
_SERVERS_FAULT: Final = (2, 4, 12, 13, 14, 15)
"""UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: what OpenTelemetry counts as a server's error."""


def is_grpc_type(content_type: bytes) -> bool:
    """Whether a content type says gRPC: `application/grpc`, with a suffix or parameters or without."""
    if content_type == b"application/grpc":
        return True
    if not content_type.startswith(b"application/grpc"):
        return False
    rest = content_type[16:17]
    return rest in (b"", b"+", b";", b" ")


def protocol_of(head: RequestHead) -> str:
    """The label of a request: `grpc`, `http2` or `http`. gRPC is HTTP/2, whatever HTTP/1.1 says of its content."""
    if head.going is None:
        return "http"
    content_type = value_of(head.going, CONTENT_TYPE)
    return "grpc" if content_type is not None and is_grpc_type(content_type) else "http2"


def timeout_of(value: bytes | None) -> float:
    """Seconds that `grpc-timeout` says; NO_TIMEOUT without it; MALFORMED."""
    if value is None:
        return NO_TIMEOUT
    unit = _UNITS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not digits.isdigit() or len(digits) > MAX_DIGITS:
        return MALFORMED
    return int(digits) * unit


def status_of(value: bytes | None, http_status: int) -> int:
    """What a caller makes of `grpc-status`; without it, of the HTTP status (gRPC's "HTTP to gRPC Status Code Mapping")."""
    if value is not None:
        return _NUMBERS.get(value, UNKNOWN)
    return _OF_HTTP.get(http_status, UNKNOWN)


def status_of_reset(code: int) -> int:
    """What a caller makes of RST_STREAM with this code."""
    return _OF_RESET.get(code, 13)


def class_of(status: int) -> int:
    """Index into CLASSES: 2xx for OK, 5xx where the service failed, 4xx where it answered the caller that it will not."""
    if status == OK:
        return 1
    return 4 if status in _SERVERS_FAULT else 3
