"""What the proxy says for itself: a reason becomes a response."""

from __future__ import annotations

from tulle.http.write import write_reply
from tulle.wire.reason import Reason


def write_own_answer(
    reason: Reason, request_id: str, *, close: bool, with_body: bool, client_minor: int, status: int = 0
) -> bytes:
    """The whole response. It names the reason and where to ask why, never the policy. `status`: other than the reason's."""
    body = f"tulle: {reason.code}: {reason.meaning}\nhint: tulle why {request_id}\n"
    extra = f"x-tulle-reason: {reason.code}\r\nx-request-id: {request_id}\r\n"
    return write_reply(
        status or reason.status,
        body.encode(),
        extra=extra.encode("latin-1"),
        close=close,
        with_body=with_body,
        client_minor=client_minor,
    )


def reason_of_refusal(status: int) -> Reason:
    """The reason for a status that the codec refuses a head with."""
    if status == 431:
        return Reason.HEAD_TOO_LARGE
    if status == 414:
        return Reason.TARGET_TOO_LONG
    if status == 501:
        return Reason.UNSUPPORTED
    return Reason.BAD_REQUEST
