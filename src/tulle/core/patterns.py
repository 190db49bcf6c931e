"""Values and patterns as in Istio: exact, `prefix*`, `*suffix`, or `*` for any value that is there."""

from collections.abc import Iterable
from typing import final


@final
class ValueSet:
    """Patterns, any of which may match; one hash look-up and two C calls, however many there are."""

    __slots__ = ("exact", "prefixes", "present", "suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact: set[str] = set()
        prefixes: list[str] = []
        suffixes: list[str] = []
        self.present: bool = False
        """Matches every value but the empty one."""
        for pattern in patterns:
            if pattern == "*":
                self.present = True
            elif pattern.endswith("*"):
                prefixes.append(pattern[:-1])
            elif pattern.startswith("*"):
                suffixes.append(pattern[1:])
            else:
                exact.add(pattern)
        self.exact: frozenset[str] = frozenset(exact)
        self.prefixes: tuple[str, ...] = tuple(prefixes)
        self.suffixes: tuple[str, ...] = tuple(suffixes)

    def matches(self, value: str) -> bool:
        """Whether any pattern matches; an empty value (an anonymous caller's) matches none."""
        if not value:
            return False
        if self.present or value in self.exact:
            return True
        if self.prefixes and value.startswith(self.prefixes):
            return True
        return bool(self.suffixes) and value.endswith(self.suffixes)
