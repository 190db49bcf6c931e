"""What a connection does beyond the table of frames: order on the wire, windows, credit, leaving, remembering."""

from __future__ import annotations

from hpack import Decoder as TheirDecoder
from hpack import Encoder as TheirEncoder

from tests.support.h2_attacks import GET, cancel, get, post
from tests.support.h2_reading import CLIENT, Recorder, frames_of, reaction_in
from tests.support.h2_script import octets_of
from tulle.http.h2 import frames
from tulle.http.h2.frames import PREFACE, frame
from tulle.http.h2.limits import Http2Limits
from tulle.http.head import Limits, RequestHead

SETTINGS = frame(frames.SETTINGS, 0, 0)
START = PREFACE + SETTINGS
STATUS = (b":status", b"200")
REQUEST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"shop"))


def answering(script: str = "HEADERS 1 ES EH {get}") -> Recorder:
    """A server that has read its settings acknowledgement and a request, and sent a head."""
    recorder = Recorder().read([START, octets_of(script)])
    recorder.connection.send_head(recorder.streams[1], recorder.fields(STATUS), False)
    recorder.connection.take()
    return recorder


def kinds(octets: bytes) -> list[tuple[int, int, int]]:
    """Kind, stream and payload length of each frame."""
    return [(sent.kind, sent.stream_id, len(sent.payload)) for sent in frames_of(octets)]


def test_greeting_announces_limits_and_the_connection_window() -> None:
    limits = Http2Limits(Limits(), streams=7, stream_window=100_000, connection_window=200_000, extended_connect=True)

    sent = list(frames_of(Recorder(limits=limits).connection.take()))

    settings = sent[0].payload
    read = {
        int.from_bytes(settings[at : at + 2], "big"): int.from_bytes(settings[at + 2 : at + 6], "big")
        for at in range(0, len(settings), 6)
    }
    assert read == {3: 7, 4: 100_000, 6: 32_768, 8: 1}
    assert (sent[1].kind, int.from_bytes(sent[1].payload, "big")) == (frames.WINDOW_UPDATE, 200_000 - 65_535)


def test_trailers_wait_behind_queued_data_and_are_encoded_when_they_are_sent() -> None:
    recorder = Recorder().read([START, octets_of("HEADERS 1 ES EH {get}; HEADERS 3 ES EH {get}")])
    connection, theirs = recorder.connection, TheirDecoder()
    connection.take()
    trailer = recorder.fields((b"grpc-status", b"0"))
    first, second = recorder.streams[1], recorder.streams[3]
    for stream in (first, second):
        connection.send_head(stream, recorder.fields(STATUS, (b"x-a", b"1")), False)
    assert not connection.send_data(first, bytes(65_536), False)
    connection.send_trailers(first, trailer)
    connection.send_trailers(second, trailer)
    recorder.read([octets_of("WINDOW_UPDATE 0 #00010000; WINDOW_UPDATE 1 #00010000")])

    blocks = [
        (sent.stream_id, list(theirs.decode(sent.payload, raw=True)))
        for sent in frames_of(recorder.sent)
        if sent.kind == 1
    ]
    order = [sent.stream_id for sent in frames_of(recorder.sent) if sent.flags & 1 and sent.kind == frames.HEADERS]

    assert order == [3, 1]
    assert blocks[-1][0] == 1
    assert [tuple(pair) for pair in blocks[-1][1]] == [(b"grpc-status", b"0")]
    assert first.is_closed
    assert second.is_closed


