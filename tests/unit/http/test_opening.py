"""What is remembered of heads, and how much of it."""

from __future__ import annotations

from tulle.http.fields import MAX_PLAIN_LINE, PlainLines
from tulle.http.h1 import Limits
from tulle.http.opening import MAX_OPENING, Opening, learn_opening, read_opened

LIMITS = Limits()
FIELDS = b"Host: shop.example\r\nUser-Agent: a browser with a long name, as they all have\r\nAccept: */*\r\n"


def opening(fields: bytes = FIELDS) -> Opening:
    one, other = (b"GET /%b HTTP/1.1\r\n%bX-Trace: %b\r\n\r\n" % (name, fields, name) for name in (b"a", b"b"))
    found = learn_opening(one, other)
    assert found is not None
    return found


def test_opening_is_the_lines_that_both_heads_begin_with() -> None:
    assert opening().octets == FIELDS
    assert opening().count == 3


def test_head_goes_on_as_it_would_without_an_opening() -> None:
    head = read_opened(b"GET /c HTTP/1.1\r\n" + FIELDS + b"X-Trace: 7\r\n\r\nbehind", opening(), LIMITS)

    assert head is not None
    assert (head.path, head.host, head.size) == ("/c", "shop.example", 16 + 1 + len(FIELDS) + 14)
    assert head.forward == FIELDS.partition(b"\r\n")[2] + b"X-Trace: 7\r\n"


def test_head_that_begins_otherwise_in_any_octet_is_left_to_the_judge() -> None:
    wire = b"GET /c HTTP/1.1\r\n" + FIELDS + b"X-Trace: 7\r\n\r\n"

    assert read_opened(wire, opening(), LIMITS) is not None
    for at in range(len(b"GET /c HTTP/1.1\r\n"), wire.index(b"X-Trace")):
        assert read_opened(wire[:at] + bytes((wire[at] ^ 2,)) + wire[at + 1 :], opening(), LIMITS) is None


def test_second_host_behind_the_opening_is_left_to_the_judge() -> None:
    assert read_opened(b"GET / HTTP/1.1\r\n" + FIELDS + b"Host: evil\r\n\r\n", opening(), LIMITS) is None


def test_field_of_the_opening_that_connection_names_is_left_to_the_judge() -> None:
    assert read_opened(b"GET / HTTP/1.1\r\n" + FIELDS + b"Connection: accept\r\n\r\n", opening(), LIMITS) is None


def test_length_behind_the_opening_frames_the_body() -> None:
    head = read_opened(b"POST / HTTP/1.1\r\n" + FIELDS + b"Content-Length: 12\r\n\r\n", opening(), LIMITS)

    assert head is not None
    assert head.content_length == 12
    assert opening().fields.content_length == -1


def test_limits_hold_for_opening_and_rest_together() -> None:
    wire = b"GET / HTTP/1.1\r\n" + FIELDS + b"X-Trace: 7\r\n\r\n"

    assert read_opened(wire, opening(), Limits(header_count=4)) is not None
    assert read_opened(wire, opening(), Limits(header_count=3)) is None
    assert read_opened(wire, opening(), Limits(header_bytes=len(wire) - 1)) is None


def test_little_or_much_is_no_opening() -> None:
    for fields in (b"Host: a\r\n", b"Host: a\r\nCookie: " + b"c" * MAX_OPENING + b"\r\n"):
        head = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"
        assert learn_opening(head, head) is None


def test_plain_lines_are_bounded_in_number_and_length() -> None:
    plain = PlainLines(3)
    for number in range(100):
        plain.add(b"X-Number: %d" % number)
        assert len(plain.known) <= 3
    plain.add(b"X-Long: " + b"a" * MAX_PLAIN_LINE)

    assert all(len(line) <= MAX_PLAIN_LINE for line in plain.known)
    assert b"X-Number: 99" in plain.known
