"""The operations of many policies, found by path: which of thousands may match a request, without asking each."""

from collections.abc import Generator
from typing import Final, final

from tulle.core.patterns import ValueSet
from tulle.core.policies import PATH, PORT, CallerRef, FieldCheck, PolicyTable
from tulle.core.request import RequestView
from tulle.core.verdict import Allow, Deny

WIDE: Final = 32
"""So many operations that can be found by path are looked up; fewer are asked one after the other."""
MAX_LENGTHS: Final = 16
"""Look-ups for what a path begins with, at most: longer beginnings are found by a part of theirs."""
BATCH: Final = 64
"""Policies or entries laid out in one piece: a few microseconds each."""


@final
class Entry:
    """An operation of a rule, with whose calls the rule is about."""

    __slots__ = ("fields", "folds", "place", "ports", "sources", "verdict")

    def __init__(
        self, place: int, sources: list[list[FieldCheck]], operation: list[FieldCheck], verdict: Allow | Deny
    ) -> None:
        self.place: int = place
        """In the order of judgement: of several that match the first decides."""
        self.sources: list[list[FieldCheck]] = sources
        self.ports: list[FieldCheck] = [field for field in operation if field.kind == PORT]
        self.fields: list[FieldCheck] = [field for field in operation if field.kind != PORT]
        """HTTP fields only; empty: matches every request."""
        self.folds: bool = any(field.folds for field in self.fields)
        """It looks at the folded reading of every path."""
        self.verdict: Allow | Deny = verdict

    def concerns(self, caller: CallerRef, port: int) -> bool:
        """Whether some request of this caller to this port may match."""
        for field in self.ports:
            if not field.holds_for_port(port):
                return False
        for source in self.sources:
            for field in source:
                if not field.holds_for_caller(caller):
                    break
            else:
                return True
        return False

    def holds(self, request: RequestView, is_deny: bool) -> bool:
        """Whether its HTTP fields match: an ALLOW must match both readings of the path, a DENY either."""
        if (self.folds or request.path is not request.folded) and self._holds_folded(request) == is_deny:
            return is_deny
        for field in self.fields:  # noqa: SIM110  (as everywhere here: a generator costs more than the look)
            if not field.holds_for_request(request, False):
                return False
        return True

    def _holds_folded(self, request: RequestView) -> bool:
        for field in self.fields:  # noqa: SIM110
            if not field.holds_for_request(request, True):
                return False
        return True

    @property
    def is_for_all(self) -> bool:
        """Whether it is about anybody's calls."""
        for source in self.sources:  # noqa: SIM110
            if not source:
                return True
        return False

    def path(self) -> FieldCheck | None:
        """The field by which it can be found: one of its paths, or what one of them begins with, must be the request's."""
        for field in self.fields:
            if field.kind == PATH and not field.negative:
                values = field.values
                return None if values.present or values.suffixes else field
        return None


