"""Reads whole connections through the codec, cut wherever a test likes: the smallest honest user of `tulle.http.h1`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tulle.http.h1 import (
    BodyReader,
    Limits,
    Refusal,
    RequestHead,
    ResponseHead,
    find_head_end,
    parse_request,
    parse_response,
    refuse_early,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMITS = Limits()


@dataclass(slots=True)
class Message:
    head: RequestHead
    payload: bytes
    trailers: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Reading:
    """What came of a connection's octets."""

    messages: list[Message] = field(default_factory=list)
    refusal: Refusal | None = None

    @property
    def answers(self) -> tuple[int, ...]:
        accepted = tuple(200 for _ in self.messages)
        return accepted if self.refusal is None else (*accepted, self.refusal.status)


def read_requests(pieces: Iterable[bytes], limits: Limits = LIMITS) -> Reading:
    """Reads requests until one is refused, one ends the connection, or the pieces end."""
    reading = Reading()
    head: RequestHead | None = None
    body: BodyReader | None = None
    payload: list[bytes] = []
    buffer = b""
    for piece in pieces:
        buffer += piece
        while buffer:
            if head is None or body is None:
                end = find_head_end(buffer, 0)
                if end < 0:
                    reading.refusal = refuse_early(buffer, 0, limits)
                    if reading.refusal is not None:
                        return reading
                    break
                judged = parse_request(buffer[:end], limits)
                if isinstance(judged, Refusal):
                    reading.refusal = judged
                    return reading
                head = judged
                body = BodyReader(head.framing, head.content_length, limits)
                payload = []
                buffer = buffer[end:]
            buffer = buffer[body.feed(buffer, 0, payload) :]
            if body.failed:
                reading.refusal = Refusal(400, body.fault)
                return reading
            if body.done:
                reading.messages.append(Message(head, b"".join(payload), body.trailers))
                if not head.keep_alive:
                    return reading
                head = None
    return reading


def read_response(
    pieces: Iterable[bytes], method: str, limits: Limits = LIMITS
) -> tuple[ResponseHead, bytes] | Refusal:
    """One response, and then the upstream closes."""
    head: ResponseHead | None = None
    body: BodyReader | None = None
    payload: list[bytes] = []
    buffer = b""
    for piece in pieces:
        buffer += piece
        if body is None:
            end = find_head_end(buffer, 0)
            if end < 0:
                continue
            judged = parse_response(buffer[:end], method, limits)
            if isinstance(judged, Refusal):
                return judged
            head = judged
            body = BodyReader(head.framing, head.content_length, limits)
            buffer = buffer[end:]
        buffer = buffer[body.feed(buffer, 0, payload) :]
    if head is None or body is None:
        return Refusal(400, "closed within the head")
    body.end()
    if body.failed:
        return Refusal(400, body.fault)
    return head, b"".join(payload)


def told(head: RequestHead | ResponseHead | Refusal) -> dict[str, object]:
    """Everything that it says."""
    return {name: getattr(head, name) for name in dir(head) if not name.startswith("_") and name != "value"}
