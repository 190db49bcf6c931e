"""Laws of reading requests: cuts do not matter, noise raises nothing, what goes on reads as what came."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st

from tests.support.h1_reading import LIMITS, Reading, read_requests
from tests.support.h1_wire import connections, cut, cuts, mutated, requests
from tulle.http.h1 import RequestHead, chunk, last_chunk, parse_request, write_request

HOP_BY_HOP = {b"host", b"content-length", b"transfer-encoding"}


def essence(reading: Reading) -> list[tuple[object, ...]]:
    return [
        (m.head.method, m.head.target, m.head.authority, m.head.fields, m.head.framing, m.payload, m.trailers)
        for m in reading.messages
    ]


@given(connections, cuts)
def test_sound_requests_are_accepted_however_cut(wire: bytes, places: list[int]) -> None:
    whole = read_requests([wire])
    pieces = read_requests(cut(wire, places))

    assert whole.refusal is None
    assert pieces.refusal is None
    assert essence(pieces) == essence(whole) != []


@given(mutated(), cuts)
def test_mutated_requests_read_alike_however_cut(wire: bytes, places: list[int]) -> None:
    whole = read_requests([wire])
    pieces = read_requests(cut(wire, places))

    assert essence(pieces) == essence(whole)
    assert (pieces.refusal is None) == (whole.refusal is None)


@given(st.one_of(st.binary(max_size=300), mutated()))
def test_noise_is_refused_or_read_but_raises_nothing(wire: bytes) -> None:
    judged = parse_request(wire + b"\r\n\r\n", LIMITS)

    assert isinstance(judged, RequestHead) or judged.status in (400, 414, 431, 501, 505)


@given(st.one_of(mutated(), connections))
def test_what_goes_on_reads_as_what_was_judged(wire: bytes) -> None:
    """Writing an accepted request and reading it again changes nothing; a second time gives the same octets."""
    for message in read_requests([wire]).messages:
        head = message.head
        body = message.payload
        if head.chunked:
            body = chunk(body) + last_chunk(message.trailers)
        if head.version_minor == 0 and not head.host:
            continue
        sent = write_request(head) + body

        again = read_requests([sent])

        assert again.answers == (200,), again.refusal
        read = again.messages[0]
        assert (read.head.method, read.head.path, read.head.query) == (head.method, head.path, head.query)
        assert (read.head.host, read.head.port) == (head.host, head.port)
        assert (read.payload, read.trailers) == (message.payload, message.trailers)
        assert read.head.forward == head.forward
        assert write_request(read.head) + body == sent


@given(st.one_of(requests(), mutated()))
def test_h11_reads_what_is_accepted_alike(wire: bytes) -> None:
    """Where both accept, method, target, fields and payload are the same: nothing can be smuggled between the two."""
    ours = read_requests([wire])
    if not ours.messages:
        return
    message = ours.messages[0]
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(wire.removeprefix(b"\r\n"))
    payload = b""
    try:
        event = theirs.next_event()
        if not isinstance(event, h11.Request):
            return
        request = event
        while isinstance(event := theirs.next_event(), h11.Data):
            payload += event.data
    except h11.RemoteProtocolError:
        return

    assert isinstance(event, h11.EndOfMessage)
    assert (request.method.decode(), request.target) == (message.head.method, message.head.target)
    assert payload == message.payload
    assert [(name, value) for name, value in request.headers if name not in HOP_BY_HOP] == [
        (name, value) for name, value in message.head.fields if name not in HOP_BY_HOP
    ]
