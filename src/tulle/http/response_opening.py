"""What one answer's head after the other begins with, judged once: a shorter way to the same head, never to another one."""

from __future__ import annotations

from typing import final

from tulle.http.fields import CRLF, Fields, plain_names
from tulle.http.head import Limits, Refusal, ResponseHead
from tulle.http.opening import read_lines, read_on, read_tail, shared_lines, tail_of
from tulle.http.request import END
from tulle.http.response import judge_response, parse_response
from tulle.http.write import write_response


@final
class ResponseOpening:
    """A status line and sound field lines, none of which is taken away by Connection. A function of its octets."""

    __slots__ = ("count", "fields", "forward", "head", "octets", "size", "tail", "wire")

    def __init__(self, octets: bytes, count: int, fields: Fields, head: ResponseHead) -> None:
        self.octets = octets
        """From the head's first octet to the CRLF that ends the last of these fields."""
        self.size = len(octets)
        self.count = count
        """How many fields."""
        self.fields = fields
        """What they say; never changed."""
        self.head = head
        """The head that has no other fields, as the answer to GET."""
        self.forward = head.forward
        self.wire = write_response(head, 1, False)[: -len(CRLF)]
        """That head as it is sent, but for its empty line."""
        self.tail: list[bytes] = []
        """A guess at what follows, as an opening of requests has it."""


def learn_response_opening(before: bytes, head: bytes, limits: Limits) -> ResponseOpening | None:
    """What two heads of final answers both begin with; None when that is little, or cannot stand alone."""
    lines = shared_lines(before, head, 0)
    octets = CRLF.join(lines) + CRLF
    fields = read_lines(lines[1:], octets)
    if fields is None:
        return None
    alone = parse_response(octets + CRLF, "GET", limits)
    if isinstance(alone, Refusal) or alone.status < 200:
        return None
    return ResponseOpening(octets, len(lines) - 1, fields, alone)


def find_opened_end(buffer: bytes, opening: ResponseOpening, limits: Limits) -> int:
    """Where the head ends that begins with `opening`, when nothing but plain fields of the expected names follow; -1: read it, or it is too large.

    Whatever method but HEAD was asked by, the head says what `opening.head` says, and goes on as `opening.wire` and the rest of it.
    """
    middle = opening.size
    if buffer[:middle] != opening.octets:
        return -1
    return read_tail(buffer, middle, opening.tail, opening.count, limits)


def read_opened_response(buffer: bytes, opening: ResponseOpening, limits: Limits) -> ResponseHead | None:
    """The head that the buffer begins with, when it begins with `opening`: what `parse_response` makes of it, asked by any method but HEAD.

    None: it is not there yet, is to be refused, or is unusual; read it as if there were no opening.
    """
    middle = opening.size
    if buffer[:middle] != opening.octets:
        return None
    alone = opening.head
    end = read_tail(buffer, middle, opening.tail, opening.count, limits)
    if end < 0:
        end = buffer.find(END, middle - 2) + 4
        if end < 4:
            return None
        lines = buffer[middle : end - 2].split(CRLF)
        lines.pop()
        names = plain_names(lines)
        if names is None:
            return _judge_on(opening, buffer[middle : end - 2], end, limits)
        opening.tail = tail_of(names)
        if end > limits.header_bytes or opening.count + len(lines) > limits.header_count:
            return None
    rest = buffer[middle : end - 2]
    return ResponseHead(
        alone.status,
        alone.reason,
        alone.version_minor,
        alone.lines + rest,
        opening.forward + rest,
        alone.framing,
        alone.content_length,
        alone.keep_alive,
        False,
        alone.named,
        None,
        None,
        end,
        opening.wire + buffer[middle:end],
    )


def _judge_on(opening: ResponseOpening, rest: bytes, end: int, limits: Limits) -> ResponseHead | None:
    """The head that ends at `end`, with fields in `rest` that mean something."""
    fields = read_on(opening.fields, rest)
    if fields is None or end > limits.header_bytes or opening.count + rest.count(CRLF) > limits.header_count:
        return None
    alone = opening.head
    judged = judge_response(alone.status, alone.reason, alone.version_minor, fields, "GET", alone.lines + rest, end)
    return judged if isinstance(judged, ResponseHead) else None
