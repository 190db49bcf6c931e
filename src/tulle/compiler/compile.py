"""Resources and facts → Snapshot and Plan, or every problem."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tulle.compiler.access import callers, policies
from tulle.compiler.accounts import access_log, spec_of, tracing
from tulle.compiler.address import addresses
from tulle.compiler.index import Index
from tulle.compiler.plan import attached, hosts, pods
from tulle.compiler.references import faults
from tulle.compiler.routing import backends, doors, services
from tulle.compiler.sinks import sinks
from tulle.kit.collector import no_collection
from tulle.model.place import Problem, in_order
from tulle.model.resource import Resource
from tulle.wire.plan import Plan
from tulle.wire.sinks import Sinks
from tulle.wire.snapshot import Mode, Snapshot


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
    """The documents that the node needs."""

    snapshot: Snapshot
    plan: Plan
    sinks: Sinks


@no_collection()
def compile_mesh(resources: Iterable[Resource], facts: Facts) -> Compiled | list[Problem]:
    """Resolves every reference. The same for any order of resources and files."""
    index, twice = Index.of(resources)
    problems = [*twice, *faults(index)]
    if problems:
        return in_order(problems)
    mesh, addressed = index.mesh, addresses(index.services, facts.addresses)
    dialled, opened = services(index, addressed), doors(index)
    snapshot = Snapshot(
        generation=facts.generation,
        mesh=str(mesh.metadata.name),
        trust_domain=str(mesh.spec.trust_domain),
        mode=Mode(mesh.spec.mode.value),
        callers=callers(index),
        services=dialled,
        backends=backends(index, dialled),
        policies=policies(index),
        doors=opened,
        access_log=access_log(index.telemetry),
        tracing=tracing(index.telemetry),
    )
    kept = spec_of(index.telemetry).access_log
    plan = Plan(
        generation=facts.generation,
        pods=pods(index, facts.base_dir, facts.environment),
        hosts=hosts(index, addressed),
        doors=[door.port for door in opened],
        protected=sorted(set(facts.manifests)),
        attached=attached(index),
        addresses=[f"{service.address}:{port.port}" for service in dialled for port in service.ports],
        access_log_bytes=kept.max_bytes,
        access_log_files=kept.files,
    )
    return Compiled(snapshot, plan, sinks(index.telemetry, facts.base_dir))
