"""The fields that one head after the other begins with, judged once: a shorter way to the same head, never to another one."""

from __future__ import annotations

from typing import Final, final

from tulle.http.fields import CRLF, NOTHING_KNOWN, TEXT, Fields, are_plain
from tulle.http.head import Limits, RequestHead
from tulle.http.request import END, HTTP_1_1, METHODS, Authority, judge_request, read_authority

MIN_OPENING: Final = 64
"""Octets that are worth remembering."""
MAX_OPENING: Final = 2048


@final
class Opening:
    """Sound field lines, none of which is taken away by Connection. A function of its octets."""

    __slots__ = ("authority", "count", "fields", "forward", "octets", "size")

    def __init__(self, octets: bytes, count: int, fields: Fields, authority: Authority | None) -> None:
        self.octets = octets
        """From the CRLF that ends the first line to the one that ends the last of these fields."""
        self.size = len(octets)
        self.count = count
        """How many fields."""
        self.fields = fields
        """What they say; never changed."""
        self.forward = fields.forwarded()
        self.authority = authority
        """What Host says; None when it is not among them."""


def learn_opening(before: bytes, head: bytes) -> Opening | None:
    """What the fields of two heads both begin with; None when that is little, or cannot stand alone."""
    lines = head.split(CRLF)
    others = before.split(CRLF)
    end = 1
    while end < len(lines) and end < len(others) and lines[end] and lines[end] == others[end]:
        end += 1
    octets = CRLF + CRLF.join(lines[1:end]) + CRLF
    if end == 1 or len(octets) < MIN_OPENING or len(octets) > MAX_OPENING:
        return None
    if octets.translate(None, TEXT) != CRLF * end:
        return None
    fields = Fields()
    fields.read(lines[1:end], NOTHING_KNOWN)
    if fields.fault or fields.named:
        return None
    authority: Authority | None = None
    if fields.host is not None:
        authority = read_authority(fields.host)
        if authority is None:
            return None
    return Opening(octets, end - 1, fields, authority)


def read_opened(buffer: bytes, opening: Opening, limits: Limits) -> RequestHead | None:
    """The head that the buffer begins with, when its fields begin with `opening`: what `parse_request` makes of it.

    None: it is not there yet, is to be refused, or is unusual; read it as if there were no opening.
    """
    at = buffer.find(b"\r")
    middle = at + opening.size
    if at < 0 or buffer[at:middle] != opening.octets:
        return None
    words = buffer[:at].split(b" ")
    if len(words) != 3 or words[2] != HTTP_1_1:
        return None
    method = METHODS.get(words[0])
    target = words[1]
    if method is None or target[:1] != b"/" or len(target) > limits.target_bytes or not target.isascii():
        return None
    text = target.decode("ascii")
    if not text.isprintable() or "#" in text:
        return None

    fields = opening.fields
    forward = opening.forward
    count = opening.count
    if buffer[middle : middle + 2] == CRLF:
        end = middle + 2
    else:
        end = len(buffer)
        if buffer[end - 4 :] != END:  # else: were there an empty line before it, the fields would be refused
            end = buffer.find(END, middle) + 4
            if end < 4:
                return None
        rest = buffer[middle : end - 2]
        lines = rest.splitlines()
        more = len(lines)
        if rest.translate(None, TEXT) != CRLF * more:
            return None
        if are_plain(lines):
            forward += rest
        else:
            fields = fields.copy()
            fields.read(lines, NOTHING_KNOWN)
            if fields.fault or fields.named:
                return None
            forward = fields.forwarded()
        count += more
    if end > limits.header_bytes or count > limits.header_count:
        return None
    head = judge_request(method, target, 1, fields, opening.authority, forward, buffer[at + 2 : end - 2], end)
    return head if isinstance(head, RequestHead) else None
