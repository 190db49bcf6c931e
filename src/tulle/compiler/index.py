"""The resources by kind and name, and which workloads stand behind which service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tulle.compiler.ports import resolved
from tulle.compiler.selection import Labels, members, primaries, reached, selected
from tulle.model.names import SpiffeId
from tulle.model.place import Problem
from tulle.model.resource import Metadata, Resource
from tulle.model.resources import AuthorizationPolicy, HTTPRoute, Mesh, MeshSpec, Service, TCPRoute
from tulle.model.telemetry import Telemetry
from tulle.model.unread import NOTHING_UNREAD, Unread
from tulle.model.workloads import Workload

DEFAULT_MESH = Mesh(metadata=Metadata(name="default"), spec=MeshSpec(trust_domain="cluster.local"))
"""What a directory of resources without a Mesh means: as on a cluster."""

R = TypeVar("R", bound=Resource)
Route = TypeVar("Route", HTTPRoute, TCPRoute)


@dataclass(frozen=True, slots=True)
class Index:
    """All resources, by `namespace/name`, in the order of names."""

    mesh: Mesh
    telemetry: Telemetry | None
    services: Mapping[str, Service]
    workloads: Mapping[str, Workload]
    http_routes: Mapping[str, HTTPRoute]
    tcp_routes: Mapping[str, TCPRoute]
    policies: Mapping[str, AuthorizationPolicy]
    accounts: Mapping[str, bool]
    """`namespace/service account` → whether the mesh recognises any workload that has it."""
    members: Mapping[str, tuple[str, ...]]
    """Service → the workloads that its selector matches."""
    primary: Mapping[str, str]
    """Workload → the service it stands for in metrics: the one with the widest selector. Absent without a service."""
    selected: Mapping[str, frozenset[str]]
    """Policy → the workloads it selects."""
    attached: Mapping[str, tuple[str, ...]]
    """Service → the policies that guard it."""
    split: Mapping[str, list[str]]
    """Policy → the services of which it selects a part; the rest would lead round it."""
    http_routes_of: Mapping[str, tuple[HTTPRoute, ...]]
    tcp_routes_of: Mapping[str, tuple[TCPRoute, ...]]
    """Service → the routes for it, by name."""
    unread: Unread
    """What was declared besides; nothing when these resources are all."""

    @classmethod
    def of(cls, resources: Iterable[Resource], unread: Unread = NOTHING_UNREAD) -> "tuple[Index, list[Problem]]":
        """The index, the resources that are there twice, and the named ports that are nowhere."""
        problems: list[Problem] = []
        ordered = sorted(resources, key=lambda one: (one.place, type(one).__name__, one.qualified))
        meshes = [one for one in ordered if isinstance(one, Mesh)]
        problems.extend(_twice(one, meshes[0], "a mesh has one Mesh") for one in meshes[1:])
        leaving = [one for one in ordered if isinstance(one, Telemetry)]
        problems.extend(_twice(one, leaving[0], "a mesh has one Telemetry") for one in leaving[1:])
        services = _by_name(ordered, Service, problems)
        workloads = _by_name(ordered, Workload, problems)
        policies = _by_name(ordered, AuthorizationPolicy, problems)
        http, tcp = _by_name(ordered, HTTPRoute, problems), _by_name(ordered, TCPRoute, problems)
        labels = Labels(workloads)
        behind, chosen = members(services, labels), selected(policies, labels)
        services = resolved(services, behind, workloads, unread, problems)
        guards, split = reached(policies, chosen, behind)
        return cls(
            mesh=meshes[0] if meshes else DEFAULT_MESH,
            telemetry=leaving[0] if leaving else None,
            services=services,
            workloads=workloads,
            http_routes=http,
            tcp_routes=tcp,
            policies=policies,
            accounts=_accounts(workloads),
            members=behind,
            primary=primaries(services, behind),
            selected=chosen,
            attached={name: tuple(some) for name, some in guards.items()},
            split=split,
            http_routes_of=_routed(http.values()),
            tcp_routes_of=_routed(tcp.values()),
            unread=unread,
        ), problems

    def principal(self, workload: Workload) -> str:
        """Its identity, as policies write it."""
        return SpiffeId.of(self.mesh.spec.trust_domain, workload.metadata.namespace, workload.service_account).principal


def _by_name(resources: Iterable[Resource], kind: type[R], problems: list[Problem]) -> dict[str, R]:
    found: dict[str, R] = {}
    for one in resources:
        if not isinstance(one, kind):
            continue
        first = found.setdefault(one.qualified, one)
        said = {(known.file, known.line) for known in problems}  # what is written once may be several resources
        if first is not one and (one.place.file, one.place.line) not in said:
            problems.append(_twice(one, first, f"{kind.__name__} `{one.qualified}` is declared twice"))
    return dict(sorted(found.items()))


def _twice(second: Resource, first: Resource, message: str) -> Problem:
    return Problem.at(
        second.place, "duplicate-resource", message, f"first at {first.place}" if first.place.file else ""
    )


def _accounts(workloads: Mapping[str, Workload]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for one in workloads.values():
        account = f"{one.metadata.namespace}/{one.service_account}"
        found[account] = found.get(account, False) or one.attested
    return found


def _routed(routes: Iterable[Route]) -> dict[str, tuple[Route, ...]]:
    found: dict[str, list[Route]] = {}
    for route in routes:
        for parent in {f"{route.metadata.namespace}/{ref.name}" for ref in route.spec.parent_refs}:
            found.setdefault(parent, []).append(route)
    return {name: tuple(some) for name, some in found.items()}
