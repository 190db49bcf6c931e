"""Manifests → what the node would serve. Pure but for the environment it is given."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from tulle.compiler import Facts, compile_mesh
from tulle.manifest import Loaded
from tulle.model.place import Place, Problem
from tulle.wire.plan import Plan, encode
from tulle.wire.sinks import Sinks, encode_sinks
from tulle.wire.snapshot import Snapshot, encode_snapshot
from tulle.wire.status import Change


@dataclass(frozen=True, slots=True)
class Ground:
    """What the node knows before it reads a manifest."""

    mesh: str
    manifests: tuple[str, ...]
    """Absolute paths: read-only inside every pod."""
    base_dir: str
    """Where relative working directories start."""
    environment: Mapping[str, str]
    """Given to every workload."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate as it is kept and sent, or why there is none. Plain: it may come from another process."""

    problems: list[Problem] = []
    """With any, nothing else is said."""
    generation: int = 0
    digest: str = ""
    files: dict[str, str] = {}
    snapshot: bytes = b""
    plan: bytes = b""
    sinks: bytes = b""
    changes: tuple[Change, ...] = ()
    """To what ran when it was prepared."""
    doors: dict[int, Place] = {}
    """Where each port of the box is asked for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mesh that compiles."""

    files: Mapping[str, str]
    snapshot: Snapshot
    plan: Plan
    sinks: Sinks = field(default_factory=Sinks)

    @property
    def digest(self) -> str:
        """Equal for what would serve equally: the generation does not count."""
        snapshot = msgspec.structs.replace(self.snapshot, generation=0)
        whole = hashlib.sha256(msgspec.json.encode(snapshot, order="deterministic"))
        whole.update(encode(self.plan._replace(generation=0)))
        whole.update(encode_sinks(self.sinks))
        return whole.hexdigest()

    def encoded(self) -> Prepared:
        """All that is needed to serve it; nothing of what it changes."""
        return Prepared(
            generation=self.snapshot.generation,
            digest=self.digest,
            files=dict(self.files),
            snapshot=encode_snapshot(self.snapshot),
            plan=encode(self.plan),
            sinks=encode_sinks(self.sinks),
        )


def candidate(loaded: Loaded, ground: Ground, generation: int, before: Snapshot | None) -> Candidate | list[Problem]:
    """Compiles; services that were there `before` keep their virtual addresses."""
    facts = Facts(
        generation=generation,
        manifests=ground.manifests,
        base_dir=ground.base_dir,
        environment=ground.environment,
        addresses={service.name: service.address for service in before.services} if before else {},
    )
    compiled = compile_mesh(loaded.resources, facts)
    if isinstance(compiled, list):
        return compiled
    if compiled.snapshot.mesh != ground.mesh:
        return [
            Problem(
                "mesh-renamed",
                f"the mesh runs as `{ground.mesh}`, not `{compiled.snapshot.mesh}`",
                hint="a mesh keeps its name while it runs: `tulle down`, then `tulle up`",
            )
        ]
    return Candidate(loaded.sources, compiled.snapshot, compiled.plan, compiled.sinks)