def test_data_is_cut_by_the_smaller_window_and_goes_on_when_it_opens() -> None:
    recorder = answering("SETTINGS 0 #000400000064; HEADERS 1 ES EH {get}")
    stream = recorder.streams[1]

    assert not recorder.connection.send_data(stream, b"a" * 150, False)
    assert kinds(recorder.connection.take()) == [(frames.DATA, 1, 100)]

    recorder.read([octets_of("WINDOW_UPDATE 1 #0000000a")])
    assert kinds(recorder.sent)[-1] == (frames.DATA, 1, 10)
    assert recorder.events[-1][0] != "writable"

    recorder.read([octets_of("WINDOW_UPDATE 1 #00000100")])
    assert kinds(recorder.sent)[-1] == (frames.DATA, 1, 40)
    assert recorder.events[-1] == ("writable", 1)


def test_windows_that_settings_shrink_below_zero_are_owed_first() -> None:
    recorder = answering("HEADERS 1 ES EH {get}")
    connection, stream = recorder.connection, recorder.streams[1]
    assert connection.send_data(stream, bytes(1_000), False)
    recorder.read([octets_of("SETTINGS 0 #000400000000")])
    assert stream.send_window == -1_000

    recorder.read([octets_of("WINDOW_UPDATE 1 #000003e8")])
    assert not connection.send_data(stream, b"x", False)

    recorder.read([octets_of("WINDOW_UPDATE 1 #00000001")])
    assert recorder.events[-1] == ("writable", 1)


def test_streams_that_wait_for_the_connection_take_turns() -> None:
    recorder = Recorder().read([START, *(get(number) for number in (1, 3, 5))])
    connection = recorder.connection
    for number in (1, 3, 5):
        connection.send_head(recorder.streams[number], recorder.fields(STATUS), False)
        connection.send_data(recorder.streams[number], bytes(60_000), True)
    connection.take()

    recorder.sent = b""
    recorder.read([octets_of("WINDOW_UPDATE 0 #00010000")])

    data = [stream_id for kind, stream_id, _ in kinds(recorder.sent) if kind == frames.DATA]
    assert data[:4] == [3, 5, 3, 5]


def test_nothing_is_sent_while_the_wire_is_full_but_heads_and_replies() -> None:
    recorder = answering("HEADERS 1 ES EH {get}; HEADERS 3 ES EH {get}")
    connection = recorder.connection
    connection.hold()

    assert not connection.send_data(recorder.streams[1], b"abc", True)
    connection.send_head(recorder.streams[3], recorder.fields(STATUS), True)
    connection.receive(octets_of("PING 0 8*00"), 0.0)
    assert [kind for kind, _, _ in kinds(connection.take())] == [frames.HEADERS, frames.PING]

    connection.release()
    assert kinds(connection.take()) == [(frames.DATA, 1, 3)]


def test_queued_data_in_pieces_comes_out_whole_and_in_order() -> None:
    recorder = answering("SETTINGS 0 #000400000000; HEADERS 1 ES EH {get}")
    connection, stream = recorder.connection, recorder.streams[1]
    pieces = [bytes((65 + number,)) * (number * 700) for number in range(1, 12)]
    for number, piece in enumerate(pieces):
        connection.send_data(stream, piece, number == len(pieces) - 1)

    recorder.sent = b""
    recorder.read([octets_of("WINDOW_UPDATE 1 #00000500")] * 40)

    payload = b"".join(sent.payload for sent in frames_of(recorder.sent) if sent.kind == frames.DATA)
    assert payload == b"".join(pieces)
    assert stream.is_closed
    assert connection.queued == 0


def test_large_head_goes_in_frames_of_the_peers_size() -> None:
    recorder = Recorder().read([START, get(1)])
    connection = recorder.connection
    connection.take()
    connection.send_head(recorder.streams[1], recorder.fields(STATUS, (b"x-a", b"a" * 40_000)), True)

    sent = list(frames_of(connection.take()))

    assert [(part.kind, part.flags, len(part.payload) <= 16_384) for part in sent] == [
        (1, 1, True),
        (9, 0, True),
        (9, 4, True),
    ]
    block = b"".join(part.payload for part in sent)
    assert list(TheirDecoder(max_header_list_size=1 << 20).decode(block, raw=True))[1] == (b"x-a", b"a" * 40_000)


