"""The policies of a generation, and those that select a service: laid out when somebody is judged by them."""

from collections.abc import Generator
from typing import Final, final

from tulle.core.operations import Operations
from tulle.core.pieces import at_once
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

    __slots__ = ("_allowed", "_allows", "_denied", "_denies", "_is_ready", "places", "store")

    def __init__(self, store: PolicyStore, places: list[int]) -> None:
        self.store: PolicyStore = store
        self.places: list[int] = places
        """Where they are, in the order of their names: of several that match the first is reported."""
        self._is_ready = False
        self._denies: list[PolicyTable] = []
        self._allows: list[PolicyTable] = []
        self._denied: Operations = Operations(True)
        self._allowed: Operations = Operations(False)

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
        """The operations of `denies`."""
        self.ready()
        return self._denied

    @property
    def allowed(self) -> Operations:
        """The operations of `allows`."""
        self.ready()
        return self._allowed

    def ready(self) -> None:
        """Lays its policies out, unless they are."""
        if not self._is_ready:
            at_once(self.preparing())

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
        denied, allowed = Operations(True), Operations(False)
        yield from denied.fill(denies)
        yield from allowed.fill(allows)
        self._denies, self._allows, self._denied, self._allowed = denies, allows, denied, allowed
        self._is_ready = True
