"""What manifests declare but nobody could read."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unread:
    """Names of which nothing sure is known, since their own text has problems: no reference to them is a mistake."""

    names: AbstractSet[str] = frozenset()
    """`namespace/name`, of any kind, lost in whole or in part."""
    everything: bool = False
    """Something was lost whose name is not known either."""

    def may_declare(self, name: str) -> bool:
        """Whether `name`, or what it is a version of, may be among what was lost."""
        if self.everything or name in self.names:
            return True
        return any(name[:at] in self.names for at, letter in enumerate(name) if letter == "-")


def union(parts: Iterable[Unread]) -> Unread:
    """What any of them lost."""
    whole = list(parts)
    names = frozenset(name for one in whole for name in one.names)
    return Unread(names, any(one.everything for one in whole))


NOTHING_UNREAD = Unread()
"""All was read."""
