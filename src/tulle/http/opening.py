"""The fields that one head after the other begins with, judged once: a shorter way to the same head, never to another one."""

from __future__ import annotations

from typing import Final, final

from tulle.http.fields import CLEAN, CRLF, LAST_BLANK, NOTHING_KNOWN, TEXT, Fields, plain_names
from tulle.http.head import Limits, RequestHead
from tulle.http.request import END, METHODS, Authority, judge_request, read_authority

MIN_OPENING: Final = 64
"""Octets that are worth remembering."""
MAX_OPENING: Final = 2048
MAX_TAIL: Final = 1024
"""Octets behind an opening that are compared with what was guessed."""

BEHIND_TARGET: Final = b" HTTP/1.1\r\n"
OF_TARGET: Final = bytes(octet if 32 < octet < 127 and octet != 35 else octet ^ 128 for octet in range(256))
"""Translated by this, a target that holds a blank, a `#` or anything but printable ASCII is another one."""


@final
class Opening:
    """Sound field lines, none of which is taken away by Connection. A function of its octets."""

    __slots__ = ("authority", "count", "fields", "forward", "octets", "size", "tail")

    def __init__(self, octets: bytes, count: int, fields: Fields, authority: Authority | None) -> None:
        self.octets = octets
        """The lines, each ended by CRLF."""
        self.size = len(octets)
        self.count = count
        """How many fields."""
        self.fields = fields
        """What they say; never changed."""
        self.forward = fields.forwarded()
        self.authority = authority
        """What Host says; None when it is not among them."""
        self.tail: list[bytes] = []
        """A guess at what follows: the names that did last, where all were plain. See `read_tail`."""


def learn_opening(before: bytes, head: bytes) -> Opening | None:
    """What the fields of two heads both begin with; None when that is little, or cannot stand alone."""
    lines = shared_lines(before, head, 1)
    octets = CRLF.join(lines) + CRLF
    fields = read_lines(lines, octets)
    if fields is None:
        return None
    authority: Authority | None = None
    if fields.host is not None:
        authority = read_authority(fields.host)
        if authority is None:
            return None
    return Opening(octets, len(lines), fields, authority)


def shared_lines(before: bytes, head: bytes, first: int) -> list[bytes]:
    """The lines, counted from `first`, that are the same in both heads until one differs."""
    lines = head.split(CRLF)
    others = before.split(CRLF)
    end = first
    while end < len(lines) and end < len(others) and lines[end] and lines[end] == others[end]:
        end += 1
    return lines[first:end]


def read_lines(lines: list[bytes], octets: bytes) -> Fields | None:
    """What the field lines of an opening say; None when `octets`, all it is made of, cannot be one."""
    if not lines or len(octets) < MIN_OPENING or len(octets) > MAX_OPENING:
        return None
    if octets.replace(CRLF, b"").translate(None, TEXT):
        return None
    fields = Fields()
    fields.read(lines, NOTHING_KNOWN)
    return None if fields.fault or fields.named else fields


def read_on(opened: Fields, rest: bytes) -> Fields | None:
    """What the fields of an opening say together with the lines behind them, each ended by CRLF; None: read the head as a whole."""
    lines = rest.splitlines()
    if rest.translate(None, TEXT) != CRLF * len(lines):
        return None
    fields = opened.copy()
    fields.read(lines, NOTHING_KNOWN)
    return None if fields.fault or fields.named else fields


def read_tail(buffer: bytes, at: int, tail: list[bytes], count: int, limits: Limits) -> int:
    """Where the head ends whose fields from `at` on, behind `count` others, are plain ones of exactly these names, each with its `: `.

    -1: they are others, or the head is too large.
    """
    size = len(tail)
    lines = buffer[at : at + MAX_TAIL].split(CRLF, size + 1)  # `find` from an index costs as much as this
    if len(lines) != size + 2 or lines[size]:
        return -1
    for index, name in enumerate(tail):
        line = lines[index]
        begin = len(name)
        length = len(line)
        if length <= begin or line[:begin] != name or line.translate(CLEAN) != line:
            return -1
        if line[begin] <= LAST_BLANK or line[-1] <= LAST_BLANK:
            return -1
        at += length + 2
    at += 2
    return at if at <= limits.header_bytes and count + size <= limits.header_count else -1


def tail_of(names: list[bytes]) -> list[bytes]:
    """The same names as `read_tail` wants them."""
    return [name + b": " for name in names]


def read_opened(buffer: bytes, opening: Opening, limits: Limits) -> RequestHead | None:
    """The head that the buffer begins with, when its fields begin with `opening`: what `parse_request` makes of it.

    None: it is not there yet, is to be refused, or is unusual; read it as if there were no opening.
    """
    asked, _, behind = buffer.partition(BEHIND_TARGET)
    if behind[: opening.size] != opening.octets:
        return None
    method: str | None = "GET"
    target = asked[4:]
    if asked[:4] != b"GET ":
        word, _, target = asked.partition(b" ")
        method = METHODS.get(word)
    if method is None or target[:1] != b"/" or len(target) > limits.target_bytes:
        return None
    if target.translate(OF_TARGET) != target:
        return None

    fields = opening.fields
    begin = len(asked) + len(BEHIND_TARGET)
    middle = begin + opening.size
    end = read_tail(buffer, middle, opening.tail, opening.count, limits)
    if end > 0:
        forward = opening.forward + buffer[middle : end - 2]
    else:
        end = buffer.find(END, middle - 2) + 4
        if end < 4:
            return None
        rest = buffer[middle : end - 2]
        lines = rest.split(CRLF)
        lines.pop()
        names = plain_names(lines)
        if names is not None:
            opening.tail = tail_of(names)
            forward = opening.forward + rest
        else:
            more = read_on(fields, rest)
            if more is None:
                return None
            fields = more
            forward = fields.forwarded()
        if end > limits.header_bytes or opening.count + len(lines) > limits.header_count:
            return None
    head = judge_request(method, target, 1, fields, opening.authority, forward, buffer[begin : end - 2], end)
    return head if isinstance(head, RequestHead) else None
