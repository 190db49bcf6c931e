"""Laws of two connections of ours that talk: what goes in comes out, in order, whatever is reset, held or left unread meanwhile."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.support.h2_reading import CLIENT, SERVER, Recorder
from tulle.http.h2.frames import CANCEL
from tulle.http.h2.limits import Http2Limits
from tulle.http.h2.stream import Stream
from tulle.http.head import Limits

LIMITS = Http2Limits(Limits(), streams=10, stream_window=30_000, connection_window=65_535)


class End:
    """One end, the octets on their way to it, and what was sent and received by stream."""

    def __init__(self, role: int) -> None:
        self.recorder = Recorder(role, LIMITS)
        self.recorder.consumes = False
        self.connection = self.recorder.connection
        self.incoming = b""
        self.sent: dict[int, bytes] = {}
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()
        """Streams whose half was ended here."""
        self.is_held = False
        self.unconsumed: list[tuple[Stream, int]] = []
        self._read = 0

    def receive(self, size: int) -> None:
        """Reads a part of what is on its way."""
        piece, self.incoming = self.incoming[:size], self.incoming[size:]
        self.recorder.now += 20.0  # resets and dribbles of this test are no attack
        self.recorder.receive(piece)
        for event in self.recorder.events[self._read :]:
            if event[0] == "data" and isinstance(event[1], int) and isinstance(event[2], bytes):
                self.received[event[1]] = self.received.get(event[1], b"") + event[2]
                self.unconsumed.append((self.recorder.streams[event[1]], len(event[2])))
        self._read = len(self.recorder.events)

    def open_streams(self) -> list[Stream]:
        """Those on which something may still be sent from here."""
        return [
            stream
            for stream in self.connection.streams.values()
            if stream.id in self.sent and stream.id not in self.ended
        ]

    def end(self, stream: Stream, random: Random) -> None:
        """Ends our half, one way or the other."""
        self.ended.add(stream.id)
        if random.random() < 0.5:
            self.connection.send_trailers(stream, self.recorder.fields((b"x-sum", b"%d" % stream.id)))
        else:
            self.connection.send_data(stream, b"", True)


def begin(client: End, random: Random) -> None:
    if client.connection.can_open:
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/%d" % random.randrange(5))]
        fields += [(b":authority", b"shop"), (b"x-a", b"%d" % random.randrange(3))]
        stream = client.connection.open(client.recorder.fields(*fields), "POST", False)
        client.sent[stream.id] = b""


def answer(server: End) -> None:
    for stream in list(server.connection.streams.values()):
        if stream.id not in server.sent:
            server.sent[stream.id] = b""
            server.connection.send_head(stream, server.recorder.fields((b":status", b"200")), False)


def carry(sender: End, receiver: End) -> None:
    if not sender.is_held:
        receiver.incoming += sender.connection.take()


@given(st.integers(0, 1 << 32), st.integers(10, 400))
def test_what_goes_in_comes_out(seed: int, steps: int) -> None:
    random = Random(seed)
    client, server = End(CLIENT), End(SERVER)
    reset: set[int] = set()
    for _ in range(steps):
        end = random.choice((client, server))
        other = server if end is client else client
        streams = end.open_streams()
        act = random.randrange(9)
        if act == 0:
            begin(client, random)
        elif act <= 2 and streams:
            stream = random.choice(streams)
            payload = random.randbytes(random.choice((0, 1, 100, 5_000, 40_000)))
            end.sent[stream.id] += payload
            end.connection.send_data(stream, payload, False)
        elif act == 3 and streams and random.random() < 0.5:
            end.end(random.choice(streams), random)
        elif act == 4 and streams and random.random() < 0.3:
            stream = random.choice(streams)
            reset.add(stream.id)
            end.connection.reset(stream, CANCEL)
        elif act == 5 and end.unconsumed:
            end.connection.consume(*end.unconsumed.pop(random.randrange(len(end.unconsumed))))
        elif act == 6 and random.random() < 0.3:
            end.is_held = not end.is_held
            (end.connection.hold if end.is_held else end.connection.release)()
        else:
            carry(end, other)
            other.receive(random.choice((1, 9, 50, 3_000, 100_000)))
            answer(server)

    for end in (client, server):
        end.is_held = False
        end.connection.release()
    for _ in range(1_000):
        for end, other in ((client, server), (server, client)):
            carry(end, other)
            other.receive(len(other.incoming))
            answer(server)
            for stream in end.open_streams():
                end.end(stream, random)
            while end.unconsumed:
                end.connection.consume(*end.unconsumed.pop())
        if not (client.connection.streams or server.connection.streams or client.incoming or server.incoming):
            break

    assert not client.connection.has_failed, client.recorder.events[-1]
    assert not server.connection.has_failed, server.recorder.events[-1]
    assert not client.connection.streams
    assert not server.connection.streams
    assert client.connection.queued == server.connection.queued == 0
    for sender, receiver in ((client, server), (server, client)):
        for stream_id, payload in sender.sent.items():
            received = receiver.received.get(stream_id, b"")
            assert payload.startswith(received)
            assert received == payload or stream_id in reset
