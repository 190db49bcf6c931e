"""Work on manifests that leaves no memory behind: their objects are many times their text."""

from collections.abc import Callable, Mapping

from tulle.kit.aside import aside
from tulle.kit.collector import no_collection
from tulle.kit.heap import give_back

LARGE = 256 * 1024
"""Octets of manifests whose objects would leave megabytes of holes in the heap."""


def leanly(work: Callable[[], bytes], octets: int) -> bytes:
    """What `work` on so many octets of manifests makes, done by a child when they are large. Raises `kit.aside.Killed`.

    Where no child can be had, or the work fails there, it is done here.
    """
    made = aside(work) if octets >= LARGE else None
    if made is None:
        with no_collection():
            made = work()
        give_back()
    return made


def octets_of(files: Mapping[str, str]) -> int:
    """How large texts are together, near enough: in characters."""
    return sum(map(len, files.values()))
