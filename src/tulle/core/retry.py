"""May a request be sent again. Attempts count from 1."""

from typing import Final

MAX_ATTEMPTS: Final = 2
"""Sendings of one request: a stale connection costs one more."""

MAX_CONNECTS: Final = 3
"""Endpoints tried for one request."""

_IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


def is_repeatable(method: str, body_replayable: bool) -> bool:
    """Whether a request may be sent a second time, should the first be lost."""
    return body_replayable and method in _IDEMPOTENT


def may_retry(method: str, nothing_received: bool, body_replayable: bool, attempt: int) -> bool:
    """Whether a request that was sent, at least in part, may be sent once more.

    Only when nothing of an answer came, the method is idempotent (RFC 9110 §9.2.2), and the body is still there:
    none, or not yet read from the caller.
    """
    return nothing_received and attempt < MAX_ATTEMPTS and is_repeatable(method, body_replayable)


def may_reconnect(attempt: int) -> bool:
    """Whether another endpoint may be tried after a connection failed. Nothing was sent, so any request may."""
    return attempt < MAX_CONNECTS
