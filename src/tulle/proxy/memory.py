"""The last accepted snapshot in a memfd that survives the proxy: two slots, written in turn, each with its digest.

A proxy that dies while it writes leaves the other slot whole.
"""

import hashlib
import os
import struct
from collections import deque
from collections.abc import Generator

SLOT_BYTES = 64 * 1024 * 1024
"""Sparse: only what is written takes memory."""
PIECE_BYTES = 64 * 1024
"""Written and digested in one piece: a third of a millisecond."""
_HEADER = struct.Struct("<8sQQ32s")
_MAGIC = b"tulle/1\n"


class TooLarge(ValueError):
    """A snapshot does not fit a slot."""


class SnapshotMemory:
    """Stores snapshots in the descriptor; the last whole one wins."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last = 0
        """Sequence number of the newest slot."""
        self._slot = 1

    def load(self) -> bytes | None:
        """The newest snapshot whose digest is right."""
        best: bytes | None = None
        for slot in (0, 1):
            found = self._read(slot)
            if found is not None and found[0] > self._last:
                self._last, best = found
                self._slot = slot
        return best

    def store(self, text: bytes) -> None:
        """Replaces the older slot. Raises TooLarge, OSError."""
        deque(self.storing(text), maxlen=0)

    def storing(self, text: bytes) -> Generator[None, None, None]:
        """`store`, a piece each time it is asked to go on. Until its end the slot that is written is not believed."""
        if len(text) > SLOT_BYTES - _HEADER.size:
            raise TooLarge(f"a snapshot has at most {SLOT_BYTES} octets")
        self._catch_up()
        sequence, slot = self._last + 1, 1 - self._slot
        start = slot * SLOT_BYTES
        os.pwrite(self._descriptor, bytes(_HEADER.size), start)
        written = 0
        digest = _digest(sequence)
        while written < len(text):
            piece = text[written : written + PIECE_BYTES]
            digest.update(piece)
            while piece:
                count = os.pwrite(self._descriptor, piece, start + _HEADER.size + written)
                written += count
                piece = piece[count:]
            yield
        header = _HEADER.pack(_MAGIC, sequence, len(text), digest.digest())
        os.pwrite(self._descriptor, header, start)
        self._slot = slot
        self._last = sequence

    def _catch_up(self) -> None:
        """The proxy before this one may have stored another since this one looked."""
        for slot in (0, 1):
            raw = os.pread(self._descriptor, _HEADER.size, slot * SLOT_BYTES)
            if len(raw) == _HEADER.size:
                magic, sequence, _, _ = _HEADER.unpack(raw)
                if magic == _MAGIC and sequence > self._last:
                    self._last, self._slot = sequence, slot

    def _read(self, slot: int) -> tuple[int, bytes] | None:
        start = slot * SLOT_BYTES
        raw = os.pread(self._descriptor, _HEADER.size, start)
        if len(raw) < _HEADER.size:
            return None
        magic, sequence, size, digest = _HEADER.unpack(raw)
        if magic != _MAGIC or size > SLOT_BYTES:
            return None
        text = os.pread(self._descriptor, size, start + _HEADER.size)
        found = _digest(sequence)
        found.update(text)
        return (sequence, text) if found.digest() == digest else None


def _digest(sequence: int) -> "hashlib._Hash":
    return hashlib.sha256(sequence.to_bytes(8, "little"))
