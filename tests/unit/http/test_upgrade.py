"""Which other protocol a request asks for, which answer changes to it, and the heads that say so."""

from __future__ import annotations

import pytest

from tests.support.h1_reading import LIMITS
from tulle.http.h1 import RequestHead, ResponseHead, parse_request, parse_response
from tulle.http.h2.field import FieldStore
from tulle.http.h2.heads import judge_request
from tulle.http.upgrade import (
    MAX_OFFERED,
    MAX_PROTOCOL,
    chosen_protocol,
    connect_fields,
    connected_fields,
    offered_protocols,
    switching_head,
    upgrade_request,
)

KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="


def asking(upgrade: bytes, *lines: bytes, first: bytes = b"GET /chat HTTP/1.1") -> RequestHead:
    wire = (first, b"host: a", b"connection: upgrade", b"upgrade: " + upgrade, *lines, b"", b"")
    head = parse_request(b"\r\n".join(wire), LIMITS)
    assert isinstance(head, RequestHead), head
    return head


def connecting(protocol: bytes, *more: tuple[bytes, bytes]) -> RequestHead:
    store = FieldStore()
    pairs = [(b":method", b"CONNECT"), (b":protocol", protocol), (b":scheme", b"http"), (b":path", b"/chat")]
    head = judge_request([store.field(*pair) for pair in (*pairs, (b":authority", b"a"), *more)], False, LIMITS, True)
    assert isinstance(head, RequestHead), head
    return head


def answer(*lines: bytes) -> ResponseHead:
    head = parse_response(b"\r\n".join((b"HTTP/1.1 101 Switching", *lines, b"", b"")), "GET", LIMITS)
    assert isinstance(head, ResponseHead), head
    return head


@pytest.mark.parametrize(
    ("upgrade", "offered"),
    [
        (b"websocket", b"websocket"),
        (b"WebSocket", b"websocket"),
        (b"other, websocket", b"websocket"),
        (b"Other/1.0", b"Other/1.0"),
        (b" a ,\t, b ,", b"a, b"),
        (b"h2c, h2, h3, HTTP/3, TLS/1.2", b""),
        (b"h2c/1, a", b"a"),
        (b"a b", b""),
        (b"a, b/", b""),
        (b"a, /1", b""),
        (b"a, b/1/2", b""),
        (b"p" * MAX_PROTOCOL, b"p" * MAX_PROTOCOL),
        (b"a, " + b"p" * (MAX_PROTOCOL + 1), b""),
        (b"a, b, c, d, e", b"a, b, c, d"),
        (b"a, b, c, d, websocket", b"websocket"),
        (b",", b""),
    ],
)
def test_what_an_endpoint_is_asked_for(upgrade: bytes, offered: bytes) -> None:
    assert offered_protocols(asking(upgrade, KEY)) == offered
    assert offered.count(b",") < MAX_OFFERED


def test_fields_of_one_name_are_one_list() -> None:
    assert offered_protocols(asking(b"a", b"upgrade: h2c", b"upgrade: b")) == b"a, b"


@pytest.mark.parametrize(
    "head",
    [
        asking(b"websocket"),
        asking(b"websocket", KEY, KEY),
        asking(b"websocket", KEY[:-1]),
        asking(b"websocket", KEY, first=b"POST /chat HTTP/1.1"),
        asking(b"websocket", KEY, first=b"GET /chat HTTP/1.0"),
        asking(b"websocket", KEY, b"content-length: 1"),
        asking(b"other", b"transfer-encoding: chunked"),
        connecting(b"h2c"),
        connecting(b"H2"),
    ],
    ids=["no key", "two keys", "no whole key", "POST", "HTTP/1.0", "a body", "chunks", "h2c", "H2"],
)
def test_what_is_served_in_http(head: RequestHead) -> None:
    assert offered_protocols(head) == b""


def test_an_extended_connect_asks_for_one() -> None:
    assert offered_protocols(connecting(b"websocket")) == b"websocket"
    assert offered_protocols(connecting(b"Reverse")) == b"reverse"


@pytest.mark.parametrize(
    ("said", "chosen"),
    [(b"a", b"a"), (b"B/1", b"b/1"), (b"b", b""), (b"h2c", b""), (b"a, b/1", b""), (b"", b"")],
)
def test_an_answer_changes_to_one_of_the_offered(said: bytes, chosen: bytes) -> None:
    assert chosen_protocol(answer(b"connection: upgrade", b"upgrade: " + said), b"A, b/1") == chosen


def test_an_answer_that_does_not_say_upgrade_changes_nothing() -> None:
    assert chosen_protocol(answer(b"upgrade: a"), b"a") == b""


def test_the_head_that_asks_in_http1() -> None:
    head = asking(
        b"a, h2c",
        b"x-id: 1",
        b"connection: te, x-private",
        b"te: trailers",
        b"x-private: 5",
        first=b"POST /chat?x HTTP/1.1",
    )

    assert upgrade_request(head, b"a", b"", b"x-more: 2\r\n") == (
        b"POST /chat?x HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, upgrade\r\nupgrade: a\r\n"
        b"x-id: 1\r\nx-more: 2\r\n\r\n"
    )
    assert upgrade_request(head, b"a", b"/other", b"").startswith(b"POST /other HTTP/1.1\r\n")


def test_a_handshake_crosses_into_http1_without_the_callers_proof() -> None:
    head = connecting(b"websocket", (b"sec-websocket-key", b"mine"), (b"sec-websocket-protocol", b"chat"))

    assert upgrade_request(head, b"websocket", b"", KEY + b"\r\n") == (
        b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-protocol: chat\r\n" + KEY + b"\r\n\r\n"
    )


def test_a_handshake_crosses_into_http2_without_its_proof() -> None:
    head = asking(b"websocket", KEY, b"sec-websocket-version: 13", b"content-length: 0")

    fields = [(field.name.octets, field.value) for field in connect_fields(head, b"websocket", b"", FieldStore())]

    assert fields[:2] == [(b":method", b"CONNECT"), (b":protocol", b"websocket")]
    assert sorted(fields[2:]) == [
        (b":authority", b"a"),
        (b":path", b"/chat"),
        (b":scheme", b"http"),
        (b"sec-websocket-version", b"13"),
    ]


def test_the_answers_that_change() -> None:
    head = answer(b"connection: upgrade", b"upgrade: websocket", b"Sec-WebSocket-Accept: theirs", b"x-id: 1")

    assert switching_head(head, b"websocket", b"ours") == (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: ours\r\nx-id: 1\r\n\r\n"
    )
    assert b"accept" not in switching_head(head, b"websocket", b"")
    fields = [(field.name.octets, field.value) for field in connected_fields(head, FieldStore())]
    assert fields == [(b":status", b"200"), (b"x-id", b"1")]
