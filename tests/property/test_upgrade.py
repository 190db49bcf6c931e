"""Laws of changing the protocol: nothing that brings more requests is asked for, and what is asked reads as it was meant."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.h1_wire import fields, methods, targets
from tulle.http.fields import is_token
from tulle.http.h1 import Limits, RequestHead, ResponseHead, find_head_end, parse_request, parse_response
from tulle.http.h2.field import FieldStore
from tulle.http.h2.heads import judge_request
from tulle.http.upgrade import (
    CARRIES_REQUESTS,
    MAX_OFFERED,
    MAX_PROTOCOL,
    chosen_protocol,
    connect_fields,
    offered_protocols,
    switching_head,
    upgrade_request,
)

LIMITS = Limits()
KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="

protocols = st.one_of(
    st.sampled_from(
        (b"websocket", b"WebSocket", b"h2c", b"H2C", b"HTTP/2.0", b"TLS/1.0", b"h3", b"reverse", b"a/1", b"a b", b"a/")
    ),
    st.text("abz19/-!, \t\xe4", max_size=8).map(lambda text: text.encode("latin-1")),
    st.integers(MAX_PROTOCOL - 1, MAX_PROTOCOL + 1).map(lambda size: b"p" * size),
)
lists = st.lists(protocols, max_size=8).map(b", ".join)


@st.composite
def asking(draw: st.DrawFn) -> RequestHead:
    """Heads of HTTP/1.1 that ask for something, or nearly."""
    lines = [b"%b %b HTTP/1.%d" % (draw(methods), draw(targets), draw(st.sampled_from((1, 1, 1, 0)))), b"host: a"]
    lines += draw(
        st.lists(
            st.one_of(
                lists.map(lambda value: b"upgrade: " + value),
                st.sampled_from(
                    (KEY, KEY[:-1], b"content-length: 0", b"content-length: 3", b"te: trailers", b"connection: te")
                ),
                fields.map(lambda pairs: b"\r\n".join(name + b": " + value for name, value in pairs) or b"x: y"),
            ),
            max_size=6,
        )
    )
    head = parse_request(b"\r\n".join((*lines, b"connection: upgrade", b"", b"")), LIMITS)
    if not isinstance(head, RequestHead):
        return draw(asking())
    return head


def carries_requests(protocol: bytes) -> bool:
    return protocol.lower().partition(b"/")[0] in CARRIES_REQUESTS


@given(asking())
def test_only_what_may_be_is_asked_for(head: RequestHead) -> None:
    offered = offered_protocols(head)
    if not offered:
        return
    names = offered.split(b", ")

    assert len(names) <= MAX_OFFERED
    for name in names:
        assert len(name) <= MAX_PROTOCOL
        assert all(is_token(part) for part in name.split(b"/", 1))
        assert not carries_requests(name)
    assert offered == b"websocket" or b"websocket" not in offered.lower().split(b", ")
    assert head.version_minor == 1
    assert head.content_length <= 0


@given(asking(), fields)
def test_what_asks_reads_as_it_was_meant(head: RequestHead, extra: list[tuple[bytes, bytes]]) -> None:
    offered = offered_protocols(head)
    if not offered:
        return
    more = b"".join(name + b": " + value + b"\r\n" for name, value in extra)

    wire = upgrade_request(head, offered, b"", more)

    assert find_head_end(wire, 0) == len(wire), "one head, and nothing behind it"
    again = parse_request(wire, LIMITS)
    assert isinstance(again, RequestHead)
    assert offered_protocols(again) == offered
    assert (again.method, again.target, again.authority) == (head.method, head.origin, head.authority)
    assert again.fields[-len(extra) :] == [(name.lower(), value) for name, value in extra] or not extra


@given(asking())
def test_a_websocket_asked_for_in_http2_is_asked_for_in_http1_again(head: RequestHead) -> None:
    if offered_protocols(head) != b"websocket":
        return
    store = FieldStore()

    crossed = judge_request(connect_fields(head, b"websocket", b"", store), False, LIMITS, True)

    assert isinstance(crossed, RequestHead), crossed
    assert offered_protocols(crossed) == b"websocket"
    wire = upgrade_request(crossed, b"websocket", b"", KEY + b"\r\n")
    again = parse_request(wire, LIMITS)
    assert isinstance(again, RequestHead), again
    assert offered_protocols(again) == b"websocket"
    assert (again.target, again.authority) == (head.origin, head.authority)
    assert again.value(b"sec-websocket-key") == KEY.partition(b" ")[2]


@given(lists, lists, st.booleans())
def test_an_answer_changes_only_to_what_was_offered(said: bytes, upgrade: bytes, says: bool) -> None:
    asks = parse_request(
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n" + KEY + b"\r\nupgrade: " + upgrade + b"\r\n\r\n", LIMITS
    )
    connection = b"connection: upgrade\r\n" if says else b""
    head = parse_response(b"HTTP/1.1 101 Switching\r\n" + connection + b"upgrade: " + said + b"\r\n\r\n", "GET", LIMITS)
    if not isinstance(asks, RequestHead) or not isinstance(head, ResponseHead):
        return
    offered = offered_protocols(asks)

    chosen = chosen_protocol(head, offered)

    if not chosen:
        return
    assert says
    assert chosen in offered.lower().split(b", ")
    assert not carries_requests(chosen)
    wire = switching_head(head, chosen, b"proof")
    again = parse_response(wire, "GET", LIMITS)
    assert isinstance(again, ResponseHead)
    assert chosen_protocol(again, offered) == chosen
    assert again.value(b"sec-websocket-accept") == b"proof"
