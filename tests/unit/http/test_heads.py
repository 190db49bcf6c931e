"""What a judged head says, and how it is written again."""

from __future__ import annotations

from tests.support.h1_reading import LIMITS
from tulle.http.h1 import (
    CHUNKED,
    NO_BODY,
    SIZED,
    UNTIL_CLOSE,
    Limits,
    Refusal,
    RequestHead,
    ResponseHead,
    chunk,
    find_head_end,
    last_chunk,
    parse_request,
    parse_response,
    refuse_early,
    response_framing,
    write_reply,
    write_request,
    write_response,
)


def request(*lines: bytes, limits: Limits = LIMITS) -> RequestHead:
    head = parse_request(b"\r\n".join(lines) + b"\r\n\r\n", limits)
    assert isinstance(head, RequestHead), head
    return head


def response(*lines: bytes, method: str = "GET") -> ResponseHead:
    head = parse_response(b"\r\n".join(lines) + b"\r\n\r\n", method, LIMITS)
    assert isinstance(head, ResponseHead), head
    return head


def test_request_head_says_what_is_routed_by() -> None:
    head = request(b"GET /a%20b?c=d?e HTTP/1.1", b"Host: Shop.Example:8080", b"X-Id: 1", b"x-id: 2")

    assert (head.method, head.path, head.query) == ("GET", "/a%20b", "c=d?e")
    assert (head.host, head.port, head.authority) == ("shop.example", 8080, b"shop.example:8080")
    assert head.fields == [(b"host", b"Shop.Example:8080"), (b"x-id", b"1"), (b"x-id", b"2")]
    assert head.value(b"x-id") == b"1, 2"
    assert head.value(b"absent") is None
    assert head.framing == NO_BODY
    assert head.keep_alive


def test_absolute_form_goes_on_in_origin_form() -> None:
    head = request(b"GET http://shop.example?a=b HTTP/1.1", b"Host: shop.example")

    assert head.target == b"http://shop.example?a=b"
    assert (head.origin, head.path, head.query) == (b"/?a=b", "/", "a=b")
    assert write_request(head) == b"GET /?a=b HTTP/1.1\r\nhost: shop.example\r\n\r\n"


def test_host_of_ipv6_keeps_its_brackets() -> None:
    head = request(b"GET / HTTP/1.1", b"Host: [::1]:80")

    assert (head.host, head.port) == ("[::1]", 80)


def test_hop_by_hop_fields_do_not_go_on() -> None:
    head = request(
        b"GET / HTTP/1.1",
        b"Host: a",
        b"Connection: close, X-Secret, upgrade",
        b"X-Secret: 1",
        b"x-secret:2",
        b"Upgrade: websocket",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authorization: Basic eA==",
        b"Proxy-Connection: keep-alive",
        b"TE: gzip",
        b"Accept:  */*",
    )

    assert write_request(head) == b"GET / HTTP/1.1\r\nhost: a\r\nAccept: */*\r\n\r\n"
    assert head.upgrade
    assert head.named == [b"x-secret"]
    assert not head.keep_alive


def test_connection_cannot_name_away_what_frames_or_routes() -> None:
    head = request(
        b"POST / HTTP/1.1", b"Host: a", b"Connection: host, content-length, transfer-encoding", b"Content-Length: 3"
    )

    assert write_request(head) == b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"


def test_te_trailers_goes_on_as_ours() -> None:
    head = request(b"GET / HTTP/1.1", b"Host: a", b"TE: gzip, trailers", b"Connection: te")

    assert write_request(head) == b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n\r\n"


def test_expectation_goes_on_only_with_a_body() -> None:
    waiting = request(b"PUT / HTTP/1.1", b"Host: a", b"Expect: 100-Continue", b"Content-Length: 3")
    bodiless = request(b"PUT / HTTP/1.1", b"Host: a", b"Expect: 100-continue")
    old = request(b"PUT / HTTP/1.0", b"Host: a", b"Expect: 100-continue", b"Content-Length: 3")

    assert waiting.expect_continue
    assert b"Expect" in waiting.forward
    assert not bodiless.expect_continue
    assert not old.expect_continue
    assert bodiless.forward == old.forward == b""


def test_extra_target_and_drop_shape_what_is_sent() -> None:
    head = request(b"GET /a HTTP/1.1", b"Host: a", b"X-Request-Id: theirs", b"Accept: b")

    sent = write_request(head, b"x-request-id: ours\r\n", b"/b", frozenset([b"x-request-id"]))

    assert sent == b"GET /b HTTP/1.1\r\nhost: a\r\nAccept: b\r\nx-request-id: ours\r\n\r\n"


