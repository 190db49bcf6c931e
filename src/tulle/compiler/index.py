"""The resources by kind and name, and which workloads stand behind which service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tulle.model.names import ROOT_NAMESPACE
from tulle.model.place import Problem
from tulle.model.resources import (
    AuthorizationPolicy,
    HTTPRoute,
    Mesh,
    MeshSpec,
    Metadata,
    Resource,
    Service,
    TCPRoute,
    Workload,
)

DEFAULT_MESH = Mesh(metadata=Metadata(name="default"), spec=MeshSpec(trust_domain="cluster.local"))
"""What a directory of resources without a Mesh means: as on a cluster."""

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Index:
    """All resources, by `namespace/name`, in the order of names."""

    mesh: Mesh
    services: Mapping[str, Service]
    workloads: Mapping[str, Workload]
    http_routes: Mapping[str, HTTPRoute]
    tcp_routes: Mapping[str, TCPRoute]
    policies: Mapping[str, AuthorizationPolicy]
    members: Mapping[str, tuple[str, ...]]
    """Service → the workloads that its selector matches."""
    primary: Mapping[str, str]
    """Workload → the service it stands for in metrics: the one with the widest selector. Absent without a service."""
    selected: Mapping[str, frozenset[str]]
    """Policy → the workloads it selects."""
    attached: Mapping[str, tuple[str, ...]]
    """Service → the policies that guard it."""

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> "tuple[Index, list[Problem]]":
        """The index, and the resources that are there twice."""
        problems: list[Problem] = []
        ordered = sorted(resources, key=lambda one: (one.place, one.qualified))
        meshes = [one for one in ordered if isinstance(one, Mesh)]
        problems.extend(_twice(one, meshes[0], "a mesh has one Mesh") for one in meshes[1:])
        services = _by_name(ordered, Service, problems)
        workloads = _by_name(ordered, Workload, problems)
        policies = _by_name(ordered, AuthorizationPolicy, problems)
        members = {name: _members(service, workloads) for name, service in services.items()}
        selected = {name: _selected(policy, workloads) for name, policy in policies.items()}
        return cls(
            mesh=meshes[0] if meshes else DEFAULT_MESH,
            services=services,
            workloads=workloads,
            http_routes=_by_name(ordered, HTTPRoute, problems),
            tcp_routes=_by_name(ordered, TCPRoute, problems),
            policies=policies,
            members=members,
            primary=_primaries(services, members),
            selected=selected,
            attached={
                name: tuple(one for one in policies if _guards(policies[one], selected[one], service, members[name]))
                for name, service in services.items()
            },
        ), problems

    def principal(self, workload: Workload) -> str:
        """Its identity, as policies write it."""
        return f"{self.mesh.spec.trust_domain}/ns/{workload.metadata.namespace}/sa/{workload.service_account}"


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


def _matches(selector: Mapping[str, str], workload: Workload) -> bool:
    return all(workload.spec.labels.get(label) == value for label, value in selector.items())


def _members(service: Service, workloads: Mapping[str, Workload]) -> tuple[str, ...]:
    selector = service.spec.selector
    return tuple(
        name
        for name, one in workloads.items()
        if selector and one.metadata.namespace == service.metadata.namespace and _matches(selector, one)
    )


def _primaries(services: Mapping[str, Service], members: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    widest = sorted(services, key=lambda name: (len(services[name].spec.selector), name))
    primary: dict[str, str] = {}
    for service in widest:
        for workload in members[service]:
            primary.setdefault(workload, service)
    return primary


def in_scope(policy: AuthorizationPolicy, namespace: str) -> bool:
    """The policy may hold in this namespace."""
    return policy.metadata.namespace in {namespace, ROOT_NAMESPACE}


def _selected(policy: AuthorizationPolicy, workloads: Mapping[str, Workload]) -> frozenset[str]:
    labels = policy.spec.selector.match_labels if policy.spec.selector else {}
    return frozenset(
        name for name, one in workloads.items() if in_scope(policy, one.metadata.namespace) and _matches(labels, one)
    )


def _guards(policy: AuthorizationPolicy, selected: frozenset[str], service: Service, members: tuple[str, ...]) -> bool:
    if not in_scope(policy, service.metadata.namespace):
        return False
    return policy.spec.selector is None or (bool(members) and selected.issuperset(members))