def test_credit_goes_back_when_data_has_gone_on() -> None:
    recorder = Recorder(limits=Http2Limits(Limits(), connection_window=65_535)).read([START, post(1)])
    recorder.consumes = False
    recorder.sent = b""
    recorder.read([frame(0, 0, 1, bytes(16_384)), frame(0, 0, 1, bytes(16_384))])
    assert recorder.sent == b""

    recorder.connection.consume(recorder.streams[1], 32_768)

    assert sorted(kinds(recorder.connection.take())) == [(8, 0, 4), (8, 1, 4)]


def test_clients_connection_gets_credit_at_once_and_its_stream_later() -> None:
    recorder = Recorder(CLIENT, Http2Limits(Limits(), connection_window=65_535)).read([SETTINGS])
    connection = recorder.connection
    stream = connection.open(recorder.fields(*REQUEST), "POST", True)
    recorder.consumes = False
    recorder.sent = b""
    connection.take()
    recorder.read([octets_of("HEADERS 1 EH {ok}"), frame(0, 0, 1, bytes(16_384)), frame(0, 0, 1, bytes(16_384))])
    assert [stream_id for kind, stream_id, _ in kinds(recorder.sent) if kind == 8] == [0]

    connection.consume(stream, 32_768)
    assert kinds(connection.take()) == [(8, 1, 4)]


def test_what_a_reset_stream_held_goes_back_to_the_connection() -> None:
    recorder = Recorder(limits=Http2Limits(Limits(), connection_window=65_535)).read([START, post(1)])
    recorder.consumes = False
    recorder.sent = b""
    recorder.read([frame(0, 0, 1, bytes(16_384)), frame(0, 0, 1, bytes(16_384)), cancel(1)])
    assert [(kind, stream_id) for kind, stream_id, _ in kinds(recorder.sent)] == [(8, 0)]

    recorder.connection.consume(recorder.streams[1], 32_768)
    assert recorder.connection.take() == b""


def test_data_of_a_stream_that_is_gone_still_counts_for_the_connection() -> None:
    recorder = Recorder(limits=Http2Limits(Limits(), connection_window=65_535)).read([START, post(1)])
    recorder.connection.reset(recorder.streams[1], frames.CANCEL)
    recorder.sent = b""
    recorder.read([frame(0, 0, 1, bytes(16_384))] * 40)

    updates = [sent for sent in frames_of(recorder.sent) if sent.kind == frames.WINDOW_UPDATE]
    assert sum(int.from_bytes(sent.payload, "big") for sent in updates) == 40 * 16_384
    assert not recorder.connection.has_failed


def test_padding_is_given_back_though_nobody_consumes_it() -> None:
    recorder = Recorder(limits=Http2Limits(Limits(), connection_window=65_535)).read([START, post(1)])
    padded = frame(frames.DATA, frames.PADDED, 1, b"\xff" + b"a" * 10 + bytes(255))

    recorder.read([padded] * 800)

    assert reaction_in(recorder.sent) == "accepted"


def test_larger_windows_count_from_the_moment_the_peer_knows_them() -> None:
    limits = Http2Limits(Limits(), stream_window=20_000, connection_window=1 << 20)
    recorder = Recorder(limits=limits).read([START, post(1), frame(0, 0, 1, bytes(16_384)) * 2])
    assert reaction_in(recorder.sent) == "accepted"

    recorder.read([frame(frames.SETTINGS, frames.ACK, 0), post(3), frame(0, 0, 3, bytes(16_384))])
    recorder.consumes = False
    recorder.read([frame(0, 0, 3, bytes(16_384)), frame(0, 0, 3, bytes(16_384))])

    assert reaction_in(recorder.sent) == "stream FLOW_CONTROL_ERROR"


