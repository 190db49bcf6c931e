"""Reads the request heads of an HTTP/1.1 connection, the short way where heads like them came before."""

from __future__ import annotations

from typing import Final, final

from tulle.http.forward import parse_forwarded
from tulle.http.head import NO_BODY, Refusal, RequestHead
from tulle.http.opening import BEHIND_TARGET, OF_TARGET, Opening, read_opened, read_tail
from tulle.http.request import END, find_head_end, parse_request, refuse_early
from tulle.proxy.judged import Judged
from tulle.proxy.known_heads import MAX_REMEMBERED_HEAD
from tulle.proxy.lane import Lane
from tulle.proxy.relay import Relay

MAX_MISSES: Final = 16
"""Heads in a row that were not remembered; then this connection stops asking."""


@final
class HeadReader:
    """One connection's; what it learns is shared by its lane."""

    def __init__(self) -> None:
        self._misses = 0
        self._last: Judged | None = None
        """The last head that was recalled,"""
        self._lane: Lane | None = None
        """and the lane for which it was judged."""
        self._size = 0
        """Octets of the last head that was followed by a body."""
        self._opening: Opening | None = None
        """What its heads' fields begin with."""
        self._strays = 0
        """Heads in a row that began otherwise."""

    def forget(self) -> None:
        """Lets go of what was decided."""
        self._last = None
        self._lane = None

    def recall(self, lane: Lane, buffer: bytes) -> Judged | None:
        """The head that the buffer begins with, where it came before octet by octet."""
        last = self._last
        if last is not None and last.octets == buffer and self._lane is lane:
            return last
        if self._misses >= MAX_MISSES:
            return None
        size = len(buffer) if buffer[-4:] == END else self._size
        judged = lane.memo.get(buffer[:size]) if size <= MAX_REMEMBERED_HEAD else None
        if judged is not None:
            self._misses = 0
            self._last = judged
            self._lane = lane
        return judged

    def recall_alike(self, relay: Relay, lane: Lane, buffer: bytes) -> tuple[Judged | None, bytes, int]:
        """What was decided about all heads like the one that the buffer begins with, once those before it did not repeat.

        And that head as it is sent, but for how it ends, and how many octets it has. None: nothing was decided.
        """
        opening = self._opening
        if opening is None or self._misses < MAX_MISSES:
            return None, b"", 0
        known = lane.alike.get(opening)
        if known is None:
            return None, b"", 0
        asked, _, fields = buffer.partition(BEHIND_TARGET)
        start, _, query = asked.partition(b"?")
        alike = known.get(start)
        if alike is None or fields[: opening.size] != opening.octets or query.translate(OF_TARGET) != query:
            return None, b"", 0
        begin = len(asked) + len(BEHIND_TARGET) + opening.size
        limits = relay.head_limits
        end = read_tail(buffer, begin, opening.tail, opening.count, limits)
        if end < 0 or len(asked) - alike.target_at > limits.target_bytes:
            return None, b"", 0
        return alike.judged, asked + alike.behind + buffer[begin : end - 2], end

    def read(self, relay: Relay, lane: Lane, buffer: bytes) -> RequestHead | Refusal | None:
        """The same, by its fields; None: it is not complete yet."""
        limits = relay.head_limits
        learns = self._strays < MAX_MISSES and not lane.is_forward
        opening = self._opening
        if opening is None and learns:
            opening = self._opening = lane.opening
        if opening is not None:
            found = read_opened(buffer, opening, limits)
            if found is not None:
                self._strays = 0
                return found
        end = find_head_end(buffer, 0)
        if end < 0:
            return refuse_early(buffer, 0, limits)
        octets = buffer if end == len(buffer) else buffer[:end]
        if lane.is_forward:
            return parse_forwarded(octets, limits, relay.heads.plain_lines, lane.takes_host)
        head = parse_request(octets, limits, relay.heads.plain_lines)
        if learns and isinstance(head, RequestHead):
            self._strays += 1
            learnt = relay.heads.learn(lane, octets)
            if learnt is not None and (opening is None or self._strays > 1):
                self._opening = learnt
        return head

    def keep(self, relay: Relay, lane: Lane, buffer: bytes, judged: Judged) -> None:
        """Has what was decided about the head that the buffer begins with recalled, should it come again."""
        opening = self._opening
        if judged.is_by_path and opening is not None:
            relay.heads.remember_alike(lane, opening, judged, relay.head_limits)
        if self._misses >= MAX_MISSES:
            return
        self._misses += 1
        head = judged.head
        if head.framing != NO_BODY:
            self._size = head.size
        relay.heads.remember(lane, buffer[: head.size], judged)
