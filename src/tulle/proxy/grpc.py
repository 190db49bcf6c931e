"""What the proxy knows of gRPC: which calls are gRPC, and how long they may take (gRPC over HTTP2, github.com/grpc/grpc)."""

from __future__ import annotations

from typing import Final

_UNITS: Final[dict[bytes, float]] = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
MAX_DIGITS: Final = 8


def is_grpc_type(content_type: bytes) -> bool:
    """Whether a content type says gRPC: `application/grpc`, with a suffix or parameters or without."""
    if not content_type.startswith(b"application/grpc"):
        return False
    rest = content_type[16:17]
    return rest in (b"", b"+", b";", b" ")


def timeout_of(value: bytes | None) -> float:
    """Seconds that `grpc-timeout` says; -1.0 without it, or when it is malformed."""
    if value is None:
        return -1.0
    unit = _UNITS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not digits.isdigit() or len(digits) > MAX_DIGITS:
        return -1.0
    return int(digits) * unit
