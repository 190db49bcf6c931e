"""Resources → YAML that loads as the same resources."""

from collections.abc import Iterable

from tulle.model.resources import Resource


def dump(resources: Iterable[Resource]) -> str:
    """One document each."""
    raise NotImplementedError
