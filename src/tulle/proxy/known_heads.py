"""Heads that came before, with what was made of them: kept by the whole process, within bounds."""

from __future__ import annotations

from typing import Final, final

from tulle.core.request import canonical_host
from tulle.http.fields import PlainLines
from tulle.http.head import Limits, ResponseHead
from tulle.http.opening import Opening, learn_opening
from tulle.proxy.alike import asked, learn_alike
from tulle.proxy.judged import Judged
from tulle.proxy.lane import Lane

MAX_REMEMBERED: Final = 512
"""Heads remembered by the whole process; beyond, all are forgotten."""
MAX_REMEMBERED_HEAD: Final = 2048
"""Octets of one; longer ones seldom come again."""
MAX_SEEN: Final = 4096
"""Hashes of heads that came once."""
MAX_OPENINGS: Final = 256
MAX_HOSTS: Final = 256


@final
class KnownHeads:
    """What is decided about a head is kept with its lane, for one generation; the rest is kept here."""

    def __init__(self, lanes: dict[tuple[str, str, int], Lane]) -> None:
        self.answers: dict[bytes, RememberedAnswer] = {}
        """By their heads' octets."""
        self.plain_lines = PlainLines()
        self.openings: dict[bytes, Opening] = {}
        """By their octets; beyond MAX_OPENINGS all are forgotten."""
        self.hosts: dict[str, str | None] = {}
        """Canonical hosts by what callers wrote, likewise."""
        self._lanes = lanes
        self._remembered = 0
        self._seen: set[int] = set()

    def learn(self, lane: Lane, octets: bytes) -> Opening | None:
        """Compares a head with the last one of this lane whose opening was not known; connections share what comes of it."""
        before = lane.stray
        lane.stray = octets if len(octets) <= MAX_REMEMBERED_HEAD else b""
        learnt = learn_opening(before, octets)
        if learnt is None:
            return None
        known = self.openings.get(learnt.octets)
        if known is None:
            if len(self.openings) >= MAX_OPENINGS:
                self.openings.clear()
            known = self.openings[learnt.octets] = learnt
        lane.opening = known
        return known

    def remember(self, lane: Lane, octets: bytes, judged: Judged) -> None:
        """Keeps what was decided about a head, on its second appearance, within bounds; nothing of undeclared places."""
        if lane.port is None or len(octets) > MAX_REMEMBERED_HEAD or not self.appears_again(octets):
            return
        judged.octets = octets
        lane.memo[octets] = judged

    def remember_answer(self, octets: bytes, head: ResponseHead) -> None:
        """Keeps a response head, likewise."""
        if len(octets) > MAX_REMEMBERED_HEAD or not self.appears_again(octets):
            return
        self.answers[octets] = RememberedAnswer(octets, head)

    def remember_alike(self, lane: Lane, opening: Opening, judged: Judged, limits: Limits) -> None:
        """Keeps what was decided about a head by its path, for those that ask the same of the same host and whose fields begin alike.

        The head itself may begin otherwise, and ask somebody else: what was decided about it holds for no other host.
        """
        if opening.authority is None or opening.authority.octets != judged.head.authority:
            return
        known = lane.alike.get(opening)
        start = asked(judged.head)
        if known is not None and start in known:
            return
        self._make_room()
        lane.alike.setdefault(opening, {})[start] = learn_alike(judged, opening, limits)

    def host(self, name: str) -> str | None:
        """Its canonical form; None: it has none."""
        found = self.hosts.get(name)
        if found is None:
            if len(self.hosts) >= MAX_HOSTS:
                self.hosts.clear()
            found = self.hosts[name] = canonical_host(name)
        return found

    def appears_again(self, octets: bytes | str) -> bool:
        """Whether they came before, as far as is known. From then on what is made of them may be kept."""
        mark = hash(octets) & 0xFFFFFFFFFFF
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return False
        self._make_room()
        return True

    def _make_room(self) -> None:
        self._remembered += 1
        if self._remembered > MAX_REMEMBERED:
            self.forget()

    def forget(self) -> None:
        """Whatever was decided, or written, for a head. What heads are made of stays known."""
        for lane in self._lanes.values():
            lane.memo.clear()
            lane.decisions.clear()
            lane.by_path.clear()
            lane.alike.clear()
        for answer in self.answers.values():
            answer.octets = b""  # so that a connection to which it came last recalls it no more
        self.answers.clear()
        self._remembered = 0


@final
class RememberedAnswer:
    """A response head that came before."""

    __slots__ = ("head", "octets")

    def __init__(self, octets: bytes, head: ResponseHead) -> None:
        self.octets = octets
        """Empty once it is forgotten."""
        self.head = head
