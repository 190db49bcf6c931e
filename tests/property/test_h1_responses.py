"""Laws of reading responses."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from tests.support.framing import RESPONSES
from tests.support.h1_reading import LIMITS, read_response
from tests.support.h1_wire import cut, cuts, fields, mutated
from tulle.http.h1 import Refusal, ResponseHead, parse_response, write_response

METHODS = st.sampled_from(["GET", "HEAD", "POST"])
STATUSES = st.one_of(st.integers(200, 599), st.sampled_from([204, 304]))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    lines = [b"HTTP/1.%d %d Fine" % (draw(st.integers(0, 1)), draw(STATUSES))]
    lines += [name + b": " + value for name, value in draw(fields)]
    lines += draw(st.sampled_from([[], [b"Content-Length: 0"], [b"Connection: close"], [b"Server: a"]]))
    return b"\r\n".join(lines) + b"\r\n\r\n"


@given(st.one_of(mutated(), st.sampled_from([row.wire for row in RESPONSES])), METHODS, cuts)
def test_responses_read_alike_however_cut(wire: bytes, method: str, places: list[int]) -> None:
    whole = read_response([wire], method)
    pieces = read_response(cut(wire, places), method)

    assert isinstance(whole, Refusal) == isinstance(pieces, Refusal)
    if not isinstance(whole, Refusal) and not isinstance(pieces, Refusal):
        assert (whole[0].status, whole[0].fields, whole[1]) == (pieces[0].status, pieces[0].fields, pieces[1])


@given(st.one_of(st.binary(max_size=300), mutated()), METHODS)
def test_noise_is_refused_or_read_but_raises_nothing(wire: bytes, method: str) -> None:
    judged = parse_response(wire + b"\r\n\r\n", method, LIMITS)

    assert isinstance(judged, ResponseHead) or judged.status in (400, 431)


@given(responses(), METHODS, st.integers(0, 1), st.booleans())
def test_what_a_client_gets_reads_as_what_was_judged(wire: bytes, method: str, minor: int, close: bool) -> None:
    head = parse_response(wire, method, LIMITS)
    assert isinstance(head, ResponseHead)

    again = parse_response(write_response(head, minor, close), method, LIMITS)

    assert isinstance(again, ResponseHead)
    assert (again.status, again.reason, again.forward) == (head.status, head.reason, head.forward)
    assert again.content_length == head.content_length
    if close:
        assert not again.keep_alive


@given(responses(), METHODS)
def test_h11_reads_responses_alike(wire: bytes, method: str) -> None:
    ours = parse_response(wire, method, LIMITS)
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method=method, target="/", headers=[("host", "a"), ("content-length", "0")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(wire)
    event = theirs.next_event()

    assert isinstance(ours, ResponseHead)
    assert isinstance(event, h11.Response)
    assert (event.status_code, event.reason) == (ours.status, ours.reason)
    assert list(event.headers) == ours.fields
