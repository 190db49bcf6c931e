"""Long work in pieces: a generator that stops between them, so that whoever drives it may look after other things."""

from collections.abc import Generator
from typing import TypeVar

Result = TypeVar("Result")


def at_once(work: Generator[None, None, Result]) -> Result:
    """Does it in one go, where nobody waits; what it returns or raises."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
