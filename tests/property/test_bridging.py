"""Laws of bridging: what is accepted goes on as exactly one message that foreign readers read alike, whatever it looked like."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.bridging import OURS, Pairs, Seen, answers, bodies, by_h2, by_h11, heads, message, trailers
from tests.support.h1_reading import read_requests
from tests.support.h1_wire import mutated
from tests.support.h2_reading import CLIENT, Recorder
from tests.support.h2_script import literal_block
from tulle.http.body import BodyReader
from tulle.http.h1 import Limits, RequestHead, ResponseHead, find_head_end, parse_response, write_request
from tulle.http.h2 import frames
from tulle.http.h2.frames import PREFACE, frame
from tulle.http.h2.sending import request_fields, response_fields, trailer_fields
from tulle.http.head import CHUNKED, Refusal
from tulle.http.names import FORBIDDEN_IN_TRAILERS
from tulle.http.write import chunk, last_chunk, write_response

LIMITS = Limits()
HELLO = frame(frames.SETTINGS, 0, 0)
DROPPED = OURS | {
    b"http2-settings",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"expect",
    b"cookie",
}
"""What a bridge may leave out or write otherwise."""


def framed(chunked: bool, reader: Recorder) -> bytes:
    """The body and trailers that were reported, as HTTP/1.1 carries them."""
    wire = b""
    for event in reader.events:
        if event[0] == "data":
            payload = event[2]
            assert isinstance(payload, bytes)
            wire += chunk(payload) if chunked else payload
    tail = next((event[2] for event in reader.events if event[0] == "trailers"), ())
    assert isinstance(tail, tuple)
    return wire + (last_chunk(list(tail)) if chunked else b"")


def is_refused(reader: Recorder) -> bool:
    return any(event[0] in ("failed", "refused", "reset") for event in reader.events)


def went_on(pairs: Pairs, seen: Seen) -> None:
    """No field was made, and none of those lost that must go on."""
    came = [pair for pair in pairs if pair[0][:1] != b":"]
    for name, value in seen.fields:
        assert (name, value) in came or name == b"cookie", (name, value)
    assert [pair for pair in seen.fields if pair[0] not in DROPPED] == [pair for pair in came if pair[0] not in DROPPED]


@given(heads, bodies, trailers)
def test_a_request_over_http2_is_one_request_over_http1(pairs: Pairs, body: list[bytes], tail: Pairs) -> None:
    reader = Recorder().read([PREFACE + HELLO + message(pairs, body, tail)])
    if is_refused(reader):
        return
    head = reader.heads[0]
    assert isinstance(head, RequestHead)
    if head.method == "CONNECT":
        return
    wire = write_request(head) + framed(head.framing == CHUNKED, reader)

    found = by_h11(wire)

    assert len(found) == 1
    assert found[0].is_whole
    pseudo = dict(pairs)
    authority = pseudo.get(b":authority", pseudo.get(b"host", b""))
    assert found[0].first == (pseudo[b":method"], pseudo[b":path"], authority.lower())
    assert found[0].body == b"".join(body)
    went_on(pairs, found[0])
    assert all(name not in FORBIDDEN_IN_TRAILERS for name, _ in found[0].trailers)


@example(b"GET / HTTP/1.1\r\nhost: a\r\nx:y: 1\r\n\r\n")
@given(mutated())
def test_a_request_over_http1_is_one_request_over_http2(wire: bytes) -> None:
    reading = read_requests([wire])
    sender = Recorder(CLIENT)
    sender.read([HELLO])
    for one in reading.messages:
        if one.head.method == "CONNECT" or one.head.upgrade or not one.head.authority:
            continue
        has_body = one.head.framing != 0
        stream = sender.connection.open(request_fields(one.head, sender.store), one.head.method, not has_body)
        if has_body:
            sender.connection.send_data(stream, one.payload, not one.trailers)
            if one.trailers:
                sender.connection.send_trailers(stream, trailer_fields(one.trailers, sender.store))
    sent = sender.sent + sender.connection.take()

    found = by_h2(sent)

    expected = [
        one for one in reading.messages if one.head.authority and not one.head.upgrade and one.head.method != "CONNECT"
    ]
    assert len(found) == len(expected)
    for seen, one in zip(found, expected, strict=True):
        assert seen.is_whole
        assert seen.first == (one.head.method.encode(), one.head.origin, one.head.authority)
        assert seen.body == one.payload
        assert seen.trailers == [(name.lower(), value) for name, value in one.trailers]
        named = {name.lower() for name in one.head.named}
        for pair in seen.fields:
            assert pair in one.head.fields, pair
            assert pair[0] not in named, pair


@example([(b":status", b"200")], [], [], b"GET")
@given(answers, bodies, trailers, st.sampled_from([b"GET", b"HEAD"]))
def test_an_answer_over_http2_is_one_answer_over_http1(
    pairs: Pairs, body: list[bytes], tail: Pairs, method: bytes
) -> None:
    reader = Recorder(CLIENT)
    ask = [(b":method", method), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
    reader.connection.open(reader.fields(*ask), method.decode(), True)
    reader.read([HELLO + message(pairs, body, tail)])
    if is_refused(reader) or not reader.heads:
        return
    head = reader.heads[-1]
    assert isinstance(head, ResponseHead)
    if head.status < 200:
        return
    wire = write_response(head, 1, False, method=method.decode()) + framed(head.framing == CHUNKED, reader)

    found = by_h11(wire, asked=method)

    assert len(found) == 1
    assert found[0].is_whole
    assert found[0].first == (dict(pairs)[b":status"],)
    assert found[0].body == (b"" if head.framing == 0 else b"".join(body))
    came = [pair for pair in pairs if pair[0] not in DROPPED and pair[0] != b":status"]
    assert [pair for pair in found[0].fields if pair[0] not in DROPPED] == came


@example(b"HTTP/1.1 200 OK\r\nx:y: 1\r\ncontent-length: 0\r\n\r\n", "GET")
@given(mutated(), st.sampled_from(["GET", "HEAD"]))
def test_an_answer_over_http1_is_one_answer_over_http2(wire: bytes, method: str) -> None:
    end = find_head_end(wire, 0)
    head = parse_response(wire[:end], method, LIMITS) if end > 0 else None
    if head is None or isinstance(head, Refusal) or head.status == 101:
        return
    body = BodyReader(head.framing, head.content_length, LIMITS)
    payload: list[bytes] = []
    end = body.feed(wire, end, payload)
    body.end()
    if body.failed or not body.done:
        return
    ask = [(b":method", method.encode()), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
    server = Recorder().read([PREFACE + HELLO + frame(frames.HEADERS, 0x5, 1, literal_block(ask))])
    stream = server.streams[1] if server.streams else server.connection.streams[1]
    is_interim = head.status < 200
    ends = not is_interim and not payload and not body.trailers
    server.connection.send_head(stream, response_fields(head, server.store), ends)
    for number, piece in enumerate(payload):
        server.connection.send_data(stream, piece, number == len(payload) - 1 and not body.trailers)
    if body.trailers and not is_interim:
        server.connection.send_trailers(stream, trailer_fields(body.trailers, server.store))

    found = by_h2(server.sent + server.connection.take(), asked=method.encode())

    assert len(found) == 1
    assert found[0].is_whole != is_interim
    assert found[0].first == (b"%d" % head.status,)
    assert found[0].body == b"".join(payload)
    named = {name.lower() for name in head.named}
    for pair in found[0].fields:
        assert pair in head.fields, pair
        assert pair[0] not in named, pair
