"""Judges decoded header blocks (RFC 9113, 8). The same judgements as for HTTP/1.1, and what two protocols might read in two ways."""

from __future__ import annotations

from typing import Final

from tulle.http.fields import MAX_LENGTH_DIGITS, NO_NAMES, is_token
from tulle.http.h2.field import (
    AUTHORITY,
    BAD,
    COOKIE,
    EXPECT,
    HOST,
    LAST_PSEUDO,
    LATE,
    LENGTH,
    METHOD,
    PATH,
    PLAIN,
    PROTOCOL,
    REQUEST_ID,
    SCHEME,
    STATUS,
    TE,
    TRACEPARENT,
    TRACESTATE,
    Field,
    Meaning,
)
from tulle.http.head import CHUNKED, NO_BODY, SIZED, Limits, Refusal, RequestHead, ResponseHead
from tulle.http.request import MAX_METHOD, METHODS, read_authority, without_default_port
from tulle.http.trace_context import continued

SCHEMES: Final = frozenset((b"http", b"https"))
MALFORMED: Final = 400
"""Status of a refusal that is no answer but RST_STREAM with PROTOCOL_ERROR."""


def judge_request(
    fields: list[Field], done: bool, limits: Limits, extended_connect: bool, connect: bool = False
) -> RequestHead | Refusal:
    """Judges the block that opens a stream; `done`: it also ends it. A refusal with 400 means malformed: reset the stream.

    `connect`: CONNECT to a host is served as well. Its head has neither path nor query.
    """
    method_field: Field | None = None
    scheme_field: Field | None = None
    path_field: Field | None = None
    authority_field: Field | None = None
    protocol_field: Field | None = None
    host_field: Field | None = None
    is_past_pseudo = False
    content_length = -1
    te_trailers = False
    expect: Field | None = None
    request_id: bytes | None = None
    trace: bytes | None = None
    has_state = False
    going: list[Field] = []
    for field in fields:
        kind = field.kind
        if kind in (PLAIN, LATE, COOKIE):
            is_past_pseudo = True
            going.append(field)
            role = field.name.role
            if role == TRACEPARENT:
                trace = field.value if trace is None else b""
            elif role == TRACESTATE:
                has_state = True
            continue
        if kind <= LAST_PSEUDO:
            if kind == BAD:
                return Refusal(MALFORMED, field_fault(field))
            if is_past_pseudo:
                return Refusal(MALFORMED, "pseudo-header field after a field")
            if kind == METHOD and method_field is None:
                method_field = field
            elif kind == PATH and path_field is None:
                path_field = field
            elif kind == SCHEME and scheme_field is None:
                scheme_field = field
            elif kind == AUTHORITY and authority_field is None:
                authority_field = field
            elif kind == PROTOCOL and protocol_field is None and extended_connect:
                protocol_field = field
            else:
                return Refusal(MALFORMED, "pseudo-header field repeated, or not of requests")
            continue
        is_past_pseudo = True
        if kind == REQUEST_ID:
            request_id = field.value if request_id is None else request_id + b", " + field.value
            going.append(field)
        elif kind == TE:
            if field.value != b"trailers" and field.value.lower() != b"trailers":
                return Refusal(MALFORMED, "TE other than trailers")
            te_trailers = True
        elif kind == LENGTH:
            if content_length >= 0:
                return Refusal(MALFORMED, "more than one Content-Length")
            content_length = length_of(field.value)
            if content_length < 0:
                return Refusal(MALFORMED, "Content-Length is not a number")
        elif kind == HOST:
            if host_field is not None:
                return Refusal(MALFORMED, "more than one Host")
            host_field = field
        elif kind == EXPECT:
            if expect is not None or field.value.lower() != b"100-continue":
                return Refusal(MALFORMED, "Expect other than 100-continue")
            expect = field

    if method_field is None:
        return Refusal(MALFORMED, "no :method")
    method = METHODS.get(method_field.value)
    if method is None:
        token = method_field.value
        if not is_token(token):
            return Refusal(MALFORMED, "method is no token")
        if token == b"CONNECT":
            if protocol_field is None:
                if scheme_field is not None or path_field is not None or authority_field is None:
                    return Refusal(MALFORMED, "CONNECT with :scheme or :path, or without :authority")
                if not connect:
                    return Refusal(501, "method is not served")
                if content_length >= 0 or expect is not None:
                    return Refusal(MALFORMED, "CONNECT with a length or Expect")
                return _judge_connect(authority_field, host_field, fields, done, request_id)
            if done or content_length >= 0 or not is_token(protocol_field.value):
                return Refusal(MALFORMED, "extended CONNECT with an end, a length or no protocol")
        elif len(token) > MAX_METHOD:
            return Refusal(501, "method is not served")
        method = token.decode("ascii")
    if protocol_field is not None and method != "CONNECT":
        return Refusal(MALFORMED, ":protocol without CONNECT")
    if scheme_field is None or path_field is None:
        return Refusal(MALFORMED, "no :scheme or no :path")
    if scheme_field.value not in SCHEMES and scheme_field.value.lower() not in SCHEMES:
        return Refusal(MALFORMED, "scheme is neither http nor https")

    target = path_field.value
    if len(target) > limits.target_bytes:
        return Refusal(414, "target too long")
    place = path_field.meaning
    if place is None:
        place = path_field.meaning = meaning_of_path(target)
    if place.fault:
        return Refusal(MALFORMED, place.fault)
    if target == b"*" and method != "OPTIONS":
        return Refusal(MALFORMED, "target `*` without OPTIONS")

    named = authority_field if authority_field is not None else host_field
    if named is None:
        return Refusal(MALFORMED, "neither :authority nor Host")
    site = named.meaning
    if site is None:
        site = named.meaning = meaning_of_authority(named.value)
    if site.fault:
        return Refusal(MALFORMED, site.fault)
    if (
        host_field is not None
        and host_field.value != named.value
        and without_default_port(site.octets) != without_default_port(host_field.value)
    ):
        return Refusal(MALFORMED, "Host is not :authority")

    framing = CHUNKED
    if done:
        if content_length > 0:
            return Refusal(MALFORMED, "Content-Length without a body")
        framing = NO_BODY
    elif content_length >= 0:
        framing = SIZED
    if expect is not None and framing != NO_BODY:
        going.append(expect)
    traceparent = continued(trace) if trace is not None else b""
    is_traced = bool(traceparent) and traceparent == trace
    if not is_traced and (trace is not None or has_state):
        last = TRACEPARENT if traceparent else TRACESTATE
        going = [field for field in going if field.name.role < TRACEPARENT or field.name.role > last]
    return RequestHead(
        method,
        target,
        target,
        place.first,
        place.second,
        site.first,
        site.port,
        site.octets,
        1,
        b"",
        None,
        framing,
        content_length,
        framing == CHUNKED,
        True,
        expect is not None and framing != NO_BODY,
        protocol_field is not None,
        te_trailers,
        NO_NAMES,
        request_id,
        0,
        fields,
        going,
        protocol_field.value.lower() if protocol_field is not None else b"",
        traceparent,
        is_traced,
    )


