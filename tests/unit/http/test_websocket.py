"""A handshake's proof, and close frames found where RFC 6455 puts them."""

from __future__ import annotations

import base64

import pytest

from tulle.http.websocket import KNOWN_CODES, NO_STATUS, CloseWatch, accept_of, code_label, is_key, new_key

MASKED_CLOSE = b"\x88\x82\x37\xfa\x21\x3d" + bytes((0x03 ^ 0x37, 0xE8 ^ 0xFA))
"""1000."""


def found(*pieces: bytes) -> int:
    watch = CloseWatch()
    for piece in pieces:
        watch.read(piece)
    assert watch.is_seen == (watch.code >= 0)
    return watch.code


def test_accept_is_the_one_of_rfc_6455() -> None:
    assert accept_of(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # 1.3


def test_a_new_key_is_a_key_and_another_each_time() -> None:
    keys = {new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(is_key(key) for key in keys)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"=" * 24,
        b"A" * 24,
        base64.b64encode(bytes(15)),
        base64.b64encode(bytes(17)),
        base64.b64encode(bytes(18)),
        base64.b64encode(bytes(16))[:-1],
        base64.b64encode(bytes(16)) + b"=",
        base64.b64encode(bytes(16))[:-3] + b"===",
        b"dGhlIHNhbXBsZSBub25jZ!==",
        b"dGhlIHNhbXBsZSBub2 jZQ==",
        b"dGhlIHNhbXBsZSBub2\xe4jZQ==",
        b"dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ],
)
def test_what_is_no_key(value: bytes | None) -> None:
    assert not is_key(value)


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((), -1),
        ((b"",), -1),
        ((b"\x88\x02\x03\xe8",), 1000),
        ((b"\x88", b"", b"\x02", b"\x03", b"", b"\xe8"), 1000),
        ((MASKED_CLOSE,), 1000),
        ((MASKED_CLOSE[:7],), -1),
        ((b"\x88\x00",), NO_STATUS),
        ((b"\x88\x80\x00\x00\x00\x00",), NO_STATUS),
        ((b"\x88\x01\x03",), NO_STATUS),
        ((b"\x88\x05\x0f\xa0bye",), 4000),
        ((b"\x88\x7d\x0f\xa0",), 4000),
        ((b"\x81\x05Hello\x88\x02\x03\xe8",), 1000),
        ((b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + MASKED_CLOSE,), 1000),
        ((b"\x01\x03Hel\x89\x00\x80\x02lo\x8a\x00\x88\x02\x03\xe9",), 1001),
        ((b"\x82\x7e\x01\x00" + bytes(256) + b"\x88\x02\x03\xe8",), 1000),
        ((b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", bytes(65_535), b"\x00\x88\x02", b"\x03\xe8"), 1000),
        ((b"\xc1\x04\x88\x02\x03\xe8\x88\x02\x03\xea",), 1002),
        ((b"\x88\x02\x03\xe8\x88\x02\x03\xea",), 1000),
        ((b"\x88\x02\x03\xe8", b"\x88\x02\x03\xea"), 1000),
        ((b"\x81\x06\x88\x02\x03\xe8",), -1),
        ((b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\x88\x02\x03\xe8"), -1),
    ],
    ids=[
        "nothing",
        "no octets",
        "a code",
        "octet by octet",
        "masked",
        "masked and cut",
        "no code",
        "masked, no code",
        "half a code",
        "a reason",
        "a reason yet to come",
        "after a text",
        "after a masked text",
        "after fragments and pings",
        "after 16 bits of length",
        "after 64 bits of length",
        "what looks like one in a compressed text",
        "the first of two",
        "the first of two, apart",
        "what looks like one in a text cut short",
        "after a length that cannot be",
    ],
)
def test_the_close_frame_is_found(pieces: tuple[bytes, ...], code: int) -> None:
    assert found(*pieces) == code


@pytest.mark.parametrize(
    ("code", "label"),
    [
        (-1, "none"),
        (0, "other"),
        (999, "other"),
        (1000, "1000"),
        (1004, "other"),
        (1005, "1005"),
        (1006, "other"),
        (1014, "1014"),
        (1015, "other"),
        (2999, "other"),
        (3000, "3xxx"),
        (3999, "3xxx"),
        (4000, "4xxx"),
        (4999, "4xxx"),
        (5000, "other"),
        (65_535, "other"),
    ],
)
def test_a_code_is_told_in_one_of_few_words(code: int, label: str) -> None:
    assert code_label(code) == label


def test_no_peer_makes_more_words_than_there_are() -> None:
    assert len({code_label(code) for code in range(-1, 65_536)}) == len(KNOWN_CODES) + 4