def test_open_streams_follow_our_windows_once_the_peer_knows_them() -> None:
    recorder = Recorder(limits=Http2Limits(Limits(), stream_window=20_000))
    recorder.consumes = False
    recorder.read([START, post(1), frame(0, 0, 1, bytes(16_384)), frame(frames.SETTINGS, frames.ACK, 0)])

    recorder.read([frame(0, 0, 1, bytes(20_000 - 16_384))])
    assert reaction_in(recorder.sent) == "accepted"

    recorder.read([frame(0, 0, 1, b"x")])
    assert reaction_in(recorder.sent) == "stream FLOW_CONTROL_ERROR"


def test_stream_may_end_while_it_owes_more_than_a_shrunken_window() -> None:
    limits = Http2Limits(Limits(), stream_window=1_000, connection_window=1 << 20)
    recorder = Recorder(limits=limits)
    recorder.consumes = False
    recorder.read([START, post(1), frame(0, 0, 1, bytes(16_384)), frame(frames.SETTINGS, frames.ACK, 0)])

    recorder.read([frame(0, 1, 1)])

    assert recorder.events[-1] == ("data", 1, b"", True)
    assert reaction_in(recorder.sent) == "accepted"


def test_drain_serves_what_is_on_its_way_and_then_names_the_last_stream() -> None:
    recorder = Recorder().read([START, get(1)])
    connection = recorder.connection
    connection.drain()
    sent = list(frames_of(connection.take()))
    assert [(part.kind, part.payload[:4].hex()) for part in sent[-2:]] == [(7, "7fffffff"), (6, b"drai".hex())]

    recorder.sent = b""
    recorder.read([get(3), frame(frames.PING, frames.ACK, 0, sent[-1].payload), get(5)])

    assert [part.payload.hex() for part in frames_of(recorder.sent)] == ["0000000300000000"]
    assert [event[1] for event in recorder.events if event[0] == "request"] == [1, 3]
    assert not connection.has_failed


def test_streams_above_the_last_of_goaway_were_refused_and_may_be_retried() -> None:
    recorder = Recorder(CLIENT).read([SETTINGS])
    connection = recorder.connection
    opened = [connection.open(recorder.fields(*REQUEST), "POST", True) for _ in range(3)]

    recorder.read([octets_of("GOAWAY 0 #00000001 #00000000")])

    assert recorder.events[1:] == [
        ("reset", 3, "REFUSED_STREAM", True, ""),
        ("reset", 5, "REFUSED_STREAM", True, ""),
        ("goaway", "NO_ERROR", False, ""),
    ]
    assert not connection.can_open
    assert [stream.is_closed for stream in opened] == [False, True, True]
    recorder.read([octets_of("HEADERS 1 ES EH {ok}")])
    assert recorder.events[-1][:3] == ("response", 1, 200)


def test_peers_limit_of_streams_is_kept() -> None:
    recorder = Recorder(CLIENT).read([octets_of("SETTINGS 0 #000300000001")])
    connection = recorder.connection
    stream = connection.open(recorder.fields(*REQUEST), "POST", True)
    assert not connection.can_open

    connection.reset(stream, frames.CANCEL)

    assert connection.can_open


def test_own_limit_of_streams_holds_towards_a_generous_server() -> None:
    recorder = Recorder(CLIENT, Http2Limits(Limits(), streams=2)).read([octets_of("SETTINGS 0 #0003ffffffff")])
    for _ in range(2):
        assert recorder.connection.can_open
        recorder.connection.open(recorder.fields(*REQUEST), "POST", True)

    assert not recorder.connection.can_open


def test_answer_before_the_request_is_read_ends_in_no_error() -> None:
    recorder = Recorder().read([START, post(1)])
    connection, stream = recorder.connection, recorder.streams[1]
    connection.take()
    connection.send_head(stream, recorder.fields((b":status", b"403")), True)
    assert not stream.is_closed

    connection.reset(stream, frames.NO_ERROR)

    assert kinds(connection.take()) == [(1, 1, 5), (3, 1, 4)]
    recorder.read([frame(0, 0, 1, b"still sending")])
    assert not connection.has_failed


