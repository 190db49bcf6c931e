"""Reads the field lines of a head: strict syntax, and the few fields that frame a message or belong to one hop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from tulle.http.names import (
    CONNECTION,
    ENCODING,
    EXPECT,
    HOST,
    LENGTH,
    NOTHING,
    REQUEST_ID,
    SPECIAL,
    TE,
    TRACEPARENT,
    TRACESTATE,
    UPGRADE,
    USUAL,
)

CRLF: Final = b"\r\n"
BLANK: Final = b" \t"

TEXT: Final = bytes(octet for octet in range(256) if octet == 9 or (octet >= 32 and octet != 127))
"""What a line may hold. Deleting it from a sound head leaves one CRLF per line, and nothing else."""

CLEAN: Final = bytes(octet if octet in TEXT else octet ^ 128 for octet in range(256))
"""Translated by this, a line that holds anything but text is another one."""

LAST_BLANK: Final = 32
"""Of what is text, only blanks are not beyond this."""

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

MAX_LENGTH_DIGITS: Final = 18
"""A Content-Length of more digits does not fit 63 bits on the other side."""

MAX_PLAIN_LINE: Final = 256
"""Octets of a field line worth remembering."""

NO_NAMES: Final[list[bytes]] = []
"""Shared by all heads whose Connection names nothing; never appended to."""


@final
class PlainLines:
    """Field lines seen before that mean nothing here and go on as they came. That is so whoever sends them, whatever is beside them."""

    __slots__ = ("_most", "known")

    def __init__(self, most: int = 1024) -> None:
        self.known: set[bytes] = set()
        self._most = most
        """Lines; beyond, all are forgotten."""

    def add(self, line: bytes) -> None:
        """Remembers a line, within bounds."""
        if len(line) > MAX_PLAIN_LINE:
            return
        if len(self.known) >= self._most:
            self.known.clear()
        if self._most:
            self.known.add(line)


NOTHING_KNOWN: Final = PlainLines(0)
"""For readers that remember nothing."""


@final
class Fields:
    """The fields of one head while it is read. `fault` says what is wrong with them, empty when nothing is."""

    __slots__ = (
        "_kept",
        "close",
        "content_length",
        "encoding",
        "expect",
        "fault",
        "host",
        "keep",
        "named",
        "request_id",
        "te_trailers",
        "traceparent",
        "tracestate",
        "upgrade",
        "upgrade_named",
    )

    def __init__(self) -> None:
        self.fault = ""
        self.host: bytes | None = None
        self.content_length = -1
        self.encoding: bytes | None = None
        self.expect: bytes | None = None
        self.request_id: bytes | None = None
        """X-Request-Id, as it came; several are joined by commas."""
        self.traceparent: bytes | None = None
        """As it came; empty where several did, which is invalid."""
        self.tracestate = False
        """It came."""
        self.close = False
        """Connection names `close`."""
        self.keep = False
        """Connection names `keep-alive`."""
        self.upgrade_named = False
        self.upgrade = False
        self.te_trailers = False
        self.named = NO_NAMES
        self._kept: list[bytes] = []
        """What goes on: blocks of lines in canonical form, without the last CRLF."""

    def copy(self) -> Fields:
        """Reads on from here without changing this one."""
        other = Fields()
        other.host = self.host
        other.content_length = self.content_length
        other.encoding = self.encoding
        other.expect = self.expect
        other.request_id = self.request_id
        other.traceparent = self.traceparent
        other.tracestate = self.tracestate
        other.close = self.close
        other.keep = self.keep
        other.upgrade_named = self.upgrade_named
        other.upgrade = self.upgrade
        other.te_trailers = self.te_trailers
        other.named = self.named
        other.fault = self.fault
        other._kept = list(self._kept)
        return other

    def read(self, lines: list[bytes], plain: PlainLines) -> None:
        """Reads field lines, which hold no CR, LF or other control. Stops at the first fault."""
        known = plain.known
        begin = 0
        index = 0
        for line in lines:
            if line in known:
                index += 1
                continue
            name, separator, value = line.partition(b": ")
            kind = USUAL.get(name)
            if kind is None or not separator:
                kind = SPECIAL.get(name.lower(), NOTHING)
                if not separator or (kind == NOTHING and not is_token(name)):
                    name, separator, value = line.partition(b":")
                    if not separator or not is_token(name):
                        self.fault = name_fault(line)
                        return
                    kind = SPECIAL.get(name.lower(), NOTHING)
            stripped = value.strip(BLANK)
            is_canonical = stripped is value and bool(value)
            if kind == NOTHING and is_canonical:
                plain.add(line)
                index += 1
                continue
            goes_on = kind == NOTHING or self._note(kind, stripped)
            if self.fault:
                return
            if not goes_on or not is_canonical:
                self._add(lines, begin, index)
                if goes_on:
                    self._add([name + b": " + stripped], 0, 1)
                begin = index + 1
            index += 1
        self._add(lines, begin, index)

    def forwarded(self) -> bytes:
        """The lines that go on, in canonical form, each ended by CRLF."""
        if not self._kept:
            return b""
        forward = CRLF.join(self._kept) + CRLF
        return without(forward, self.named) if self.named else forward

    def _add(self, lines: list[bytes], begin: int, end: int) -> None:
        """`lines[begin:end]` go on."""
        if begin < end:
            self._kept.append(CRLF.join(lines[begin:end]))

    def own_request_id(self) -> bytes | None:
        """X-Request-Id, unless Connection names it."""
        return None if b"x-request-id" in self.named else self.request_id

    def own_traceparent(self) -> bytes | None:
        """Traceparent, unless Connection names it."""
        return None if b"traceparent" in self.named else self.traceparent

    def encoding_fault(self, version_minor: int) -> str:
        """Why Transfer-Encoding cannot frame the body; empty when it can, or is not there."""
        encoding = self.encoding
        if encoding is None:
            return ""
        if version_minor == 0:
            return "Transfer-Encoding on HTTP/1.0"
        if self.content_length >= 0:
            return "Content-Length with Transfer-Encoding"
        if encoding.lower() != b"chunked":
            return "Transfer-Encoding other than chunked"
        return ""

    def _note(self, special: int, value: bytes) -> bool:
        """Judges one field that means something here; False: it does not go on as it came."""
        if special == HOST:
            if self.host is not None:
                self.fault = "more than one Host"
            self.host = value
        elif special == LENGTH:
            if self.content_length >= 0:
                self.fault = "more than one Content-Length"
            elif len(value) > MAX_LENGTH_DIGITS or not value.isdigit():
                self.fault = "Content-Length is not a number"
            else:
                self.content_length = int(value)
        elif special == ENCODING:
            if self.encoding is not None:
                self.fault = "more than one Transfer-Encoding"
            self.encoding = value
        elif special == CONNECTION:
            self._note_connection(value)
        elif special == TE:
            for coding in value.split(b","):
                if coding.strip(BLANK).lower() == b"trailers":
                    self.te_trailers = True
        elif special == UPGRADE:
            self.upgrade = True
        elif special == EXPECT:
            if self.expect is not None:
                self.fault = "more than one Expect"
            self.expect = value
            return True
        elif special == REQUEST_ID:
            self.request_id = value if self.request_id is None else self.request_id + b", " + value
            return True
        elif special == TRACEPARENT:
            self.traceparent = value if self.traceparent is None else b""
            return True
        elif special == TRACESTATE:
            self.tracestate = True
            return True
        return False

    def _note_connection(self, value: bytes) -> None:
        if value == b"keep-alive":
            self.keep = True
            return
        for part in value.lower().split(b","):
            option = part.strip(BLANK)
            if not option:
                continue
            if option == b"close":
                self.close = True
            elif option == b"keep-alive":
                self.keep = True
            elif option == b"upgrade":
                self.upgrade_named = True
            elif not is_token(option):
                self.fault = "Connection names what is no field name"
                return
            elif SPECIAL.get(option, REQUEST_ID) >= REQUEST_ID:
                self.named = [*self.named, option]


def plain_names(lines: list[bytes]) -> list[bytes] | None:
    """The names of lines that are sound, mean nothing here and go on as they came; None when one of these is none such."""
    names: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b": ")
        kind = USUAL.get(name)
        if kind is None:
            if name.lower() in SPECIAL or not is_token(name):
                return None
        elif kind != NOTHING:
            return None
        if not is_plain(value):
            return None
        names.append(name)
    return names


def is_plain(value: bytes) -> bool:
    """Whether a value goes on as it came: text, with no blank at either end."""
    return bool(value) and value.translate(CLEAN) == value and value[0] > LAST_BLANK and value[-1] > LAST_BLANK


def read_pairs(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Sound field lines, each ended by CRLF, as (lower-case name, value without surrounding blanks)."""
    pairs: list[tuple[bytes, bytes]] = []
    for line in lines.splitlines():
        name, _, value = line.partition(b":")
        pairs.append((name.lower(), value.strip(BLANK)))
    return pairs


def without(forward: bytes, names: Iterable[bytes]) -> bytes:
    """Canonical lines but for those of these lower-case names."""
    dropped = frozenset(names)
    return b"".join([line for line in forward.splitlines(True) if line[: line.index(b":")].lower() not in dropped])


def is_token(name: bytes) -> bool:
    """Whether this is a token. Letters, digits and hyphens, nearly all names, are recognised in half the time."""
    return name.replace(b"-", b"").isalnum() or (bool(name) and not name.translate(None, TOKEN))


def name_fault(line: bytes) -> str:
    """What is wrong with a line that does not begin with `name:`."""
    if not line:
        return "empty line before the end of the head"
    if line[0] == 32 or line[0] == 9:
        return "folded field line"
    raw, separator, _ = line.partition(b":")
    if not separator:
        return "field line without colon"
    if not raw:
        return "empty field name"
    if raw[-1] == 32 or raw[-1] == 9:
        return "blank before the colon"
    return "bad character in a field name"


def line_fault(block: bytes) -> str:
    """Names the octet that is neither text nor part of a CRLF in a block that holds one."""
    rest = block.replace(CRLF, b"")
    if b"\r" in rest:
        return "bare CR"
    if b"\n" in rest:
        return "bare LF"
    return "control character"
