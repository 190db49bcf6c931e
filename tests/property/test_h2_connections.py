"""Laws of a connection: cuts do not matter, noise raises nothing, PyPI `h2` at the other end sees what was meant."""

from __future__ import annotations

from typing import Any

from h2 import events as their_events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.h1_wire import cut, cuts
from tests.support.h2_reading import CLIENT, Recorder, frames_of
from tests.support.h2_wire import conversations, fields, mutated, request_heads
from tulle.http.h2.frames import PREFACE
from tulle.http.h2.limits import Http2Limits
from tulle.http.head import Limits

Pairs = list[tuple[bytes, bytes]]


@given(conversations(), cuts)
def test_sound_conversations_are_read_alike_however_cut(wire: bytes, places: list[int]) -> None:
    whole = Recorder().read([wire])
    pieces = Recorder().read(cut(wire, places))

    assert not any(event[0] in ("failed", "refused", "reset") for event in whole.events)
    assert pieces.events == whole.events
    assert pieces.sent == whole.sent


@given(st.one_of(mutated(), st.binary(max_size=200).map(lambda octets: PREFACE + octets)), cuts)
def test_mutated_conversations_are_read_alike_however_cut(wire: bytes, places: list[int]) -> None:
    whole = Recorder().read([wire])
    pieces = Recorder().read(cut(wire, places))

    assert pieces.events == whole.events
    assert pieces.sent == whole.sent
    assert list(frames_of(whole.sent))


