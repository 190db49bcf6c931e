"""The mesh of this node as it is wanted: which revision, why not another, and what the others report.

Invariant: `wanted` only ever becomes a revision that compiled, and falls back to what the proxy took when the proxy
refuses it. Problems change words, never traffic. No I/O but the store's, and a child for what is large; the tasks around
it move bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import msgspec

from tulle.agent.candidate import Candidate, Ground, Prepared, candidate
from tulle.agent.changes import changes, sink_changes
from tulle.agent.doors import door_places
from tulle.agent.faults import fault_of, refusal, unfinished
from tulle.agent.lean import leanly, octets_of
from tulle.agent.signal import Signal
from tulle.compiler import sure_faults
from tulle.kit.aside import Killed
from tulle.manifest import Loaded, parse
from tulle.model.place import Problem
from tulle.store.database import StoreError
from tulle.store.revisions import Entry, Revision, Revisions
from tulle.wire.plan import DoorState, Plan, PodState, Report, blame, decode_plan
from tulle.wire.sinks import Sinks, decode_sinks
from tulle.wire.snapshot import SCHEMA_VERSION, Door, Snapshot, decode_doors, decode_snapshot
from tulle.wire.status import Applied, Change, Outcome, ProxyLine
from tulle.wire.upgrade import Proxies

Read = Callable[[], Loaded | list[Problem]]
"""Reads manifests."""

_T = TypeVar("_T")
_D = TypeVar("_D")

MANIFEST = "manifest"
"""Author of what a watched file says."""
REFUSALS_KEPT = 16
"""An apply waits for the word on its own generation; the store remembers the others."""


class Node:
    """What shall be. Every change is announced by `changed`."""

    def __init__(self, ground: Ground, store: Revisions, now: Callable[[], float]) -> None:
        self.ground = ground
        self.store = store
        self.changed = Signal()
        self.wanted: Revision | None = None
        self.planned: bytes | None = None
        """The line that the supervisor shall have."""
        self.proxy = ProxyLine(reachable=False, generation=0)
        self.seen = Report(0, [], [], "")
        """What the supervisor last reported."""
        self.proxies = Proxies([], "")
        """All there are, as the supervisor last said."""
        self.orders: list[bytes] = []
        """Lines for the supervisor besides the plan."""
        self.problems: list[Problem] = []
        """Of the watched manifests as they are now."""
        self.refused: dict[int, str] = {}
        """Generation → fault, of this run; the newest of them."""
        self.trouble = ""
        """What the store last failed at."""
        self._now = now
        self._highest = self._remembered(store.highest, 0)
        self._taken: Revision | None = None
        """What the proxy last took, or the last good one at boot: where a refusal falls back to."""

    @property
    def generation(self) -> int:
        """Of the wanted revision; 0 while there is none."""
        return self.wanted.number if self.wanted else 0

    @property
    def running(self) -> tuple[Snapshot, Plan] | None:
        """The documents of the wanted revision."""
        return _documents(self.wanted) if self.wanted else None

    @property
    def doors(self) -> tuple[Door, ...]:
        """Ports of the box that lead in, by the wanted revision."""
        return decode_doors(self.wanted.snapshot) if self.wanted else ()

    @property
    def sinks(self) -> Sinks:
        """Where metrics are sent, by the wanted revision."""
        return decode_sinks(self.wanted.sinks) if self.wanted else Sinks()

    @property
    def notes(self) -> list[str]:
        """What a person should know besides problems."""
        return [*self.store.notes, *([f"not remembered: {self.trouble}"] if self.trouble else [])]

    def boot(self, read: Read, octets: int, watched: str) -> None:
        """Starts with what was there last, or with the manifests when they changed since or nothing was there.

        An applied revision thus survives a restart; so does the last good one beside a broken manifest.
        """
        last = self._remembered(self.store.last_good, None)
        if last and _is_readable(last):
            self.wanted = self._taken = last
            self.planned = last.plan
        same = last if last and last.watched == watched else None
        made = self.prepared_texts(same.files) if same else self.prepared(read, octets)
        self.take(made, author=MANIFEST, why="boot", watched=watched)
        if made.problems and last and self.wanted is None:
            self._recompile(last)

    def prepared(self, read: Read, octets: int) -> Prepared:
        """What manifests of so many octets come to. Changes nothing. If the child that compiles large ones is killed, that is the problem."""
        try:
            made = leanly(lambda: msgspec.msgpack.encode(self.prepare(read())), octets)
        except Killed as end:
            return Prepared(problems=[unfinished(end)])
        return msgspec.msgpack.decode(made, type=Prepared)

    def prepared_texts(self, files: Mapping[str, str]) -> Prepared:
        """`prepared`, of manifests that are not on disk: text by file name."""
        return self.prepared(lambda: parse(files, sure_faults), octets_of(files))

    def prepare(self, loaded: Loaded | list[Problem]) -> Prepared:
        """What they would change, if the mesh that they say compiles. Changes nothing."""
        if isinstance(loaded, list):
            return Prepared(problems=loaded)
        running = self.running
        made = candidate(loaded, self.ground, self._highest + 1, running[0] if running else None)
        if isinstance(made, list):
            return Prepared(problems=made)
        ready = made.encoded()
        differs: tuple[Change, ...] = ()
        if not self._is_wanted(ready):
            differs = changes(running, (made.snapshot, made.plan)) + sink_changes(self.sinks, made.sinks)
        return msgspec.structs.replace(ready, changes=differs, doors=door_places(loaded.resources))

    def take(self, made: Prepared, *, author: str, why: str, watched: str) -> Applied:
        """Makes what was just prepared the wanted revision, unless it has problems or changes nothing. `pending` until the proxy took it.

        Of the watched manifests the newest word wins, also over an earlier apply.
        """
        if made.problems:
            if author == MANIFEST:
                self.problems = made.problems
                self.changed.set()
            return self.invalid(made.problems)
        self.problems = []
        if self._is_wanted(made):
            self._keep(made, watched)
            self.changed.set()
            return Applied(outcome=Outcome.UNCHANGED, generation=self.generation)
        self._want(made, author, why, watched)
        return Applied(outcome=Outcome.PENDING, generation=made.generation, changes=made.changes)

    def tried(self, files: Mapping[str, str]) -> Applied:
        """What `take` would do, without doing it."""
        made = self.prepared_texts(files)
        if made.problems:
            return self.invalid(made.problems)
        outcome = Outcome.UNCHANGED if self._is_wanted(made) else Outcome.VALID
        return Applied(outcome=outcome, generation=self.generation, changes=made.changes)

    def invalid(self, problems: Iterable[Problem]) -> Applied:
        """What comes of manifests with problems: nothing."""
        return Applied(outcome=Outcome.INVALID, generation=self.generation, problems=tuple(map(fault_of, problems)))

    def proxy_has(self, generation: int) -> None:
        """The proxy says what it serves. Numbers never go back: a proxy that is ahead of a lost store is overtaken."""
        self._highest = max(self._highest, generation)
        wanted = self.wanted
        ahead = wanted and generation >= wanted.number + wanted.entry.accepted
        if wanted and ahead:
            again = Candidate(wanted.files, *_renumbered(_documents(wanted), self._highest + 1), self.sinks)
            why = f"renumbered: the proxy was at {generation}"
            self._want(again.encoded(), wanted.entry.author, why, wanted.watched)
        self._see(ProxyLine(reachable=True, generation=generation))

    def proxy_gone(self) -> None:
        """The proxy does not answer. Pods need not wait for it."""
        if self.wanted:
            self.planned = self.wanted.plan
        self._see(ProxyLine(reachable=False, generation=self.proxy.generation))

    def proxy_took(self, generation: int) -> None:
        """The proxy serves this generation; the pods may follow."""
        wanted = self.wanted
        if wanted and wanted.number == generation:
            self._taken = wanted
            self.planned = wanted.plan
            if not wanted.entry.accepted:
                self._remembered(lambda: self.store.accept(generation), None)
                self.wanted = self._taken = replace(wanted, entry=replace(wanted.entry, accepted=True))
        self._see(ProxyLine(reachable=True, generation=generation))

    def proxy_refused(self, generation: int, fault: str) -> None:
        """The proxy keeps what it had; so does everything else."""
        self.refused[generation] = fault
        while len(self.refused) > REFUSALS_KEPT:
            del self.refused[min(self.refused)]
        self._remembered(lambda: self.store.refuse(generation, fault), None)
        if self.wanted and self.wanted.number == generation:
            if self.wanted.entry.author == MANIFEST:
                self.problems = [refusal(fault)]
            self.wanted = None if self._taken is self.wanted else self._taken
            self.planned = self.wanted.plan if self.wanted else self.planned
        self.changed.set()

    def supervisor_says(self, report: Report) -> None:
        """How pods and doors are."""
        self.seen = report
        self.changed.set()

    def supervisor_lists(self, proxies: Proxies) -> None:
        """Which proxies there are, and how far the last upgrade has come."""
        self.proxies = proxies
        self.changed.set()

    def order(self, line: bytes) -> None:
        """Tells the supervisor something besides the plan."""
        self.orders.append(line)
        self.changed.set()

    def waits_for(self) -> list[str]:
        """What keeps the node from being ready, in words."""
        if self.wanted is None:
            return ["a mesh without problems"]
        waits = []
        if not self.proxy.reachable:
            waits.append("the proxy to answer")
        elif self.proxy.generation != self.wanted.number:
            waits.append(f"the proxy to take generation {self.wanted.number}")
        seen = {pod.name: pod for pod in self.seen.pods}
        plan = decode_plan(self.wanted.plan)
        for pod in plan.pods:
            state = seen[pod.name].state if pod.name in seen else PodState.WAITING
            if state is not PodState.READY:
                why = seen[pod.name].why if pod.name in seen else ""
                waits.append(f"pod {pod.name} ({state}{': ' + why if why else ''})")
        doors = {door.port: door for door in self.seen.doors}
        for port in plan.doors:
            if port not in doors:
                waits.append(f"port {port} to be opened")
            elif (door := doors[port]).state is not DoorState.OPEN:
                waits.append(f"port {port} ({door.state}: {blame(door.why, door.holder)})")
        return waits

    def _recompile(self, last: Revision) -> None:
        """What an older Tulle compiled, and this one cannot read, from its texts."""
        made = self.prepared_texts(last.files)
        if not made.problems:
            self._want(made, last.entry.author, f"revision {last.number} compiled anew", last.watched)

    def _is_wanted(self, made: Prepared) -> bool:
        """Whether it would serve what the wanted revision serves."""
        return self.wanted is not None and made.digest == self.wanted.entry.digest

    def _keep(self, made: Prepared, watched: str) -> None:
        """The same mesh in other words: what runs stays, and is what these manifests mean."""
        wanted = self.wanted
        if wanted and (wanted.watched != watched or wanted.files != made.files):
            self._remembered(lambda: self.store.reword(wanted.number, made.files, watched), None)
            self.wanted = replace(wanted, watched=watched, files=made.files)
            if self._taken and self._taken.number == wanted.number:
                self._taken = self.wanted

    def _want(self, made: Prepared, author: str, why: str, watched: str) -> None:
        entry = Entry(made.generation, self._now(), author, why, made.digest)
        revision = Revision(entry, watched, made.files, made.snapshot, made.plan, sinks=made.sinks)
        self._highest = made.generation
        self.trouble = ""
        self._remembered(lambda: self.store.add(revision), None)
        first = self.wanted is None
        self.wanted = revision
        if first or not self.proxy.reachable:
            self.planned = made.plan
        self.changed.set()

    def _see(self, proxy: ProxyLine) -> None:
        if proxy != self.proxy:
            self.proxy = proxy
        self.changed.set()

    def _remembered(self, access: Callable[[], _T], otherwise: _D) -> _T | _D:
        try:
            return access()
        except StoreError as fault:
            self.trouble = str(fault)
            return otherwise


def _documents(revision: Revision) -> tuple[Snapshot, Plan]:
    return decode_snapshot(revision.snapshot), decode_plan(revision.plan)


def _renumbered(documents: tuple[Snapshot, Plan], generation: int) -> tuple[Snapshot, Plan]:
    snapshot, plan = documents
    return msgspec.structs.replace(snapshot, generation=generation), plan._replace(generation=generation)


def _is_readable(revision: Revision) -> bool:
    """An older Tulle's documents may not be; its files then decide."""
    if revision.schema != SCHEMA_VERSION:
        return False
    try:
        _documents(revision)
        decode_sinks(revision.sinks)
    except (ValueError, TypeError, KeyError):
        return False
    return True
