"""Files → resources, or every problem in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tulle.model.place import Problem
from tulle.model.resources import Resource


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the manifests say."""

    resources: tuple[Resource, ...]
    """In the order of files and lines; the mesh file already desugared."""
    sources: Mapping[str, str]
    """File name → its text, as read."""


def load(paths: Sequence[Path]) -> Loaded | list[Problem]:
    """Reads files, and of directories every `*.yaml` and `*.yml` in them."""
    raise NotImplementedError


def parse(files: Mapping[str, str]) -> Loaded | list[Problem]:
    """File name → text; what it says, or all that is wrong with it."""
    raise NotImplementedError