def _judge_connect(
    authority: Field, host: Field | None, fields: list[Field], done: bool, request_id: bytes | None
) -> RequestHead | Refusal:
    """CONNECT to a host (RFC 9113, 8.5)."""
    site = authority.meaning
    if site is None:
        site = authority.meaning = meaning_of_authority(authority.value)
    if site.fault or site.port < 0:
        return Refusal(MALFORMED, "CONNECT needs host:port")
    if host is not None and host.value.lower() != site.octets:
        return Refusal(MALFORMED, "Host is not :authority")
    return RequestHead(
        "CONNECT",
        authority.value,
        authority.value,
        "",
        "",
        site.first,
        site.port,
        site.octets,
        1,
        b"",
        None,
        NO_BODY if done else CHUNKED,
        -1,
        False,
        True,
        False,
        False,
        False,
        NO_NAMES,
        request_id,
        0,
        fields,
        [],
    )


def judge_response(fields: list[Field], done: bool, request_method: str) -> ResponseHead | Refusal:
    """Judges the head of an answer to a request of this method, interim ones included. Every refusal means malformed."""
    status_field: Field | None = None
    is_past_pseudo = False
    content_length = -1
    going: list[Field] = []
    for field in fields:
        kind = field.kind
        if kind in (PLAIN, LATE, EXPECT, COOKIE, REQUEST_ID):
            is_past_pseudo = True
            going.append(field)
        elif kind <= LAST_PSEUDO:
            if kind == BAD:
                return Refusal(MALFORMED, field_fault(field))
            if kind != STATUS or is_past_pseudo or status_field is not None:
                return Refusal(MALFORMED, "pseudo-header field repeated, late or not of responses")
            status_field = field
        else:
            is_past_pseudo = True
            if kind == LENGTH:
                if content_length >= 0:
                    return Refusal(MALFORMED, "more than one Content-Length")
                content_length = length_of(field.value)
                if content_length < 0:
                    return Refusal(MALFORMED, "Content-Length is not a number")
    if status_field is None:
        return Refusal(MALFORMED, "no :status")
    digits = status_field.value
    if len(digits) != 3 or not digits.isdigit():
        return Refusal(MALFORMED, "status is not three digits")
    status = int(digits)
    if status < 100 or status > 599 or status == 101:
        return Refusal(MALFORMED, "status outside 100 to 599, or 101")
    framing = CHUNKED
    if status < 200:
        if done or content_length > 0:
            return Refusal(MALFORMED, "an interim answer that ends the stream or has a body")
        framing = NO_BODY
        content_length = -1
    elif done or status == 204 or status == 304 or request_method == "HEAD":
        if content_length > 0 and status != 304 and request_method != "HEAD":
            return Refusal(MALFORMED, "Content-Length without a body")
        framing = NO_BODY
        if status == 204:
            content_length = -1
    elif content_length >= 0:
        framing = SIZED
    return ResponseHead(status, b"", 1, b"", None, framing, content_length, True, False, NO_NAMES, fields, going)


