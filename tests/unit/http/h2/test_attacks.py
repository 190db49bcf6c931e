"""Hostile peers: each meets GOAWAY or RST_STREAM while little memory is held for it; busy and slow ones are no attack."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.support.h2_attacks import ATTACKS, OPEN, Attack, cancel, get, post
from tests.support.h2_reading import LIMITS, Recorder, frames_of, reaction_in
from tests.support.h2_script import octets_of
from tulle.http.h2 import frames
from tulle.http.h2.field import FieldStore, integer
from tulle.http.h2.frames import PREFACE, frame
from tulle.http.h2.limits import MAX_REPLIES_HELD, MAX_RESETS, SHORT_LIFE, Http2Limits
from tulle.http.head import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

START = PREFACE + frame(frames.SETTINGS, 0, 0)
ACKNOWLEDGED = START + frame(frames.SETTINGS, frames.ACK, 0)
MAX_HELD = 1_000_000
"""Octets that one hostile connection may make us hold: mostly its own window's worth."""


class Silent(Recorder):
    """Remembers nothing that a peer could make large, answers nothing and consumes nothing."""

    def __init__(self, limits: Http2Limits = LIMITS, store: FieldStore | None = None) -> None:
        super().__init__(limits=limits, store=store)
        self.consumes = False

    def read_until_end(self, pieces: Iterator[bytes], most: int) -> int:
        """How many pieces were read before the connection failed."""
        for number, piece in enumerate(pieces, 1):
            self.receive(piece)
            self.sent = self.connection.take()
            self.events = self.events[-1:]
            self.streams.clear()
            self.heads.clear()
            if self.connection.has_failed or number >= most:
                return number
        return most


