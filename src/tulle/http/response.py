"""Judges response heads. A refused one is the upstream's fault, and the proxy answers 502."""

from __future__ import annotations

from typing import Final

from tulle.http.fields import CRLF, NOTHING_KNOWN, TEXT, Fields, PlainLines, line_fault
from tulle.http.head import CHUNKED, NO_BODY, SIZED, UNTIL_CLOSE, Limits, Refusal, ResponseHead

STATUS_LINE: Final = 12
"""Octets of `HTTP/1.1 200`."""


def parse_response(
    head: bytes, request_method: str, limits: Limits, plain: PlainLines = NOTHING_KNOWN
) -> ResponseHead | Refusal:
    """Judges one whole head, its empty line included, as the answer to a request of this method."""
    if len(head) > limits.header_bytes:
        return Refusal(431, "head too long")
    lines = head.splitlines()
    count = len(lines)
    if head.translate(None, TEXT) != CRLF * count:
        return Refusal(400, line_fault(head))
    if count < 2 or lines[count - 1]:
        return Refusal(400, "incomplete head")
    if count - 2 > limits.header_count:
        return Refusal(431, "too many fields")

    line = lines[0]
    if line.startswith(b"HTTP/1.1 "):
        version_minor = 1
    elif line.startswith(b"HTTP/1.0 "):
        version_minor = 0
    else:
        return Refusal(400, "status line does not begin with HTTP/1.0 or HTTP/1.1")
    digits = line[9:STATUS_LINE]
    if len(digits) != 3 or not digits.isdigit() or (len(line) > STATUS_LINE and line[STATUS_LINE] != 32):
        return Refusal(400, "status is not three digits")
    status = int(digits)
    if status < 100 or status > 599:
        return Refusal(400, "status outside 100 to 599")

    fields = Fields()
    fields.read(lines[1 : count - 1], plain)
    said = head[len(line) + 2 : -2]
    return judge_response(status, line[STATUS_LINE + 1 :], version_minor, fields, request_method, said, len(head))


def judge_response(
    status: int, reason: bytes, version_minor: int, fields: Fields, request_method: str, lines: bytes, size: int
) -> ResponseHead | Refusal:
    """Judges a head whose status line is sound. `lines`: all of its fields, as they came."""
    fault = fields.fault or fields.encoding_fault(version_minor)
    if fault:
        return Refusal(400, fault)
    chunked = fields.encoding is not None
    content_length = fields.content_length
    if status < 200 or status == 204:
        if chunked or content_length > 0:
            return Refusal(400, "a body announced where there is none")
        framing = NO_BODY
        content_length = -1
    elif status == 304 or request_method == "HEAD":
        framing = NO_BODY
    elif chunked:
        framing = CHUNKED
    elif content_length > 0:
        framing = SIZED
    elif content_length == 0:
        framing = NO_BODY
    else:
        framing = UNTIL_CLOSE
    return ResponseHead(
        status,
        reason,
        version_minor,
        lines,
        fields.forwarded(),
        framing,
        content_length,
        framing != UNTIL_CLOSE and not fields.close and (version_minor == 1 or fields.keep),
        status == 101 and fields.upgrade and fields.upgrade_named,
        fields.named,
        None,
        None,
        size,
    )
