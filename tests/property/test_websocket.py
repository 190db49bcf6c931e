"""Laws of watching a WebSocket for its end: frames by PyPI `websockets`, cut anywhere; and of what is no WebSocket at all."""

from __future__ import annotations

import base64
import gc

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.utils import accept_key

from tests.support.h1_wire import cut, cuts
from tulle.http.websocket import NO_STATUS, CloseWatch, accept_of, is_key

KEPT = 15
"""Octets: a whole head, its mask and half a code."""

payloads = st.one_of(
    st.binary(max_size=20),
    st.sampled_from((0, 1, 125, 126, 127, 65_535, 65_536, 70_000)).map(lambda size: b"\x88\x02" * (size // 2 + 1)),
)
"""Of all three lengths of a length; many octets look like close frames."""
controls = st.sampled_from((Opcode.PING, Opcode.PONG))
closes = st.one_of(st.none(), st.sampled_from((1000, 1001, 1008, 1011, 1013, 3000, 3999, 4000, 4999)))


def octets_of(sent: list[Frame], mask: bool) -> bytes:
    return b"".join(one.serialize(mask=mask) for one in sent)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """One that does not close."""
    if draw(st.booleans()):
        return Frame(draw(controls), draw(st.binary(max_size=125)))
    opcode = draw(st.sampled_from((Opcode.TEXT, Opcode.BINARY, Opcode.CONT)))
    return Frame(opcode, draw(payloads), fin=draw(st.booleans()))


def watch(wire: bytes, places: list[int]) -> CloseWatch:
    """Reads the octets cut so; between the pieces little is kept."""
    one = CloseWatch()
    for piece in cut(wire, places):
        one.read(piece)
        held = [len(it) for it in gc.get_referents(one) if isinstance(it, bytes)]
        assert sum(held) <= KEPT
    return one


@given(st.lists(frames(), max_size=6), closes, st.text(max_size=20), st.booleans(), st.binary(max_size=30), cuts)
def test_a_close_is_found_however_it_is_cut(
    before: list[Frame], code: int | None, reason: str, mask: bool, after: bytes, places: list[int]
) -> None:
    last = Frame(Opcode.CLOSE, b"" if code is None else Close(code, reason).serialize())
    wire = octets_of([*before, last], mask) + after

    assert watch(wire, places).code == (NO_STATUS if code is None else code)


@given(st.lists(frames(), max_size=6), st.booleans(), st.integers(0, 8), cuts)
def test_what_does_not_close_is_no_close(sent: list[Frame], mask: bool, missing: int, places: list[int]) -> None:
    """And no more does what a connection's end leaves of a close frame."""
    wire = octets_of(sent, mask)
    close = octets_of([Frame(Opcode.CLOSE, Close(1000, "").serialize())], mask)

    assert not watch(wire + close[: max(len(close) - 1 - missing, 0)], places).is_seen


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=14)), max_size=20), cuts)
def test_cuts_do_not_change_what_is_read_from_octets_of_any_kind(
    heads: list[tuple[int, int, bytes]], places: list[int]
) -> None:
    wire = b"".join(bytes((first, second)) + rest for first, second, rest in heads)

    assert watch(wire, places).code == watch(wire, []).code == watch(wire, list(range(len(wire)))).code


@given(st.binary(max_size=300), cuts)
def test_octets_of_any_kind_are_read_alike(wire: bytes, places: list[int]) -> None:
    assert watch(wire, places).code == watch(wire, []).code


@given(st.binary(min_size=16, max_size=16))
def test_a_key_is_proved_as_others_prove_it(octets: bytes) -> None:
    key = base64.b64encode(octets)

    assert is_key(key)
    assert accept_of(key) == accept_key(key.decode()).encode()


@given(st.one_of(st.binary(max_size=40), st.text("AZaz09+/=, ", min_size=24, max_size=24).map(str.encode)))
def test_a_key_decodes_to_sixteen_octets(value: bytes) -> None:
    if is_key(value):
        assert len(base64.b64decode(value)) == 16
        assert value.endswith(b"==")
