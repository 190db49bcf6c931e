"""The first octets tell HTTP/1.1 from everything else, wherever they are cut."""

import pytest

from tulle.proxy.detect import HTTP, HTTP2, OPAQUE, UNDECIDED, guess_protocol


@pytest.mark.parametrize(
    ("octets", "guess"),
    [
        (b"GET / HTTP/1.1\r\n", HTTP),
        (b"OPTIONS * HTTP/1.1\r\n", HTTP),
        (b"GET http://a/ HTTP/1.1\r\n", HTTP),
        (b"CONNECT a:1 HTTP/1.1\r\n", HTTP),
        (b"PURGE / HTTP/1.1\r\n", HTTP),
        (b"M-SEARCH / HTTP/1.0\n", HTTP),
        (b"PURGE / HT", UNDECIDED),
        (b"GE", UNDECIDED),
        (b"GET", UNDECIDED),
        (b"GET ", UNDECIDED),
        (b"GET key\r\n", OPAQUE),
        (b"PING\r\n", OPAQUE),
        (b"get / HTTP/1.1\r\n", OPAQUE),
        (b"\x16\x03\x01", OPAQUE),
        (b"\x00", OPAQUE),
        (b"\r\nGET / HTTP/1.1\r\n", OPAQUE),
        (b"PRI * HTTP/2.0\r\n", UNDECIDED),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", HTTP2),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", OPAQUE),
        (b"PRI ", UNDECIDED),
        (b"A" * 30, OPAQUE),
        (b"FOO " + b"x" * 3000, OPAQUE),
    ],
)
def test_guess(octets: bytes, guess: int) -> None:
    assert guess_protocol(octets) == guess


@pytest.mark.parametrize("line", [b"GET /a HTTP/1.1\r\n", b"PROPFIND /a HTTP/1.1\r\n", b"DELETE /a HTTP/1.1\r\n"])
def test_a_request_line_is_never_taken_for_opaque_before_it_is_whole(line: bytes) -> None:
    for end in range(1, len(line)):
        assert guess_protocol(line[:end]) != OPAQUE
    assert guess_protocol(line) == HTTP
