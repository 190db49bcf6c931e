"""The compiled tree: whether it is made of these sources. One that is not would be measured in their name."""

from pathlib import Path

import hatch_build

OWN = hatch_build.ROOT / "build" / "compiled"
"""What `make compiled` makes. Any other tree is taken as it is, since an older one may be what is to be compared."""


def outdated(tree: Path, own: Path = OWN) -> str | None:
    """Why the tree must not be measured; None where it may, or is not there at all."""
    if tree.resolve() != own or not tree.exists() or hatch_build.is_current(tree):
        return None
    return f"{tree} was compiled of other sources than these: make compiled"
