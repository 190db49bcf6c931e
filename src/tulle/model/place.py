"""Where something was written, and what is wrong with it there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import msgspec


class Place(msgspec.Struct, frozen=True, order=True, gc=False):
    """A line of a file, counted from one. A struct: each line of a large mesh has one, and a dataclass costs seven times as much."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


NOWHERE = Place("", 0)
"""Of what was never written by a person."""


class Word(str):
    """A string that remembers where it was written; equal to the plain string."""

    __slots__ = ("place",)
    place: Place

    @classmethod
    def at(cls, text: str, place: Place) -> Self:
        """`text`, as written at `place`."""
        word = cls(text)
        word.place = place
        return word


def is_place(field: str) -> bool:
    """True for a dataclass's field that nobody writes: where the record, or its field `x` (`x_place`), was written."""
    return field == "place" or field.endswith("_place")


def place_of(text: str, otherwise: Place = NOWHERE) -> Place:
    """Where `text` was written, when it knows."""
    return text.place if isinstance(text, Word) else otherwise


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, for the person who wrote it."""

    code: str
    """Stable; one of `tulle.model.catalogue`."""
    message: str
    file: str = ""
    line: int = 0
    """Counted from one; 0 when no line is to blame."""
    hint: str = ""
    """What to do about it; empty when nothing helps."""

    @classmethod
    def at(cls, place: Place, code: str, message: str, hint: str = "") -> Self:
        """A problem at a place."""
        return cls(code, message, place.file, place.line, hint)

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.message}"]
        if self.file:
            lines.append(f"  --> {Place(self.file, self.line)}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """What came from a file cannot move the reader's cursor."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each once, by place, whatever order they were found in."""
    return sorted(set(problems), key=lambda p: (p.file, p.line, p.code, p.message, p.hint))


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` with the known name nearest to `name`; empty when none is near."""
    from difflib import get_close_matches  # here: it is wanted only where something is wrong

    namespace, _, local = name.rpartition("/")
    by_local: dict[str, list[str]] = {}
    for one in sorted(set(known)):
        by_local.setdefault(one.rpartition("/")[2], []).append(one)
    close = [local] if local in by_local else get_close_matches(local, by_local, n=1, cutoff=0.6)
    if not close:
        return ""
    candidates = by_local[close[0]]
    ours = f"{namespace}/{close[0]}"
    return f"did you mean `{ours if ours in candidates else candidates[0]}`?"