@final
class Paths:
    """Entries by path. Those found are all that may match, and some more."""

    __slots__ = ("exact", "lengths", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, list[Entry]] = {}
        self.prefixes: dict[str, list[Entry]] = {}
        self.lengths: list[int] = []
        """Of the keys of `prefixes`, ascending."""

    def choose(self, lengths: set[int]) -> None:
        """Which lengths of beginnings to look up, of those that there are."""
        ordered = sorted(lengths)
        step = -(-len(ordered) // MAX_LENGTHS)
        self.lengths = ordered[::step] if step else []

    def add(self, values: ValueSet, entry: Entry) -> None:
        """Takes one in, in the order of places."""
        for path in values.exact:
            self.exact.setdefault(path, []).append(entry)
        for prefix in values.prefixes:
            length = 0
            for chosen in self.lengths:
                if chosen > len(prefix):
                    break
                length = chosen
            entries = self.prefixes.setdefault(prefix[:length], [])
            if not entries or entries[-1] is not entry:
                entries.append(entry)

    def first(
        self, path: str, caller: CallerRef, port: int, request: RequestView, is_deny: bool, before: Entry | None
    ) -> Entry | None:
        """The first that matches, of those in front of `before`."""
        found = _first_of(self.exact.get(path), caller, port, request, is_deny, before)
        for length in self.lengths:
            if length > len(path):
                break
            found = _first_of(self.prefixes.get(path[:length]), caller, port, request, is_deny, found)
        return found


@final
class Index:
    """Entries of one action, found by path."""

    __slots__ = ("entries", "folded", "folds", "is_deny", "paths")

    def __init__(self, is_deny: bool, entries: list[Entry]) -> None:
        self.is_deny: bool = is_deny
        self.entries: list[Entry] = entries
        """In order. `fill` makes them be found."""
        self.folds: bool = any(entry.folds for entry in entries)
        self.paths: Paths = Paths()
        self.folded: Paths = Paths()
        """By the other reading; of denials only, for which either reading will do."""

    def fill(self) -> Generator[None, None, None]:
        """Lays out, a piece at a time."""
        lengths: set[int] = set()
        folded: set[int] = set()
        for number, entry in enumerate(self.entries):
            if number % BATCH == BATCH - 1:
                yield
            field = entry.path()
            if field is not None:
                lengths.update([len(prefix) for prefix in field.values.prefixes])
                folded.update([len(prefix) for prefix in field.folded.prefixes])
        self.paths.choose(lengths)
        self.folded.choose(folded)
        for number, entry in enumerate(self.entries):
            if number % BATCH == BATCH - 1:
                yield
            field = entry.path()
            if field is not None:
                self.paths.add(field.values, entry)
                if self.is_deny:
                    self.folded.add(field.folded, entry)

    def first(self, caller: CallerRef, port: int, request: RequestView, before: Entry | None) -> Entry | None:
        """The first that matches, of those in front of `before`; else that."""
        found = self.paths.first(request.path, caller, port, request, self.is_deny, before)
        if self.is_deny and (self.folds or request.path is not request.folded):
            found = self.folded.first(request.folded, caller, port, request, True, found)
        return found

    def first_that_concerns(self, caller: CallerRef, port: int) -> Entry | None:
        """For whatever request."""
        for entry in self.entries:
            if entry.concerns(caller, port):
                return entry
        return None


@final
class Operations:
    """All operations of the policies of one action that select a service."""

    __slots__ = ("index", "is_deny", "is_wide", "others")

    def __init__(self, is_deny: bool) -> None:
        self.is_deny: bool = is_deny
        self.is_wide: bool = False
        """There are so many that they are looked up."""
        self.index: Index = Index(is_deny, [])
        """Those that are about anybody's calls and that a path finds; none unless it is wide."""
        self.others: list[Entry] = []
        """All others, in order: those of which each caller has its part, and those that no path finds."""

    def fill(self, policies: list[PolicyTable]) -> Generator[None, None, None]:
        """Lays out, a piece at a time."""
        entries: list[Entry] = []
        keyed: list[Entry] = []
        others: list[Entry] = []
        for number, policy in enumerate(policies):
            if number % BATCH == BATCH - 1:
                yield
            for rule in policy.rules:
                for operation in rule.operations:
                    entry = Entry(len(entries), rule.sources, operation, policy.verdict)
                    entries.append(entry)
                    if entry.is_for_all and entry.path() is not None:
                        keyed.append(entry)
                    else:
                        others.append(entry)
        if len(entries) < WIDE:
            self.others = entries
            return
        index = Index(self.is_deny, keyed)
        yield from index.fill()
        self.index, self.others, self.is_wide = index, others, True


def _first_of(
    entries: list[Entry] | None,
    caller: CallerRef,
    port: int,
    request: RequestView,
    is_deny: bool,
    before: Entry | None,
) -> Entry | None:
    if entries is not None:
        for entry in entries:
            if before is not None and entry.place >= before.place:
                break
            if entry.concerns(caller, port) and entry.holds(request, is_deny):
                return entry
    return before