def test_http_1_0_keeps_alive_only_when_it_says_so() -> None:
    assert not request(b"GET / HTTP/1.0").keep_alive
    assert request(b"GET / HTTP/1.0", b"Connection: Keep-Alive").keep_alive
    assert not request(b"GET / HTTP/1.0", b"Connection: keep-alive", b"Connection: close").keep_alive


def test_limits_are_the_callers() -> None:
    limits = Limits(header_bytes=100, header_count=1, target_bytes=4)
    head = request(b"GET /abc HTTP/1.1", b"Host: a", limits=limits)

    assert head.path == "/abc"
    for wire, status in (
        (b"GET /abcd HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: " + b"a" * 100 + b"\r\n\r\n", 431),
    ):
        refused = parse_request(wire, limits)
        assert isinstance(refused, Refusal)
        assert refused.status == status


def test_incomplete_head_is_read_on() -> None:
    wire = b"xxGET / HTTP/1.1\r\nHost: a\r\n\r\nrest"

    assert find_head_end(wire, 2) == len(wire) - 4
    assert find_head_end(wire[:-5], 2) == -1
    assert all(refuse_early(wire[:end], 2, LIMITS) is None for end in range(3, len(wire) - 5))


def test_refusal_quotes_nothing_of_the_peer() -> None:
    refused = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nSECRET VALUE: 1\r\n\r\n", LIMITS)

    assert isinstance(refused, Refusal)
    assert "SECRET" not in refused.detail
    assert repr(refused) == "Refusal(400, 'bad character in a field name')"


def test_response_framing_follows_status_and_method() -> None:
    length = b"Content-Length: 5"
    chunked = b"Transfer-Encoding: chunked"

    assert response(b"HTTP/1.1 200 OK", length).framing == SIZED
    assert response(b"HTTP/1.1 200 OK", length, method="HEAD").framing == NO_BODY
    assert response(b"HTTP/1.1 304 Not Modified", length).framing == NO_BODY
    assert response(b"HTTP/1.1 200 OK", chunked).framing == CHUNKED
    assert response(b"HTTP/1.1 204 No Content").framing == NO_BODY
    assert response(b"HTTP/1.1 100 Continue").framing == NO_BODY
    until_close = response(b"HTTP/1.1 200 OK")
    assert until_close.framing == UNTIL_CLOSE
    assert not until_close.keep_alive


def test_switching_protocols_needs_both_fields() -> None:
    assert response(b"HTTP/1.1 101 Switching", b"Connection: upgrade", b"Upgrade: websocket").upgrade
    assert not response(b"HTTP/1.1 101 Switching", b"Upgrade: websocket").upgrade


def test_response_is_framed_for_the_client() -> None:
    chunked = response(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"Server: a")
    until_close = response(b"HTTP/1.0 200 OK", b"Server: a")
    sized = response(b"HTTP/1.1 200 OK", b"content-length: 5", b"Connection: close")

    start = b"HTTP/1.1 200 OK\r\n"
    assert write_response(chunked, 1, False) == start + b"transfer-encoding: chunked\r\nServer: a\r\n\r\n"
    assert write_response(chunked, 0, False) == start + b"connection: close\r\nServer: a\r\n\r\n"
    assert write_response(until_close, 1, False) == start + b"transfer-encoding: chunked\r\nServer: a\r\n\r\n"
    assert write_response(sized, 1, False) == start + b"content-length: 5\r\n\r\n"
    assert write_response(sized, 1, True) == start + b"content-length: 5\r\nconnection: close\r\n\r\n"
    assert write_response(sized, 0, False) == start + b"content-length: 5\r\nconnection: keep-alive\r\n\r\n"
    assert [response_framing(chunked, 0), response_framing(until_close, 1)] == [UNTIL_CLOSE, CHUNKED]


def test_answer_to_head_keeps_its_length() -> None:
    head = response(b"HTTP/1.1 200 OK", b"Content-Length: 5", method="HEAD")

    assert write_response(head, 1, False) == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


def test_answer_of_our_own() -> None:
    assert write_reply(403, b"no\n", extra=b"x-tulle-reason: denied\r\n", close=True) == (
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\n"
        b"connection: close\r\nx-tulle-reason: denied\r\n\r\nno\n"
    )
    assert write_reply(204, b"") == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert write_reply(200, b"abc", with_body=False).endswith(b"content-length: 3\r\n\r\n")


def test_chunks() -> None:
    assert chunk(b"a" * 16) == b"10\r\n" + b"a" * 16 + b"\r\n"
    assert chunk(b"") == b""
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk([(b"X-Sum", b"9")]) == b"0\r\nX-Sum: 9\r\n\r\n"
