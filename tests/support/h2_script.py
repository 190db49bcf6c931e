"""Frames in words, for tables that people read: `HEADERS 1 ES EH {get, te=gzip}; DATA 1 ES "abc"`.

A script is frames separated by `;`. A frame is its kind (or a number), its stream (`r` in front sets the reserved bit), flags (ES, EH, ACK, PAD, PRI, or
hex), and its payload: `"text"`, `#hex`, `N*hh` (N octets), `{fields}` as a header block, in any number; `len=N` lies about the length. Fields are
`name=value` separated by `, `; `get` and `post` stand for the pseudo-header fields of a request, `ok` for `:status=200`. `\\r` and the like are escapes.
Words alone: `PREFACE`, `raw #hex`. `N x (script)` repeats one frame.
"""

from __future__ import annotations

import re
from typing import Final

from tulle.http.h2 import frames
from tulle.http.h2.field import integer

FLAGS: Final = {"ES": 0x1, "ACK": 0x1, "EH": 0x4, "PAD": 0x8, "PRI": 0x20}
BLOCKS: Final = {
    "get": [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"shop")],
    "post": [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"shop")],
    "connect": [(b":method", b"CONNECT"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"shop")],
    "ok": [(b":status", b"200")],
}
TOKEN: Final = re.compile(r'"[^"]*"|\{[^}]*\}|\S+')
REPEATED: Final = re.compile(r"(\d+) x \((.*)\)")


def octets_of(script: str) -> bytes:
    """The octets that a script stands for."""
    return b"".join(_frame(part.strip()) for part in script.split("; ") if part.strip())


def literal_block(fields: list[tuple[bytes, bytes]]) -> bytes:
    """A header block that touches no table."""
    return b"".join(
        b"\x00" + integer(0, 7, len(name)) + name + integer(0, 7, len(value)) + value for name, value in fields
    )


def fields_of(text: str) -> list[tuple[bytes, bytes]]:
    """The fields of `get, te=gzip`."""
    fields: list[tuple[bytes, bytes]] = []
    for part in text.split(", "):
        if part in BLOCKS:
            fields += BLOCKS[part]
        elif part:
            name, _, value = (
                part.rpartition("=") if part.startswith(":") and part.count("=") == 1 else part.partition("=")
            )
            fields.append((_escaped(name), _escaped(value)))
    return fields


def _frame(text: str) -> bytes:
    if repeated := REPEATED.fullmatch(text):
        return _frame(repeated[2]) * int(repeated[1])
    if text == "PREFACE":
        return frames.PREFACE
    words = TOKEN.findall(text)
    if words[0] == "raw":
        return b"".join(_payload(word) for word in words[1:])
    kind = int(words[0]) if words[0].isdigit() else int(getattr(frames, words[0]))
    reserved = 0x80000000 if words[1].startswith("r") else 0
    stream_id = int(words[1].removeprefix("r"))
    flags = 0
    payload = b""
    length = -1
    for word in words[2:]:
        if word in FLAGS:
            flags |= FLAGS[word]
        elif word.startswith("0x"):
            flags |= int(word, 16)
        elif word.startswith("len="):
            length = int(word[4:])
        else:
            payload += _payload(word)
    size = len(payload) if length < 0 else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + (stream_id | reserved).to_bytes(4, "big") + payload


def _payload(word: str) -> bytes:
    if word.startswith('"'):
        return _escaped(word[1:-1])
    if word.startswith("#"):
        return bytes.fromhex(word[1:])
    if word.startswith("{"):
        return literal_block(fields_of(word[1:-1]))
    count, _, octet = word.partition("*")
    return bytes.fromhex(octet) * int(count)


def _escaped(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")
