"""Which fields are one object, and which enter a table of ours."""

from __future__ import annotations

from hpack import Decoder as TheirDecoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from tulle.http.h2.decoder import Decoder
from tulle.http.h2.encoder import Encoder
from tulle.http.h2.field import MAX_FIELDS, FieldStore
from tulle.http.h2.table import DynamicTable

MOST = 1 << 20
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def test_field_enters_the_table_on_its_second_appearance_anywhere() -> None:
    store, first, second = FieldStore(), Encoder(), Encoder()
    agent = [store.field(b"user-agent", b"grpc-python/1.60")]

    sizes = [len(encoder.encode(agent)) for encoder in (first, second, second, first, first)]

    assert [size > 1 for size in sizes] == [True, True, False, True, False]


def test_fields_that_vary_and_secrets_enter_no_table() -> None:
    store, encoder = FieldStore(), Encoder()
    for name in (b"traceparent", b"grpc-timeout", b"x-request-id", b"authorization", b"cookie"):
        field = store.field(name, b"100m")
        assert len({len(encoder.encode([field])) for _ in range(4)}) == 1, name
        assert store.field(name, b"100m") is not field


def test_literals_go_on_in_the_form_in_which_they_came() -> None:
    store = FieldStore()
    decoder, encoder = Decoder(store), Encoder()
    coded, plain = HUFFMAN.encode(b"abc"), b"abc"
    for value in (bytes((0x80 | len(coded),)) + coded, bytes((len(plain),)) + plain):
        wire = b"\x00\x0btraceparent" + value
        read = decoder.decode(wire, 0, len(wire), MOST)
        assert read[0].value == b"abc"
        assert encoder.encode(read) == wire


def test_never_indexed_goes_on_as_never_indexed() -> None:
    store = FieldStore()
    wire = b"\x10\x01x\x03abc" + b"\x1f\x08\x03abc"
    read = Decoder(store).decode(wire, 0, len(wire), MOST)

    assert [field.pair for field in read] == [(b"x", b"abc"), (b"authorization", b"abc")]
    assert [Encoder().encode(read) for _ in range(3)] == [wire] * 3


def test_table_that_shrank_and_grew_between_two_blocks_says_both() -> None:
    """RFC 7541, 4.2: the peer may have evicted everything in between."""
    store, encoder = FieldStore(), Encoder()
    agent = [store.field(b"user-agent", b"curl")]
    for _ in range(2):
        encoder.encode(agent)
    encoder.limit(0)
    encoder.limit(4_096)

    assert encoder.encode(agent)[:4] == bytes.fromhex("203fe11f")
    assert len(encoder.encode(agent)) == 1


def test_fields_that_were_evicted_are_sent_anew() -> None:
    store, encoder, theirs = FieldStore(), Encoder(), TheirDecoder()
    encoder.limit(200)
    theirs.max_allowed_table_size = 200
    fields = [store.field(b"x-%d" % number, b"1") for number in range(10)]

    for number in range(60):
        sent = [fields[number % 10], fields[number * 3 % 10], fields[0]]
        assert theirs.decode(encoder.encode(sent), raw=True) == [field.pair for field in sent]


def test_large_field_does_not_empty_the_table_for_itself() -> None:
    store, encoder, theirs = FieldStore(), Encoder(), TheirDecoder()
    small, large = store.field(b"x-small", b"1"), store.field(b"x-large", b"a" * 250)
    encoder.limit(512)
    for _ in range(3):
        assert theirs.decode(encoder.encode([small, large]), raw=True) == [small.pair, large.pair]

    assert len(encoder.encode([small])) == 1
    assert len(encoder.encode([large])) > 250


def test_store_forgets_rather_than_grows_and_what_is_in_tables_stays() -> None:
    store = FieldStore()
    decoder, encoder, theirs = Decoder(store), Encoder(), TheirDecoder()
    kept = [store.field(b"x-kept", b"1")]
    for _ in range(2):
        theirs.decode(encoder.encode(kept))
    wire = b"\x40\x06x-kept\x011"
    decoder.decode(wire, 0, len(wire), MOST)

    for number in range(MAX_FIELDS + 1):
        store.field(b"x-other-%d" % (number % 100), b"%d" % number)

    assert store.field(b"x-kept", b"1") is not kept[0]
    assert store.field(b":method", b"GET") is store.static[2]
    assert theirs.decode(encoder.encode(kept), raw=True) == [(b"x-kept", b"1")]
    assert decoder.decode(b"\xbe", 0, 1, MOST)[0].pair == (b"x-kept", b"1")


def test_name_of_many_values_makes_the_store_forget_only_its_own() -> None:
    store = FieldStore()
    kept, first = store.field(b"x-kept", b"1"), store.field(b":path", b"/orders/0")

    for number in range(1, 10_000):
        store.field(b":path", b"/orders/%d" % number)

    assert store.field(b"x-kept", b"1") is kept
    assert store.field(b":path", b"/orders/0") is not first
    assert store.field(b":path", b"/index.html") is store.static[5]


def test_decoder_collects_no_more_than_it_may_and_still_follows_the_table() -> None:
    decoder = Decoder(FieldStore())
    entry = b"\x40\x01x\x7f\xa1\x1e" + b"a" * 4_000
    block = entry + b"\xbe" * 1_000

    fields = decoder.decode(block, 0, len(block), 32_768)

    assert len(fields) < 9
    assert decoder.list_bytes == 1_001 * 4_033
    assert decoder.decode(b"\xbe", 0, 1, MOST)[0].value == b"a" * 4_000


def test_what_was_evicted_from_a_table_is_let_go() -> None:
    store = FieldStore()
    table = DynamicTable(4096)
    for number in range(500):
        table.insert(store.field(b"x", b"%d" % number + b"a" * 3_900))
    assert len({id(entry) for entry in table.entries}) == 1
    assert table.at(1) is table.entries[-1]
    assert table.at(2) is None
