"""The dynamic table of one direction (RFC 7541, 2.3.2): the newest entry has the lowest index."""

from __future__ import annotations

from typing import Final, final

from tulle.http.h2.field import Field

COMPACT: Final = 128
"""Evicted entries that are kept in the list until it is cut."""


@final
class DynamicTable:
    """Fields in order of insertion, evicted from the oldest when their sizes exceed the maximum."""

    __slots__ = ("entries", "first", "inserted", "maximum", "size")

    def __init__(self, maximum: int) -> None:
        self.entries: list[Field] = []
        self.first = 0
        """Where the oldest entry is in `entries`."""
        self.inserted = 0
        """How many were ever inserted."""
        self.maximum = maximum
        self.size = 0

    def at(self, index: int) -> Field | None:
        """The entry with this index, counted from 1; None beyond the oldest."""
        place = len(self.entries) - index
        return self.entries[place] if place >= self.first else None

    def insert(self, field: Field) -> None:
        """Adds an entry, after evicting what must go; one larger than the table empties it (RFC 7541, 4.4)."""
        size = field.size
        while self.size + size > self.maximum and self.size > 0:
            self.evict()
        self.inserted += 1
        if size > self.maximum:
            return
        self.entries.append(field)
        self.size += size

    def evict(self) -> Field:
        """Drops the oldest entry."""
        first = self.first
        oldest = self.entries[first]
        self.size -= oldest.size
        self.entries[first] = self.entries[-1]  # what was evicted may be large, and its place stays a while
        first += 1
        if first == len(self.entries):
            self.entries.clear()
            first = 0
        elif first >= COMPACT and first * 2 >= len(self.entries):
            del self.entries[:first]
            first = 0
        self.first = first
        return oldest

    def resize(self, maximum: int) -> None:
        """Changes the maximum, evicting what no longer fits."""
        self.maximum = maximum
        while self.size > maximum:
            self.evict()
