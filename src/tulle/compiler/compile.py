"""Resources and facts → Snapshot and Plan, or every problem."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tulle.model.place import Problem
from tulle.model.resources import Resource
from tulle.wire.plan import Plan
from tulle.wire.snapshot import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the node adds to the manifests."""

    generation: int
    """Of the snapshot and the plan."""
    manifests: tuple[str, ...] = ()
    """Paths of the manifests: read-only inside every pod."""
    base_dir: str = "/"
    """Where relative working directories start, and the default one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Given to every workload (PATH, HOME, LANG); its own `env` wins."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Service (`ns/name`) → virtual address that it had: kept."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """The two documents that the node needs."""

    snapshot: Snapshot
    plan: Plan


def compile_mesh(resources: Iterable[Resource], facts: Facts) -> Compiled | list[Problem]:
    """Resolves every reference. The same for any order of resources."""
    raise NotImplementedError
