"""Reads a message's body from octets cut anywhere. Payload passes through; framing is judged and dropped."""

from __future__ import annotations

from typing import Final, final

from tulle.http.fields import BLANK, CRLF, TEXT, is_token, line_fault, name_fault
from tulle.http.head import CHUNKED, NO_BODY, SIZED, Limits
from tulle.http.names import FORBIDDEN_IN_TRAILERS

HEX: Final = b"0123456789abcdefABCDEF"
MAX_SIZE_DIGITS: Final = 15
MAX_SIZE_LINE: Final = 256
"""Octets of one chunk's size line with its extensions and CRLF."""
MAX_EXTENSIONS: Final = 16_384
"""Octets of extensions in one body, so that they cannot outweigh it without end."""

_DATA: Final = 0
_DATA_END: Final = 1
_SIZE: Final = 2
_TRAILERS: Final = 3
_CLOSE: Final = 4


@final
class BodyReader:
    """Reads one body. Ends `done` or `failed`; what follows a done body belongs to the next message."""

    __slots__ = (
        "_extensions",
        "_held",
        "_left",
        "_limits",
        "_state",
        "_trailer_bytes",
        "done",
        "failed",
        "fault",
        "trailers",
    )

    def __init__(self, framing: int, content_length: int, limits: Limits) -> None:
        self.done = framing == NO_BODY
        """The body is complete; true at once when there is none."""
        self.failed = False
        """The body is malformed or was cut off: close the connection."""
        self.fault = ""
        """Why it failed."""
        self.trailers: list[tuple[bytes, bytes]] = []
        """Trailer fields, (name as it came, value), once done."""
        self._limits = limits
        self._held = b""
        """A line whose end has not come yet."""
        self._left = 0
        """Octets left of the body, or of the chunk."""
        self._extensions = 0
        self._trailer_bytes = 0
        if framing == SIZED:
            self._state = _DATA
            self._left = content_length
            self._extensions = -1
            if content_length <= 0:
                self.done = True
        elif framing == CHUNKED:
            self._state = _SIZE
        else:
            self._state = _CLOSE

    def feed(self, buffer: bytes, start: int, out: list[bytes]) -> int:
        """Reads `buffer[start:]`, appends payload to `out`, returns the index after what it read.

        That index is the buffer's length unless the body is done or failed. `out` never gets an empty slice.
        """
        size = len(buffer)
        if self.done or self.failed or start >= size:
            return start
        if self._state == _CLOSE:
            out.append(buffer[start:] if start else buffer)
            return size
        if self._extensions < 0:
            return self._feed_sized(buffer, start, size, out)
        shift = 0
        if self._held:
            shift = len(self._held) - start
            buffer = self._held + (buffer[start:] if start else buffer)
            self._held = b""
            start = 0
        return self._feed_chunked(buffer, start, out) - shift

    @property
    def plain(self) -> int:
        """How many of the octets that come next are payload, whatever they are: all that is left, or 0 where framing comes between."""
        return self._left if self._extensions < 0 else 0

    def skip(self, octets: int) -> None:
        """So many of the plain ones went by unread."""
        self._left -= octets
        if self._left <= 0:
            self.done = True

    def end(self) -> None:
        """The peer closed: done where that ends the body, failed where more was promised."""
        if self.done or self.failed:
            return
        if self._state == _CLOSE:
            self.done = True
        else:
            self._fail("closed within the body")

    def _feed_sized(self, buffer: bytes, start: int, size: int, out: list[bytes]) -> int:
        left = self._left
        if size - start < left:
            out.append(buffer[start:] if start else buffer)
            self._left = left - (size - start)
            return size
        end = start + left
        out.append(buffer[start:end])
        self._left = 0
        self.done = True
        return end

    def _feed_chunked(self, buffer: bytes, at: int, out: list[bytes]) -> int:
        size = len(buffer)
        state = self._state
        while at < size:
            if state == _DATA:
                end = at + self._left
                if end > size:
                    out.append(buffer[at:])
                    self._left = end - size
                    self._state = _DATA
                    return size
                out.append(buffer[at:end])
                at = end
                state = _DATA_END
                continue
            if state == _DATA_END:
                if buffer[at : at + 2] == CRLF:
                    at += 2
                    state = _SIZE
                    continue
                if size - at == 1 and buffer[at] == 13:
                    break
                self._fail("chunk does not end where its size says")
                return at
            newline = buffer.find(b"\n", at)
            if newline < 0:
                if state == _SIZE:
                    if size - at >= MAX_SIZE_LINE:
                        self._fail("chunk size line too long")
                elif self._trailer_bytes + size - at > self._limits.header_bytes:
                    self._fail("trailers too long")
                break
            line = buffer[at:newline]
            following = newline + 1
            if not line or line[-1] != 13:
                self._fail("bare LF")
                return at
            line = line[:-1]
            if line.translate(None, TEXT):
                self._fail(line_fault(line))
                return at
            if state == _SIZE:
                if following - at > MAX_SIZE_LINE:
                    self._fail("chunk size line too long")
                    return at
                length = self._chunk_size(line)
                if length < 0:
                    return at
                self._left = length
                state = _DATA if length else _TRAILERS
                at = following
                continue
            at = following
            if not line:
                self.done = True
                return at
            self._trailer_bytes += len(line) + 2
            if not self._read_trailer(line):
                return at
        self._state = state
        if at < size:
            self._held = buffer[at:]
        return size

    def _chunk_size(self, line: bytes) -> int:
        """The size that a line without CRLF says; -1, and failed, if it says none."""
        digits = line
        semicolon = line.find(b";")
        if semicolon >= 0:
            digits = line[:semicolon]
            self._extensions += len(line) - semicolon
            if self._extensions > MAX_EXTENSIONS:
                self._fail("chunk extensions too long")
                return -1
        if not digits or len(digits) > MAX_SIZE_DIGITS or digits.translate(None, HEX):
            self._fail("bad chunk size")
            return -1
        return int(digits, 16)

    def _read_trailer(self, line: bytes) -> bool:
        raw, separator, value = line.partition(b":")
        if not separator or not is_token(raw):
            self._fail(name_fault(line))
        elif raw.lower() in FORBIDDEN_IN_TRAILERS:
            self._fail("forbidden field in trailers")
        elif self._trailer_bytes > self._limits.header_bytes or len(self.trailers) >= self._limits.header_count:
            self._fail("trailers too long")
        else:
            self.trailers.append((raw, value.strip(BLANK)))
            return True
        return False

    def _fail(self, fault: str) -> None:
        self.failed = True
        self.fault = fault
