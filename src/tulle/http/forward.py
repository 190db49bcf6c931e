"""Judges request heads as a forward proxy gets them: the target says where to, and goes on in origin form."""

from __future__ import annotations

from typing import Final

from tulle.http.fields import CRLF, NOTHING_KNOWN, PlainLines
from tulle.http.head import NO_BODY, Limits, Refusal, RequestHead
from tulle.http.request import Authority, parse_request, read_authority, split_absolute

CONNECT: Final = b"CONNECT"
ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"
NOT_FORWARDED: Final = Refusal(400, "the target names no host")
"""Of a target in origin form: whoever sends it took the proxy for a service."""


def parse_forwarded(
    head: bytes, limits: Limits, plain: PlainLines = NOTHING_KNOWN, takes_host: bool = False
) -> RequestHead | Refusal:
    """Judges one whole head. What is accepted names the host and port of its target, whatever Host says (RFC 9112, 3.2.2).

    With `takes_host` a target in origin form means the host and port that Host says.
    A CONNECT has the method, `host:port` as its target, and neither path nor body.
    """
    begin = 2 if head.startswith(CRLF) else 0
    end = head.find(CRLF, begin)
    words = head[begin:end].split(b" ")
    if len(words) != 3 or len(head) > limits.header_bytes:
        return parse_request(head, limits, plain)
    method, target, version = words
    if len(target) > limits.target_bytes:
        return Refusal(414, "target too long")
    if method == CONNECT:
        return _read_connect(target, version, head[end:], limits, plain, len(head))
    scheme, separated, rest = target.partition(b"://")
    if not separated or target[:1] == b"/":
        is_misplaced = target[:1] == b"/" or target == b"*"
        if is_misplaced and takes_host:
            named = parse_request(head, limits, plain)
            return named if isinstance(named, Refusal) or named.host else NOT_FORWARDED
        return NOT_FORWARDED if is_misplaced else Refusal(400, "target is neither a path nor an http URI")
    if scheme.lower() != b"http":
        return Refusal(501, "only http URIs are forwarded; for others there is CONNECT")
    meant, origin = split_absolute(rest)
    authority = read_authority(meant)
    if authority is None:
        return Refusal(400, "bad host in the target")
    if method == b"OPTIONS" and rest == meant:
        origin = b"*"  # RFC 9112, 3.2.4
    judged = parse_request(b"%b %b %b%b" % (method, origin, version, head[end:]), limits, plain)
    return judged if isinstance(judged, Refusal) else _addressed(judged, authority, len(head))


def _read_connect(
    target: bytes, version: bytes, rest: bytes, limits: Limits, plain: PlainLines, size: int
) -> RequestHead | Refusal:
    authority = read_authority(target)
    if authority is None or authority.port < 0:
        return Refusal(400, "CONNECT needs host:port")
    judged = parse_request(b"OPTIONS * " + version + rest, limits, plain)
    if isinstance(judged, Refusal):
        return judged
    if judged.framing != NO_BODY or judged.chunked or judged.content_length >= 0:
        return Refusal(400, "CONNECT with a body")
    judged.method = "CONNECT"
    judged.target = judged.origin = target
    judged.path = ""
    judged.upgrade = False
    judged.keep_alive = False
    return _addressed(judged, authority, size)


def _addressed(head: RequestHead, authority: Authority, size: int) -> RequestHead:
    head.host = authority.host
    head.port = authority.port
    head.authority = authority.octets
    head.size = size
    return head
