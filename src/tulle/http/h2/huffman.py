"""Reads Huffman-coded strings (RFC 7541, 5.2). A relay sends strings as they came, so nothing here writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64  # only mypyc heeds it; nothing imports it at run time

WINDOW: Final = 12
"""Bits looked at in one step: two symbols of those that names and values are made of."""

SIZES: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606"
    "060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605060506060605070706060605"
    "06070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615141616171715"
    "1716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)
"""How many bits each octet's code has. The code is canonical (RFC 7541, appendix B), so this is all of it."""


def _codes() -> list[tuple[int, int, int]]:
    """Every symbol as (bits, code, symbol); the shortest first."""
    codes: list[tuple[int, int, int]] = []
    code = 0
    before = 0
    for bits, symbol in sorted((bits, symbol) for symbol, bits in enumerate(SIZES)):
        code <<= bits - before
        before = bits
        codes.append((bits, code, symbol))
        code += 1
    return codes


def _short_tables() -> tuple[bytes, bytes, bytes, list[bytes]]:
    """For every window: bits and octet of its first symbol (0: longer than the window), bits and octets of all it holds."""
    size = 1 << WINDOW
    one_bits = bytearray(size)
    one = bytearray(size)
    for bits, code, symbol in _codes():
        if bits > WINDOW:
            break
        start = code << (WINDOW - bits)
        for at in range(start, start + (1 << (WINDOW - bits))):
            one_bits[at] = bits
            one[at] = symbol
    pieces: dict[bytes, bytes] = {}
    all_bits = bytearray(size)
    octets: list[bytes] = []
    for at in range(size):
        bits = one_bits[at]
        piece = bytes((one[at],)) if bits else b""
        if bits:
            second = (at << bits) & (size - 1)
            if one_bits[second] and bits + one_bits[second] <= WINDOW:
                piece += bytes((one[second],))
                bits += one_bits[second]
        all_bits[at] = bits
        octets.append(pieces.setdefault(piece, piece))
    return bytes(one_bits), bytes(one), bytes(all_bits), octets


_SHORT: Final = _short_tables()
ONE_BITS: Final[bytes] = _SHORT[0]
ONE: Final[bytes] = _SHORT[1]
ALL_BITS: Final[bytes] = _SHORT[2]
ALL: Final[list[bytes]] = _SHORT[3]

LONG: Final[dict[int, bytes]] = {
    (bits << 32) | code: bytes((symbol,)) for bits, code, symbol in _codes() if bits > WINDOW
}
"""By length and code: the symbols that no window holds."""
LONGEST: Final = 30
LOW: Final = (1 << WINDOW) - 1
HOLD: Final = (1 << LONGEST) - 1


def decode_huffman(octets: bytes, at: int, end: int) -> bytes | None:
    """The string that `octets[at:end]` codes; None when it is malformed: EOS within, bad or too much padding."""
    out: list[bytes] = []
    held: i64 = 0
    bits: i64 = 0
    place: i64 = at
    last: i64 = end
    window: i64 = 0
    step: i64 = 0
    while True:
        if bits >= WINDOW:
            window = (held >> (bits - WINDOW)) & LOW
            step = ALL_BITS[window]
            if step != 0:
                out.append(ALL[window])
                bits -= step
                continue
        if bits < LONGEST and place < last:
            held = ((held & HOLD) << 8) | octets[place]
            bits += 8
            place += 1
            if place < last:
                held = (held << 8) | octets[place]
                bits += 8
                place += 1
            continue
        if bits < WINDOW:
            break
        length: i64 = WINDOW + 1
        symbol = b""
        while length <= bits and not symbol:
            symbol = LONG.get(int((length << 32) | ((held >> (bits - length)) & ((1 << length) - 1))), b"")
            length += 1
        if not symbol:
            return None
        out.append(symbol)
        bits -= length - 1
    while bits > 0:
        window = ((held << (WINDOW - bits)) | ((1 << (WINDOW - bits)) - 1)) & LOW
        step = ONE_BITS[window]
        if step == 0 or step > bits:
            break
        out.append(ONE[window : window + 1])
        bits -= step
    padding: i64 = (1 << bits) - 1
    if bits > 7 or held & padding != padding:
        return None
    return b"".join(out)