def judge_trailers(fields: list[Field]) -> list[Field] | Refusal:
    """The trailer fields that go on; those that come too late to mean anything are dropped (RFC 9110, 6.5.1)."""
    kept: list[Field] = []
    for field in fields:
        kind = field.kind
        if kind in (PLAIN, REQUEST_ID):
            kept.append(field)
        elif kind <= LAST_PSEUDO:
            return Refusal(MALFORMED, "pseudo-header field in trailers" if kind != BAD else field_fault(field))
    return kept


def meaning_of_path(target: bytes) -> Meaning:
    """Judges :path; `*` is for OPTIONS only."""
    if target[:1] != b"/" and target != b"*":
        return Meaning(":path is not a path", target, "", "", -1)
    if not target.isascii() or target.translate(None, b"# \t") != target:
        return Meaning("bad character in the target", target, "", "", -1)
    path, _, query = target.decode("ascii").partition("?")
    return Meaning("", target, path, query, -1)


def meaning_of_authority(value: bytes) -> Meaning:
    """Judges :authority or Host."""
    read = read_authority(value)
    if read is None:
        return Meaning("bad :authority", value, "", "", -1)
    return Meaning("", read.octets, read.host, "", read.port)


def length_of(value: bytes) -> int:
    """The number that Content-Length says; -1 when it says none."""
    if len(value) > MAX_LENGTH_DIGITS or not value.isdigit():
        return -1
    return int(value)


def field_fault(field: Field) -> str:
    """What is wrong with a malformed field."""
    name = field.name
    if name.kind != BAD:
        return "bad character or blank at an end of a value"
    if name.octets[:1] == b":":
        return "unknown pseudo-header field"
    if name.octets != name.octets.lower():
        return "upper-case field name"
    return "connection-specific field, or bad character in a field name"
