"""The policies of a generation, and those that select a service: laid out when somebody is judged by them."""

from collections.abc import Generator
from typing import Final, final

from tulle.core.operations import Operations
from tulle.core.policies import PolicyTable
from tulle.wire.outline import POLICIES, Section

BATCH: Final = 8
"""Policies laid out in one piece: some tens of microseconds each."""


@final
class PolicyStore:
    """All policies of a generation, found valid. One is laid out when a caller is first judged by it.

    Of a large mesh most guard what nobody calls here and now, and octets take a tenth of the memory of what is laid out.
    """

    __slots__ = ("made", "section")

    def __init__(self, section: Section) -> None:
        self.section: Section = section
        self.made: dict[int, PolicyTable] = {}
        """Those laid out, by their place in the document."""

    def policy(self, index: int) -> PolicyTable:
        """The one at this place."""
        found = self.made.get(index)
        if found is None:
            found = self.made[index] = PolicyTable(POLICIES.decode(self.section.octets(index), index))
        return found


@final
class AuthzTable:
    """The policies that select a service, shared by all services that the same ones select."""

    __slots__ = ("_allows", "_denies", "_is_ready", "_ways_in", "_ways_out", "places", "store")

    def __init__(self, store: PolicyStore, places: list[int]) -> None:
        self.store: PolicyStore = store
        self.places: list[int] = places
        """Where they are, in the order of their names: of several that match the first is reported."""
        self._is_ready = False
        self._denies: list[PolicyTable] = []
        self._allows: list[PolicyTable] = []
        self._ways_out: Operations = Operations(True)
        self._ways_in: Operations = Operations(False)

    @property
    def denies(self) -> list[PolicyTable]:
        """By name."""
        self.ready()
        return self._denies

    @property
    def allows(self) -> list[PolicyTable]:
        """By name."""
        self.ready()
        return self._allows

    @property
    def denied(self) -> Operations:
        """What the former are about."""
        self.ready()
        return self._ways_out

    @property
    def allowed(self) -> Operations:
        """What the latter are about."""
        self.ready()
        return self._ways_in

    def ready(self) -> None:
        """Lays its policies out, unless they are."""
        if not self._is_ready:
            for _ in self.preparing():
                pass

    def preparing(self) -> Generator[None, None, None]:
        """`ready`, a piece at a time."""
        if self._is_ready:
            return
        denies: list[PolicyTable] = []
        allows: list[PolicyTable] = []
        for number, place in enumerate(self.places):
            if number % BATCH == BATCH - 1:
                yield
            policy = self.store.policy(place)
            if policy.denies:
                denies.append(policy)
            else:
                allows.append(policy)
        ways_out, ways_in = Operations(True), Operations(False)
        yield from ways_out.fill(denies)
        yield from ways_in.fill(allows)
        self._denies, self._allows, self._ways_out, self._ways_in = denies, allows, ways_out, ways_in
        self._is_ready = True
