"""Reads the heads of an HTTP/1.1 endpoint's answers, the short way where heads like them came before."""

from __future__ import annotations

from typing import Final, final

from tulle.http.head import Refusal, ResponseHead
from tulle.http.request import find_head_end
from tulle.http.response import parse_response
from tulle.http.response_opening import ResponseOpening, find_opened_end, learn_response_opening, read_opened_response
from tulle.http.write import write_response
from tulle.proxy.known_heads import MAX_REMEMBERED_HEAD, RememberedAnswer
from tulle.proxy.relay import Relay

MAX_MISSES: Final = 16
"""Heads in a row that were not remembered; then this connection stops asking. Likewise heads that began as none before."""


@final
class AnswersAlike:
    """How answers of one endpoint begin: its connections learn that from each other."""

    __slots__ = ("opening", "stray")

    def __init__(self) -> None:
        self.opening: ResponseOpening | None = None
        """What heads that came last begin with."""
        self.stray = b""
        """The last head that was read the long way."""

    def learn(self, relay: Relay, octets: bytes, may_be_shorter: bool) -> None:
        """Compares a head with the last one that was read the long way.

        Two from before and after a second's end begin alike as far as Date: they shorten an opening only if `may_be_shorter`.
        """
        before = self.stray
        self.stray = octets if len(octets) <= MAX_REMEMBERED_HEAD else b""
        learnt = learn_response_opening(before, octets, relay.head_limits)
        known = self.opening
        if learnt is not None and (known is None or may_be_shorter or learnt.size >= known.size):
            self.opening = learnt


@final
class AnswerReader:
    """One connection's. What HEAD is answered has no body, whatever it says: nothing is recalled for it, and nothing learnt of it."""

    def __init__(self, relay: Relay, alike: AnswersAlike) -> None:
        self._relay = relay
        self._alike = alike
        self._last: RememberedAnswer | None = None
        """The last head, when it was one that had come before octet by octet."""
        self._size = 0
        """Octets of the last head."""
        self._misses = 0
        self._opening: ResponseOpening | None = None
        """What this connection's heads begin with."""
        self._strays = 0
        """Heads in a row that were read the long way."""

    def read_alike(self, buffer: bytes) -> tuple[ResponseHead | None, bytes, int]:
        """What the head that the buffer begins with has in common with others, which differ in plain fields only.

        And it as `ResponseHead.wire` is, and how many octets it has. None: it has to be read. Not for what HEAD is answered.
        """
        opening = self._opening
        if opening is None or self._misses < MAX_MISSES:
            return None, b"", 0
        end = find_opened_end(buffer, opening, self._relay.head_limits)
        if end < 0:
            return None, b"", 0
        self._strays = 0
        return opening.head, opening.wire + buffer[opening.size : end], end

    def read(self, method: str, buffer: bytes) -> ResponseHead | Refusal | None:
        """The head that the buffer begins with, as the answer to a request of this method; None: it is not complete yet."""
        relay = self._relay
        if method == "HEAD":
            end = find_head_end(buffer, 0)
            return parse_response(buffer[:end], method, relay.head_limits, relay.heads.plain_lines) if end > 0 else None
        last = self._last
        if last is not None and last.octets == buffer[: self._size]:
            return last.head
        if self._misses < MAX_MISSES:
            recalled = self._recall(buffer[: self._size])
            if recalled is not None:
                return recalled
        head = self._read_opened(buffer)
        if head is None:
            end = find_head_end(buffer, 0)
            if end < 0:
                return None
            octets = buffer if end == len(buffer) else buffer[:end]
            if self._misses < MAX_MISSES and end != self._size:
                recalled = self._recall(octets)
                if recalled is not None:
                    return recalled
            judged = parse_response(octets, method, relay.head_limits, relay.heads.plain_lines)
            if isinstance(judged, Refusal) or judged.status < 200:
                return judged
            head = judged
        if not head.wire and self._strays < MAX_MISSES:
            self._strays += 1
            self._alike.learn(relay, buffer[: head.size], self._strays > 1)
        if self._misses < MAX_MISSES:
            self._misses += 1
            self._size = head.size
            if not head.wire:
                head.wire = write_response(head, 1, False)
            relay.heads.remember_answer(buffer[: head.size], head)
        return head

    def _recall(self, octets: bytes) -> ResponseHead | None:
        """The head that these octets are, where they came before."""
        found = self._relay.heads.answers.get(octets)
        if found is None:
            return None
        self._misses = 0
        self._last = found
        self._size = len(octets)
        return found.head

    def _read_opened(self, buffer: bytes) -> ResponseHead | None:
        """The head that the buffer begins with, where it begins as this connection's did, or as those of its neighbours now do."""
        relay = self._relay
        opening = self._opening
        shared = self._alike.opening
        found: ResponseHead | None = None
        if opening is not None:
            found = read_opened_response(buffer, opening, relay.head_limits)
        if found is None and shared is not None and shared is not opening:
            found = read_opened_response(buffer, shared, relay.head_limits)
            if found is not None:
                self._opening = shared
        if found is not None and found.wire:
            self._strays = 0
        return found
