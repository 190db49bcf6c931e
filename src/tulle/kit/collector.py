"""Keeps the cyclic collector out of work that makes much and no cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """No collection inside: a large mesh is a million objects, which each collection would walk in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def count_as_old() -> None:
    """All that lives counts as long-lived, without a walk over it: collections of the young leave it alone. Nothing is frozen any more."""
    gc.freeze()
    gc.unfreeze()