def held_by_codec() -> int:
    """Octets traced that the codec allocated; a compiled one is traced to whoever calls it."""
    ours = [tracemalloc.Filter(True, pattern) for pattern in ("*/tulle/http/*", "*/h2_reading.py", "*/test_attacks.py")]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack_ends_in_goaway_with_little_held(attack: Attack) -> None:
    silent = Silent()
    silent.read([ACKNOWLEDGED])
    tracemalloc.start()
    try:
        read = silent.read_until_end(attack.pieces(), 5_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert reaction_in(silent.sent) == attack.ends
    assert read <= attack.within + (128 if "limit" in attack.name else 0)
    assert peak < MAX_HELD


def test_peer_that_leaves_answers_unread_is_not_read_either() -> None:
    recorder = Recorder().read([START])
    connection = recorder.connection
    connection.hold()
    now = 0.0
    while connection.wants_reading:
        connection.receive(octets_of("PING 0 8*00") * 100, now)
        now += 10.0  # slow enough to be no flood

    assert connection.pending_bytes < MAX_REPLIES_HELD + 100 * 17 + 17
    assert not connection.has_failed

    connection.release()
    connection.take()
    assert connection.wants_reading


def test_window_of_zero_held_for_ever_holds_one_piece_of_each_stream() -> None:
    recorder = Recorder().read([START, octets_of("SETTINGS 0 #000400000000"), get(1), get(3)])
    connection = recorder.connection
    stream = recorder.streams[1]
    connection.send_head(stream, recorder.fields((b":status", b"200")), False)

    assert not connection.send_data(stream, bytes(65_536), False)
    assert (stream.queued, connection.queued) == (65_536, 65_536)
    assert reaction_in(connection.take()) == "accepted"

    connection.reset(stream, frames.CANCEL)

    assert (stream.queued, connection.queued) == (0, 0)
    assert reaction_in(connection.take()) == "stream CANCEL"


def test_window_that_opens_octet_by_octet_ends_the_connection() -> None:
    recorder = Recorder().read([START, octets_of("SETTINGS 0 #000400000000"), get(1)])
    connection = recorder.connection
    stream = recorder.streams[1]
    connection.send_head(stream, recorder.fields((b":status", b"200")), False)
    connection.send_data(stream, bytes(65_536), True)

    recorder.read(octets_of("WINDOW_UPDATE 1 #00000001") for _ in range(1_001))

    assert reaction_in(recorder.sent) == "connection ENHANCE_YOUR_CALM"


def test_data_of_a_stream_that_nobody_consumes_stops_at_its_window() -> None:
    silent = Silent(limits=Http2Limits(Limits(), connection_window=1 << 20))
    silent.read([START, OPEN, *[frame(0, 0, 1, bytes(16_383))] * 4])
    assert reaction_in(silent.sent) == "accepted"

    silent.sent = b""
    silent.read([frame(0, 0, 1, bytes(4))])

    assert reaction_in(silent.sent) == "stream FLOW_CONTROL_ERROR"


def test_frame_that_comes_octet_by_octet_is_held_in_few_pieces() -> None:
    silent = Silent()
    silent.read([START, OPEN])
    octets = frame(0, 0, 1, bytes(range(256)) * 64)
    pieces = [octets[at : at + 3] for at in range(0, len(octets) - 3, 3)]
    tracemalloc.start()
    try:
        for piece in pieces:
            silent.receive(bytes(bytearray(piece)))
        held = held_by_codec()
    finally:
        tracemalloc.stop()

    assert held < 2 * len(octets)


def test_too_many_fields_are_answered_431() -> None:
    recorder = Recorder().read([START, octets_of("HEADERS 1 ES EH {get} 120*0001780179")])

    assert recorder.events[-1][:3] == ("refused", 1, 431)
    assert not recorder.streams[1].is_closed


def test_names_and_values_without_end_are_remembered_within_bounds() -> None:
    store = FieldStore()
    silent = Silent(store=store)
    silent.read([START])

    def requests() -> Iterator[bytes]:
        for number in range(400):
            name = b"x-%06d-" % number + b"n" * 200
            fields = b"".join(
                b"\x40" + integer(0, 7, len(name)) + name + integer(0, 7, 200) + b"%06d" % at + b"v" * 194
                for at in range(number * 20, number * 20 + 20)
            )
            block = octets_of("HEADERS 1 ES EH {get}")[9:]
            yield frame(frames.HEADERS, 0x5, 2 * number + 1, block + fields) + cancel(2 * number + 1)
            silent.now += 1.0

    tracemalloc.start()
    try:
        silent.read_until_end(requests(), 10_000)
        held = held_by_codec()
    finally:
        tracemalloc.stop()

    assert not silent.connection.has_failed
    assert held < 4_000_000


def test_streams_that_we_reset_are_forgotten_in_time_and_their_late_frames_are_still_no_fault() -> None:
    silent = Silent()
    silent.read([ACKNOWLEDGED])
    tracemalloc.start()
    try:
        for number in range(1, 16_000, 2):
            silent.now += 1.0
            silent.read_until_end(iter([post(number)]), 1)
            stream = silent.connection.streams[number]
            silent.connection.reset(stream, frames.CANCEL)
        held = held_by_codec()
    finally:
        tracemalloc.stop()
    assert held < 300_000

    silent.read([frame(0, 0, 1, b"late"), frame(0, 0, 15_999, b"late")])

    assert not silent.connection.has_failed


def test_client_with_deadlines_may_cancel_many_but_not_most() -> None:
    silent = Silent()
    silent.read([ACKNOWLEDGED])
    for number in range(0, 4_000, 4):
        first, second = number + 1, number + 3
        silent.receive(get(first) + get(second) + cancel(first))
        stream = silent.streams[second]
        silent.connection.send_head(stream, silent.fields((b":status", b"204")), True)

    assert not silent.connection.has_failed


@pytest.mark.parametrize(("lives", "fails"), [(SHORT_LIFE * 2, False), (SHORT_LIFE / 5, True)])
def test_deadlines_that_all_pass_while_an_endpoint_hangs_are_no_attack(lives: float, fails: bool) -> None:
    silent = Silent()
    silent.read([ACKNOWLEDGED])
    for number in range(1, 2 * 2 * MAX_RESETS, 2):
        silent.now += 0.001
        silent.receive(get(number))
        silent.now += lives
        silent.receive(cancel(number))

    assert silent.connection.has_failed == fails


def test_keepalive_for_a_day_is_no_flood() -> None:
    recorder = Recorder().read([START])
    for seconds in range(0, 86_400, 10):
        recorder.now = float(seconds)
        recorder.read([octets_of("PING 0 8*00")])

    assert not recorder.connection.has_failed


def test_refusals_before_settings_are_acknowledged_are_not_held_against_a_client() -> None:
    recorder = Recorder().read([START, *(post(number) for number in range(1, 1_001, 2))])

    assert reaction_in(recorder.sent) == "stream REFUSED_STREAM"
    assert len(recorder.connection.streams) == LIMITS.streams
    assert sum(frame.kind == frames.RST_STREAM for frame in frames_of(recorder.sent)) == 500 - LIMITS.streams


def test_client_that_never_acknowledges_settings_is_not_refused_for_ever() -> None:
    silent = Silent()
    silent.read([START])

    read = silent.read_until_end((post(number) for number in range(1, 10_000, 2)), 5_000)

    assert reaction_in(silent.sent) == "connection ENHANCE_YOUR_CALM"
    assert read < 1_000 + LIMITS.streams + 1_200
