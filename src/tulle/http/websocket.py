"""What the proxy knows of WebSocket (RFC 6455): the handshake's proof, and with which code a conversation was closed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Final, final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = 8
_UNSEEN: Final = -1
NO_STATUS: Final = 1005
"""A close frame without a code (RFC 6455, 7.1.5)."""
KNOWN_CODES: Final = frozenset((1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
"""What a close frame may say and the registry explains; 1005 for the one that says nothing."""


def new_key() -> bytes:
    """A value for Sec-WebSocket-Key."""
    return binascii.b2a_base64(os.urandom(16), newline=False)


def is_key(value: bytes | None) -> bool:
    """Whether this is a key as a client must make it: sixteen octets in base64."""
    if value is None or len(value) != 24:
        return False
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except ValueError:
        return False


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that proves that a key was read."""
    return binascii.b2a_base64(hashlib.sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)


def code_label(code: int) -> str:
    """A close code as one of few words: `none` where no close frame was seen."""
    if code == _UNSEEN:
        return "none"
    if code in KNOWN_CODES:
        return str(code)
    if 3000 <= code <= 3999:
        return "3xxx"
    if 4000 <= code <= 4999:
        return "4xxx"
    return "other"


@final
class CloseWatch:
    """Looks for the close frame in one direction of a WebSocket; touches nothing, keeps 15 octets at most."""

    __slots__ = ("_kept", "_skip", "code")

    def __init__(self) -> None:
        self.code = _UNSEEN
        """What the close frame said; negative until it was seen."""
        self._kept = b""
        """The beginning of a frame's head."""
        self._skip = 0
        """Octets of payload until the next frame; negative: nothing more is read."""

    @property
    def is_seen(self) -> bool:
        """The close frame has passed."""
        return self.code != _UNSEEN

    def read(self, octets: bytes) -> None:
        """More of the direction, cut anywhere."""
        skip = self._skip
        if skip < 0:
            return
        size = len(octets)
        if skip >= size:
            self._skip = skip - size
            return
        at = skip
        if self._kept:
            octets = self._kept + octets
            size = len(octets)
            self._kept = b""
        while at < size:
            if size - at < 2:
                break
            length = octets[at + 1] & 0x7F
            head = 2
            if length == 126:
                head = 4
            elif length == 127:
                head = 10
            start = at + head
            if head > 2:
                if size < start:
                    break
                length = int.from_bytes(octets[at + 2 : start], "big")
            is_masked = octets[at + 1] >= 0x80
            if is_masked:
                start += 4
            if octets[at] & 0x0F == _CLOSE:
                if size < start + min(length, 2):
                    break
                self._note_close(octets, start, length, is_masked)
                return
            if length >= 1 << 62:
                self._skip = -1  # no WebSocket: RFC 6455, 5.2
                return
            at = start + length
        if at < size:
            self._kept = octets[at:]
            self._skip = 0
        else:
            self._skip = at - size

    def _note_close(self, octets: bytes, start: int, length: int, is_masked: bool) -> None:
        self._skip = -1
        if length < 2:
            self.code = NO_STATUS
            return
        first = octets[start]
        second = octets[start + 1]
        if is_masked:
            first ^= octets[start - 4]
            second ^= octets[start - 3]
        self.code = first << 8 | second
