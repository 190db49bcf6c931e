"""Hypothesis strategies for HTTP/1.1 octets: sound ones, mutated ones, and cuts."""

from __future__ import annotations

import string
from itertools import pairwise

from hypothesis import strategies as st

from tests.support.framing import REQUESTS, RESPONSES

TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"

names = st.text(TOKEN, min_size=1, max_size=12).map(lambda text: b"X-" + text.encode())
values = st.binary(max_size=20).map(
    lambda octets: bytes(octet for octet in octets if octet == 9 or (octet >= 32 and octet != 127)).strip(b" \t")
)
fields = st.lists(st.tuples(names, values), max_size=6)
targets = st.text(string.ascii_letters + string.digits + "/%?&=.-_~:@", max_size=20).map(
    lambda text: b"/" + text.encode()
)
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"BREW"])
hosts = st.sampled_from([b"shop.example", b"shop.example:8080", b"[::1]:80", b"127.0.0.1"])
payloads = st.lists(st.binary(min_size=1, max_size=60), max_size=5)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One sound request with its body."""
    lines = [b"%b %b HTTP/1.1" % (draw(methods), draw(targets)), b"Host: " + draw(hosts)]
    lines += [name + b": " + value for name, value in draw(fields)]
    body = b""
    framing = draw(st.sampled_from(["none", "sized", "chunked"]))
    pieces = draw(payloads)
    if framing == "sized":
        body = b"".join(pieces)
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunked":
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        lines.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


connections = st.lists(requests(), min_size=1, max_size=3).map(b"".join)

TABLE = [row.wire for row in REQUESTS] + [row.wire for row in RESPONSES]

table_wires = st.sampled_from([wire for wire in TABLE if len(wire) < 2_000])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A row of the table, or a sound connection, with some octets replaced, inserted, doubled or deleted."""
    return draw(spoilt(draw(st.one_of(table_wires, connections))))


@st.composite
def spoilt(draw: st.DrawFn, sound: bytes) -> bytes:
    """The same with some octets replaced, inserted, doubled or deleted."""
    wire = bytearray(sound)
    spice = st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\x00", b",", b"0", b";", b"\xff", b"chunked"])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(wire)))
        size = draw(st.integers(0, 3))
        change = draw(st.sampled_from(["insert", "replace", "delete", "double"]))
        if change == "double":
            wire[at:at] = wire[at : at + 20]
        else:
            wire[at : at + (0 if change == "insert" else size)] = b"" if change == "delete" else draw(spice)
    return bytes(wire)


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """The octets in pieces, cut at these places (taken modulo the length)."""
    if not wire:
        return []
    marks = sorted({0, len(wire), *(place % len(wire) for place in places)})
    return [wire[start:end] for start, end in pairwise(marks)]


cuts = st.lists(st.integers(0, 100_000), max_size=12)
