"""What a compose file means beyond its own text: variables, files beside it, where it lies."""

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_BYTES = 1024 * 1024
"""Of a file of variables."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Given, so that the same text always means the same."""

    project: str = "compose"
    """What the project is called unless the file says: its directory's name."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The environment over `.env`."""
    profiles: frozenset[str] = frozenset()
    """That are enabled; `*` enables all."""
    read: Callable[[str], str | None] = lambda _: None
    """The text of a file by its path from the compose file; None where there is none to read."""
    elsewhere: str = ""
    """The compose file's directory, when the mesh file will lie in another: paths begin with it then."""


@dataclass(slots=True)
class Budget:
    """What a compose file may make of itself: each of its services may name the same large thing."""

    left: int = 8 * 1024 * 1024

    def take(self, size: int) -> bool:
        """Whether there was so much left."""
        self.left -= size
        return self.left >= 0


def reader_beside(directory: Path) -> Callable[[str], str | None]:
    """Reads plain files by their path from a directory, and nothing large."""

    def read(name: str) -> str | None:
        path = directory / name
        try:
            if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > MAX_BYTES:
                return None
            with path.open("rb") as stream:
                return stream.read(MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError, ValueError):
            return None

    return read
