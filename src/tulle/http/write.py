"""Writes messages from judged values: framing is ours, hop-by-hop fields are gone, names keep the case they came in."""

from __future__ import annotations

from typing import Final

from tulle.http.fields import CRLF, without
from tulle.http.head import CHUNKED, NO_BODY, UNTIL_CLOSE, RequestHead, ResponseHead

NOTHING: Final[frozenset[bytes]] = frozenset()

REASONS: Final[dict[int, bytes]] = {
    100: b"Continue",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    409: b"Conflict",
    411: b"Length Required",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"


def write_request(
    head: RequestHead, extra: bytes = b"", target: bytes = b"", drop: frozenset[bytes] = NOTHING
) -> bytes:
    """The head to send upstream, always HTTP/1.1 and keep-alive.

    `extra`: whole lines with CRLF, added last. `target` replaces the origin form. `drop`: lower-case names that do not go on.
    """
    return open_request(head, extra + CRLF, target, drop)


def open_request(head: RequestHead, last: bytes, target: bytes = b"", drop: frozenset[bytes] = NOTHING) -> bytes:
    """The head as `write_request` writes it, but ending in `last` instead of the empty line."""
    if head.framing == CHUNKED:
        framing = b"\r\ntransfer-encoding: chunked\r\n"
    elif head.content_length >= 0:
        framing = b"\r\ncontent-length: %d\r\n" % head.content_length
    else:
        framing = b"\r\n"
    if head.te_trailers:
        framing += b"te: trailers\r\nconnection: te\r\n"
    return b"".join(
        (
            head.method.encode(),
            b" ",
            target or head.origin,
            b" HTTP/1.1\r\nhost: ",
            head.authority,
            framing,
            without(head.forward, drop) if drop else head.forward,
            last,
        )
    )


def response_framing(head: ResponseHead, client_minor: int) -> int:
    """How the body goes to a client of this version: what `write_response` announces.

    UNTIL_CLOSE for an HTTP/1.0 client means that the connection is closed after the body.
    """
    framing = head.framing
    if framing == UNTIL_CLOSE and client_minor == 1:
        return CHUNKED
    if framing == CHUNKED and client_minor == 0:
        return UNTIL_CLOSE
    return framing


def write_response(
    head: ResponseHead,
    client_minor: int,
    close: bool,
    extra: bytes = b"",
    drop: frozenset[bytes] = NOTHING,
    method: str = "HEAD",
) -> bytes:
    """The head to send to a client; `close` announces that the connection ends after this message.

    `method`: of the request, where the answer came by HTTP/2, which need not say that a body is empty.
    """
    sent = response_framing(head, client_minor)
    framing = b"\r\n"
    if sent == CHUNKED:
        framing = b"\r\ntransfer-encoding: chunked\r\n"
    elif sent == UNTIL_CLOSE:
        close = True
    elif head.content_length >= 0:
        framing = b"\r\ncontent-length: %d\r\n" % head.content_length
    elif sent == NO_BODY and method != "HEAD" and head.status >= 200 and head.status not in (204, 304):
        framing = b"\r\ncontent-length: 0\r\n"
    if head.status < 200:
        pass
    elif close:
        framing += b"connection: close\r\n"
    elif client_minor == 0:
        framing += b"connection: keep-alive\r\n"
    return b"".join(
        (
            b"HTTP/1.1 %d " % head.status,
            head.reason,
            framing,
            without(head.forward, drop) if drop else head.forward,
            extra,
            b"\r\n",
        )
    )


def closing(wire: bytes) -> bytes:
    """A response head that was written for a client whose connection is kept, for one whose is not."""
    return wire[: -len(CRLF)] + b"connection: close\r\n\r\n"


def write_reply(
    status: int,
    body: bytes,
    content_type: bytes = b"text/plain; charset=utf-8",
    extra: bytes = b"",
    close: bool = False,
    with_body: bool = True,
    client_minor: int = 1,
) -> bytes:
    """A whole answer of our own; `with_body` is False for HEAD. `extra`: whole lines with CRLF."""
    lines = b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))
    if body:
        lines += b"content-type: " + content_type + b"\r\n"
    if status >= 200 and status != 204:
        lines += b"content-length: %d\r\n" % len(body)
    if close:
        lines += b"connection: close\r\n"
    elif client_minor == 0:
        lines += b"connection: keep-alive\r\n"
    return lines + extra + b"\r\n" + (body if with_body else b"")


def chunk(payload: bytes) -> bytes:
    """One chunk; nothing for an empty payload, since that would end the body."""
    if not payload:
        return b""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    """The end of a chunked body, with its trailers."""
    if not trailers:
        return LAST_CHUNK
    lines = [b"0\r\n"]
    for name, value in trailers:
        lines.append(name + b": " + value + b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
