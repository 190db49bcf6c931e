"""Laws of header compression: PyPI `hpack` reads what we write, and we read what it writes, malformed blocks included."""

from __future__ import annotations

from hpack import Decoder as TheirDecoder
from hpack import Encoder as TheirEncoder
from hpack import HeaderTuple, HPACKError, NeverIndexedHeaderTuple
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from tests.support.h2_wire import fields, names, request_heads, values
from tulle.http.h2.decoder import Decoder
from tulle.http.h2.encoder import Encoder
from tulle.http.h2.field import FieldStore, Name
from tulle.http.h2.huffman import decode_huffman

MOST = 1 << 30
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)

blocks = st.lists(st.one_of(request_heads(), fields), min_size=1, max_size=12)
sizes = st.sampled_from([0, 31, 64, 200, 1_000, 4_096])


@given(st.binary(max_size=60))
def test_huffman_reads_what_hpack_codes(octets: bytes) -> None:
    coded = HUFFMAN.encode(octets)

    assert decode_huffman(b"##" + coded + b"#", 2, 2 + len(coded)) == octets


@given(blocks, st.data())
def test_we_read_what_hpack_writes(messages: list[list[tuple[bytes, bytes]]], data: st.DataObject) -> None:
    theirs, ours = TheirEncoder(), Decoder(FieldStore())
    for message in messages:
        if data.draw(st.integers(0, 4)) == 0:
            theirs.header_table_size = data.draw(sizes)
        secret = data.draw(st.integers(0, 3)) == 0
        kind = NeverIndexedHeaderTuple if secret else HeaderTuple
        block = theirs.encode([kind(*pair) for pair in message], huffman=data.draw(st.booleans()))

        read = ours.decode(b"#" + block, 1, 1 + len(block), MOST)

        assert ours.fault == ""
        assert [field.pair for field in read] == message
        assert ours.list_bytes == sum(len(name) + len(value) + 32 for name, value in message)


@given(blocks, st.data())
def test_hpack_reads_what_we_write(messages: list[list[tuple[bytes, bytes]]], data: st.DataObject) -> None:
    """Fields that come from a neighbour's table, Huffman-coded or not, secrets among them, and tables that the peer resizes."""
    source, store = TheirEncoder(), FieldStore()
    decoder, encoder, theirs = Decoder(store), Encoder(), TheirDecoder()
    is_secret = data.draw(st.booleans())
    kind = NeverIndexedHeaderTuple if is_secret else HeaderTuple
    for message in messages:
        if data.draw(st.integers(0, 4)) == 0:
            allowed = [data.draw(sizes) for _ in range(data.draw(st.integers(1, 2)))]
            for size in allowed:
                encoder.limit(size)
            theirs.max_allowed_table_size = allowed[-1]
        block = source.encode([kind(*pair) for pair in message], huffman=data.draw(st.booleans()))
        read = decoder.decode(block, 0, len(block), MOST)
        again = [store.field(*pair) for pair in message] if data.draw(st.booleans()) else read

        sent = theirs.decode(encoder.encode(again), raw=True)

        assert [tuple(pair) for pair in sent] == message
        if is_secret and again is read:
            literal = [pair for pair, field in zip(sent, read, strict=True) if not field.index]
            assert all(isinstance(pair, NeverIndexedHeaderTuple) for pair in literal)


@given(blocks, st.lists(st.integers(0, 3), max_size=30))
def test_two_connections_of_one_store_do_not_disturb_each_other(
    messages: list[list[tuple[bytes, bytes]]], order: list[int]
) -> None:
    store = FieldStore()
    lanes = [(Encoder(), TheirDecoder()) for _ in range(3)]
    for number, message in enumerate(messages * 2):
        lane = order[number % len(order)] if order else 0
        encoder, theirs = lanes[lane % 3]

        sent = theirs.decode(encoder.encode([store.field(*pair) for pair in message]), raw=True)

        assert [tuple(pair) for pair in sent] == message


@st.composite
def noise(draw: st.DrawFn) -> bytes:
    """Representations, some of them broken."""
    out = b""
    for _ in range(draw(st.integers(1, 8))):
        name, value = draw(names), draw(values)
        out += draw(
            st.one_of(
                st.just(bytes((draw(st.integers(0x80, 0xFF)),))),
                st.just(bytes((draw(st.integers(0x20, 0x3F)),))),
                st.just(bytes((draw(st.integers(0, 0x7F)),)) + bytes((len(value),)) + value),
                st.just(b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value),
                st.just(b"\x00" + bytes((len(name),)) + name + bytes((0x80 | len(value),)) + HUFFMAN.encode(value)),
                st.binary(max_size=6),
            )
        )
    return out


@given(st.lists(noise(), min_size=1, max_size=3))
def test_noise_is_read_as_hpack_reads_it(octets: list[bytes]) -> None:
    theirs, ours = TheirDecoder(max_header_list_size=MOST), Decoder(FieldStore())
    for block in octets:
        try:
            expected = [tuple(pair) for pair in theirs.decode(block, raw=True)]
        except HPACKError:
            expected = None

        read = [field.pair for field in ours.decode(block, 0, len(block), MOST)]

        if ours.fault in ("table size update within a block", "malformed literal", "index beyond the tables"):
            # `hpack` takes an update anywhere but behind the first field, and integers of any length.
            if expected is not None:
                assert ours.fault != "malformed literal" or is_long_integer_in(block)
            return
        assert (expected is None) == (ours.fault != ""), ours.fault
        if expected is None:
            return
        assert read == expected


def is_long_integer_in(block: bytes) -> bool:
    """Whether six octets in a row might be one integer."""
    return any(all(octet >= 0x80 for octet in block[at : at + 5]) for at in range(len(block) - 5))


@given(st.binary(min_size=1, max_size=20), st.binary(max_size=20))
def test_a_field_is_one_object_however_it_came(name: bytes, value: bytes) -> None:
    """Unless its values vary or it is malformed: then nothing is remembered."""
    store = FieldStore()
    plain = b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
    coded_name, coded_value = HUFFMAN.encode(name), HUFFMAN.encode(value)
    coded = b"\x00" + bytes((0x80 | len(coded_name),)) + coded_name + bytes((0x80 | len(coded_value),)) + coded_value
    decoder = Decoder(store)

    first = decoder.decode(plain, 0, len(plain), MOST)[0]
    second = decoder.decode(coded, 0, len(coded), MOST)[0]

    assert first.pair == second.pair == (name, value)
    assert (first is second) == (first.may_index or first.index > 0)
    assert isinstance(first.name, Name)