def test_pong_is_reported_and_others_pings_are_answered() -> None:
    recorder = Recorder(CLIENT).read([SETTINGS])
    recorder.connection.ping()
    asked = list(frames_of(recorder.connection.take()))[-1]
    recorder.sent = b""

    recorder.read([frame(frames.PING, frames.ACK, 0, asked.payload), frame(frames.PING, 0, 0, b"12345678")])

    assert recorder.events[-1] == ("pong",)
    assert recorder.sent == frame(frames.PING, frames.ACK, 0, b"12345678")


def test_output_is_announced_once_until_it_is_taken() -> None:
    recorder = Recorder().read([START, get(1)])
    before = recorder.outputs
    recorder.connection.send_head(recorder.streams[1], recorder.fields(STATUS), False)
    recorder.connection.send_data(recorder.streams[1], b"abc", True)
    assert recorder.outputs == before + 1

    recorder.connection.take()
    recorder.connection.ping()
    assert recorder.outputs == before + 2


def test_same_block_gives_the_same_head_until_the_table_changes() -> None:
    theirs = TheirEncoder()
    fields = [*REQUEST, (b"user-agent", b"curl")]
    blocks = [theirs.encode(fields) for _ in range(4)]
    changed = theirs.encode([*fields, (b"x-new", b"1")])
    after = theirs.encode(fields)
    wire = [frame(1, 5, 2 * number + 1, block) for number, block in enumerate([*blocks, changed, after])]

    recorder = Recorder().read([START, *wire])

    heads = recorder.heads
    assert heads[1] is heads[2] is heads[3]
    assert heads[0] is not heads[1]
    assert blocks[1] != after
    assert all(isinstance(head, RequestHead) and head.value(b"user-agent") == b"curl" for head in heads)
    assert heads[4].value(b"x-new") == b"1"
    assert heads[5].value(b"x-new") is None


def test_block_that_means_something_else_after_an_insertion_is_read_again() -> None:
    """Index 62 is another field once something was inserted before it."""
    insert = "HEADERS {} ES EH {{get}} #400178{:04x}"
    same = GET + b"\xbe"
    script = [octets_of(insert.format(1, 0x0131)), frame(1, 5, 3, same), frame(1, 5, 5, same)]
    script += [octets_of(insert.format(7, 0x0132)), frame(1, 5, 9, same)]

    recorder = Recorder().read([START, *script])

    assert [head.value(b"x") for head in recorder.heads] == [b"1", b"1", b"1", b"2", b"2"]


def test_same_block_with_and_without_a_body_are_two_heads() -> None:
    recorder = Recorder().read([START, get(1), frame(1, 4, 3, GET), get(5)])

    assert [event[-2:] for event in recorder.events[1:]] == [(0, True), (2, False), (0, True)]


def test_answer_to_head_is_not_remembered_for_get() -> None:
    recorder = Recorder(CLIENT).read([SETTINGS])
    for method in ("HEAD", "GET"):
        recorder.connection.open(recorder.fields(*REQUEST), method, True)

    recorder.read(
        [octets_of('HEADERS 1 ES EH {ok, content-length=3}; HEADERS 3 EH {ok, content-length=3}; DATA 3 ES "abc"')]
    )

    assert [event[0] for event in recorder.events[1:]] == ["response", "response", "data"]


def test_closing_says_the_last_stream_and_reads_no_more() -> None:
    recorder = Recorder().read([START, get(1)])
    recorder.connection.close(frames.NO_ERROR)
    assert list(frames_of(recorder.connection.take()))[-1].payload.hex() == "0000000100000000"

    seen = len(recorder.events)
    recorder.read([get(3)])
    assert len(recorder.events) == seen
    assert recorder.connection.take() == b""