@given(st.one_of(mutated(), st.binary(max_size=300)), cuts)
def test_noise_for_a_client_raises_nothing_and_reads_alike(wire: bytes, places: list[int]) -> None:
    def answered(pieces: list[bytes]) -> Recorder:
        recorder = Recorder(CLIENT)
        post = recorder.fields((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a"))
        for done in (True, False, True):
            recorder.connection.open(post, "POST", done)
        return recorder.read(pieces)

    wire = wire.removeprefix(PREFACE)

    assert answered(cut(wire, places)).events == answered([wire]).events


@given(mutated())
def test_h2_reads_what_is_accepted_alike(wire: bytes) -> None:
    """Where both accept, heads, payload and trailers are the same: nothing can be smuggled between the two."""
    ours = Recorder().read([wire])
    theirs = H2Connection(H2Configuration(client_side=False, header_encoding=None, normalize_inbound_headers=False))
    try:
        seen = theirs.receive_data(wire)
    except ProtocolError:
        return
    if any(event[0] in ("failed", "refused", "reset") for event in ours.events):
        return

    expected = {
        stream_id: [dict(head)[b":method"].decode(), dict(head)[b":path"], payload, trailers]
        for stream_id, (head, payload, trailers) in _essence_of_theirs(seen).items()
    }
    assert _essence_of_ours(ours.events) == expected


bodies = st.lists(st.binary(max_size=30_000), max_size=3)


@given(st.lists(st.tuples(request_heads(), bodies, fields, bodies, fields), min_size=1, max_size=4), cuts, st.data())
def test_a_client_of_h2_is_served(
    calls: list[tuple[Pairs, list[bytes], Pairs, list[bytes], Pairs]], places: list[int], data: st.DataObject
) -> None:
    """Request bodies go up and come back down as answers, in windows that open bit by bit, with trailers both ways."""
    window = data.draw(st.sampled_from([100, 20_000, 65_535]))
    theirs = H2Connection(H2Configuration(client_side=True, header_encoding=None, normalize_inbound_headers=False))
    theirs.local_settings.initial_window_size = window
    theirs.initiate_connection()
    ours = Recorder(limits=Http2Limits(Limits(), connection_window=65_535))
    answered: dict[int, Any] = {}
    _exchange(theirs, ours, places, answered)
    for head, request, request_trailers, answer, answer_trailers in calls:
        stream_id = theirs.get_next_available_stream_id()
        theirs.send_headers(stream_id, head)
        for payload in request:
            while payload:
                room = min(theirs.local_flow_control_window(stream_id), theirs.max_outbound_frame_size)
                if room == 0:
                    _exchange(theirs, ours, places, answered)
                    continue
                theirs.send_data(stream_id, payload[:room])
                payload = payload[room:]
        theirs.send_headers(stream_id, [(b"x-end", b"1"), *request_trailers], end_stream=True)
        _exchange(theirs, ours, places, answered)
        assert _payload(ours.events, stream_id) == b"".join(request)
        assert ours.events[-1][:2] == ("trailers", stream_id)

        stream, connection = ours.streams[stream_id], ours.connection
        connection.send_head(stream, ours.fields((b":status", b"200"), *head[4:]), False)
        for payload in answer:
            connection.send_data(stream, payload, False)
        connection.send_trailers(stream, ours.fields((b"grpc-status", b"0"), *answer_trailers))
        for _ in range(100_000):
            if not _exchange(theirs, ours, places, answered):
                break

        seen = answered.pop(stream_id)
        assert seen == [(b":status", b"200"), *head[4:], b"".join(answer), (b"grpc-status", b"0"), *answer_trailers]
        assert stream.is_closed
        assert connection.queued == 0


def _exchange(theirs: H2Connection, ours: Recorder, places: list[int], answered: dict[int, Any]) -> bool:
    """Both read what the other sent; False: nobody had anything to say."""
    for piece in cut(theirs.data_to_send(), places):
        ours.receive(piece)
    sent = ours.connection.take()
    for event in theirs.receive_data(sent):
        if isinstance(event, their_events.ResponseReceived):
            answered[event.stream_id] = [*event.headers, b""]
        elif isinstance(event, their_events.DataReceived):
            answered[event.stream_id][-1] += event.data
            theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, their_events.TrailersReceived):
            answered[event.stream_id] += event.headers
    return bool(sent)


@given(st.lists(st.tuples(request_heads(), bodies, fields, bodies), min_size=1, max_size=4), cuts)
def test_a_server_of_h2_answers(calls: list[tuple[Pairs, list[bytes], Pairs, list[bytes]]], places: list[int]) -> None:
    theirs = H2Connection(H2Configuration(client_side=False, header_encoding=None, normalize_inbound_headers=False))
    theirs.initiate_connection()
    ours = Recorder(CLIENT)
    connection = ours.connection

    def exchange() -> list[Any]:
        seen = theirs.receive_data(connection.take())
        for piece in cut(theirs.data_to_send(), places):
            ours.receive(piece)
        for event in seen:
            if isinstance(event, their_events.DataReceived):
                theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return seen

    exchange()
    for head, request, trailers, answer in calls:
        stream = connection.open(ours.fields(*head), dict(head)[b":method"].decode(), False)
        for payload in request:
            connection.send_data(stream, payload, False)
        connection.send_trailers(stream, ours.fields((b"x-end", b"1"), *trailers))
        seen = exchange()
        while connection.queued:
            seen += exchange()
        assert _essence_of_theirs(seen) == {stream.id: [head, b"".join(request), [(b"x-end", b"1"), *trailers]]}

        theirs.send_headers(stream.id, [(b":status", b"200"), *head[4:]])
        exchange()
        for payload in answer:
            while payload:
                room = min(theirs.local_flow_control_window(stream.id), theirs.max_outbound_frame_size)
                theirs.send_data(stream.id, payload[:room])
                payload = payload[room:]
                exchange()
                exchange()
        theirs.end_stream(stream.id)
        exchange()

        assert _payload(ours.events, stream.id) == b"".join(answer)
        assert stream.is_closed


def _payload(events: list[tuple[object, ...]], stream_id: int) -> bytes:
    return b"".join(event[2] for event in events if event[:2] == ("data", stream_id) and isinstance(event[2], bytes))


def _essence_of_ours(events: list[tuple[object, ...]]) -> dict[object, list[object]]:
    """By stream: method, path, payload, trailers."""
    seen: dict[object, list[Any]] = {}
    for event in events:
        if event[0] == "request":
            seen[event[1]] = [event[2], event[3], b"", []]
        elif event[0] == "data":
            seen[event[1]][2] += event[2]
        elif event[0] == "trailers":
            seen[event[1]][3] = list(event[2])  # type: ignore[call-overload]
    return seen


def _essence_of_theirs(events: list[Any]) -> dict[object, list[Any]]:
    """By stream: head, payload, trailers."""
    seen: dict[object, list[Any]] = {}
    for event in events:
        if isinstance(event, their_events.RequestReceived):
            seen[event.stream_id] = [list(event.headers), b"", []]
        elif isinstance(event, their_events.DataReceived):
            seen[event.stream_id][1] += event.data
        elif isinstance(event, their_events.TrailersReceived):
            seen[event.stream_id][2] = list(event.headers)
    return seen
