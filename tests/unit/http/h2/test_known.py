"""Fields that a connection sends again and again mean the same to its peer, whatever its table does in the meantime."""

import random

from tulle.http.h2.connection import CLIENT, SERVER, Connection
from tulle.http.h2.decoder import Decoder
from tulle.http.h2.encoder import MAX_KEPT_BLOCK, Encoder, Known
from tulle.http.h2.events import REQUEST, RESPONSE, TRAILERS, Event, Events
from tulle.http.h2.field import Field, FieldStore
from tulle.http.h2.limits import Http2Limits
from tulle.http.head import Limits, RequestHead

LIMITS = Http2Limits(Limits())
MOST = 1 << 20
HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"server", b"orders")]
ENDING = [(b"grpc-status", b"0"), (b"grpc-message", b"")]


def fields(store: FieldStore, pairs: list[tuple[bytes, bytes]]) -> list[Field]:
    return [store.field(name, value) for name, value in pairs]


def pairs_of(read: list[Field]) -> list[tuple[bytes, bytes]]:
    return [field.pair for field in read]


def test_kept_blocks_are_read_as_what_they_say_whatever_is_sent_between() -> None:
    store, peer = FieldStore(), FieldStore()
    encoder, decoder = Encoder(), Decoder(peer)
    known = [Known(fields(store, pairs)) for pairs in (HEAD, ENDING, [(b"x-only", b"1")])]
    dice = random.Random(7)
    for turn in range(3_000):
        if dice.random() < 0.1:
            encoder.limit(dice.choice((0, 128, 300, 4_096)))
        if dice.random() < 0.5:
            sent = fields(store, [(b"x-%d" % dice.randrange(40), b"v" * dice.randrange(60)), (b"date", b"%d" % turn)])
            block = encoder.encode(sent)
        else:
            one = dice.choice(known)
            sent, block = one.fields, encoder.encode(one)
        read = decoder.decode(block, 0, len(block), MOST)

        assert not decoder.fault
        assert pairs_of(read) == pairs_of(sent)


def test_a_block_is_kept_once_it_changes_nothing() -> None:
    store = FieldStore()
    encoder = Encoder()
    known = Known(fields(store, HEAD))
    first, second, third = (encoder.encode(known) for _ in range(3))

    assert len(first) > len(third), "fields enter the table on their second appearance"
    assert encoder.encode(known) is encoder.encode(known)
    encoder.forget()
    assert encoder.encode(known) == third
    assert second != third


def test_long_blocks_are_not_kept() -> None:
    encoder = Encoder()
    known = Known(fields(FieldStore(), [(b"x-long", b"v" * MAX_KEPT_BLOCK), (b":status", b"200")]))
    first, second = encoder.encode(known), encoder.encode(known)

    assert first == second
    assert first is not second


def test_what_is_known_goes_first_and_what_is_encoded_already_last() -> None:
    store, peer = FieldStore(), FieldStore()
    client, asked = connected(store, peer)
    known = Known(
        fields(store, [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"b")])
    )
    for _ in range(4):
        client.open(fields(store, [(b"te", b"trailers"), (b"x-a", b"1")]), "POST", True, known, b"\x00\x03x-b\x012")
        [event] = [event for event in exchange(client, asked) if event.kind == REQUEST]

        assert isinstance(event.head, RequestHead)
        assert event.head.fields == [(b"host", b"b"), (b"te", b"trailers"), (b"x-a", b"1"), (b"x-b", b"2")]


def test_trailers_that_come_again_are_the_same_list_until_the_table_changes() -> None:
    store, peer = FieldStore(), FieldStore()
    client, server = connected(store, peer)
    events = Events()
    client.handler = events
    seen = []
    for turn in range(8):
        stream = client.open(
            fields(store, [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"b")]),
            "POST",
            True,
        )
        [event] = [event for event in exchange(client, server) if event.kind == REQUEST]
        assert event.stream is not None
        server.send_head(event.stream, Known(fields(peer, HEAD)), False)
        if turn == 6:
            server.send_trailers(event.stream, fields(peer, [(b"grpc-status", b"5")]))
        else:
            server.send_trailers(event.stream, fields(peer, ENDING))
        client.receive(server.take(), 0.0)
        came = events.take()
        assert [event.kind for event in came if event.stream is stream] == [RESPONSE, TRAILERS]
        seen.append(came[-1].fields)

    assert all(one is not None for one in seen)
    assert [pairs_of(one or []) for one in seen] == [ENDING] * 6 + [[(b"grpc-status", b"5")], ENDING]
    assert seen[4] is seen[5]


def connected(ours: FieldStore, theirs: FieldStore) -> tuple[Connection, Connection]:
    """A client and a server that have greeted each other."""
    client = Connection(CLIENT, Events(), ours, LIMITS, 0.0)
    server = Connection(SERVER, Events(), theirs, LIMITS, 0.0)
    for _ in range(2):
        exchange(client, server)
        client.receive(server.take(), 0.0)
    return client, server


def exchange(client: Connection, server: Connection) -> list[Event]:
    """What the server is told of what the client has to send."""
    server.receive(client.take(), 0.0)
    assert isinstance(server.handler, Events)
    return server.handler.take()
