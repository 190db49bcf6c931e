"""Strict HTTP/1.1 without I/O. What is forwarded is re-serialised from what was judged, never the bytes that came.

end = find_head_end(buffer, start)             -1: read on, unless refuse_early(buffer, start, limits) says otherwise
head = parse_request(buffer[start:end], limits)        RequestHead | Refusal
body = BodyReader(head.framing, head.content_length, limits)
at = body.feed(buffer, at, out)                appends payload slices to out; see done, failed, fault, trailers
body.end()                                     the peer closed: done if UNTIL_CLOSE, else failed
write_request(head, extra=b"x-request-id: 7\\r\\n", target=b"", drop=frozenset())   -> bytes
parse_response(buffer[start:end], head.method, limits) ResponseHead | Refusal
response_framing(head, client_minor)           what write_response announces: NO_BODY, SIZED, CHUNKED, UNTIL_CLOSE
write_response(head, client_minor, close, extra, drop) -> bytes
chunk(payload), last_chunk(trailers)           -> bytes
write_reply(status, body, content_type, extra, close, with_body) -> bytes    an answer of our own
"""

from __future__ import annotations

from tulle.http.body import BodyReader
from tulle.http.head import CHUNKED, NO_BODY, SIZED, UNTIL_CLOSE, Limits, Refusal, RequestHead, ResponseHead
from tulle.http.request import find_head_end, parse_request, refuse_early
from tulle.http.response import parse_response
from tulle.http.write import (
    CONTINUE,
    LAST_CHUNK,
    chunk,
    last_chunk,
    response_framing,
    write_reply,
    write_request,
    write_response,
)

__all__ = [
    "CHUNKED",
    "CONTINUE",
    "LAST_CHUNK",
    "NO_BODY",
    "SIZED",
    "UNTIL_CLOSE",
    "BodyReader",
    "Limits",
    "Refusal",
    "RequestHead",
    "ResponseHead",
    "chunk",
    "find_head_end",
    "last_chunk",
    "parse_request",
    "parse_response",
    "refuse_early",
    "response_framing",
    "write_reply",
    "write_request",
    "write_response",
]
