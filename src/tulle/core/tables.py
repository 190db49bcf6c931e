"""A snapshot laid out for look-ups: what the proxy holds, one generation at a time."""

from typing import final

from tulle.core.backends import BackendTable, EndpointRef, RouteTable
from tulle.core.patterns import ValueSet
from tulle.core.policies import ANONYMOUS, AuthzTable, CallerPlan, CallerRef, PolicyTable
from tulle.core.route_index import RouteIndex
from tulle.wire.snapshot import (
    SCHEMA_VERSION,
    AttachedEndpoint,
    Backend,
    Caller,
    HostEndpoint,
    Limits,
    Mode,
    PodEndpoint,
    Protocol,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
)

__all__ = [
    "ANONYMOUS",
    "AuthzTable",
    "BackendTable",
    "CallerRef",
    "EndpointRef",
    "InconsistentSnapshot",
    "RouteTable",
    "ServicePortTable",
    "Tables",
    "build_tables",
]


class InconsistentSnapshot(ValueError):
    """A snapshot that names what it does not hold, or holds a name twice; the text says which. Nothing is applied."""


@final
class ServicePortTable:
    """A port of a service: how it is routed and who may call it."""

    __slots__ = ("address", "authz", "opaque", "plans", "port", "protocol", "routes", "service", "target_port")

    def __init__(
        self, service: Service, port: ServicePort, routes: RouteIndex, opaque: RouteTable, authz: AuthzTable
    ) -> None:
        self.service: str = service.name
        """`namespace/service`."""
        self.address: str = service.address
        self.port: int = port.port
        self.target_port: int = port.target_port
        self.protocol: Protocol = port.protocol
        self.routes: RouteIndex = routes
        """For `match_route`."""
        self.opaque: RouteTable = opaque
        """Where opaque TCP goes; named like the service."""
        self.authz: AuthzTable = authz
        self.plans: dict[CallerRef, CallerPlan] = {}
        """`judge` fills it, within a bound."""

    def __repr__(self) -> str:
        return f"ServicePortTable({self.service}:{self.port})"


@final
class Tables:
    """One generation. Replaced whole; requests in flight keep the one they began with."""

    __slots__ = (
        "backends",
        "by_address",
        "by_name",
        "callers",
        "doors",
        "endpoints",
        "generation",
        "limits",
        "mode",
        "pods",
        "shadow",
    )

    def __init__(self, generation: int, mode: Mode, limits: Limits) -> None:
        self.generation: int = generation
        self.mode: Mode = mode
        self.shadow: bool = mode is Mode.SHADOW
        """Denials are counted, not enforced."""
        self.limits: Limits = limits
        """A document: read what is needed once per generation."""
        self.by_address: dict[tuple[str, int], ServicePortTable] = {}
        """By virtual address and port, as SO_ORIGINAL_DST gives them."""
        self.by_name: dict[tuple[str, int], ServicePortTable] = {}
        """By `namespace/service` and port."""
        self.doors: dict[int, ServicePortTable] = {}
        """By port of the host."""
        self.callers: dict[str, CallerRef] = {}
        """By pod; whoever is not here is ANONYMOUS."""
        self.backends: dict[str, BackendTable] = {}
        self.endpoints: dict[tuple[str, str, str, int], EndpointRef] = {}
        """By workload, pod, host and port."""
        self.pods: dict[str, list[EndpointRef]] = {}
        """The endpoints inside a pod, to mark ready or unready together."""


def build_tables(snapshot: Snapshot, previous: Tables | None = None) -> Tables:
    """Lays out a snapshot; endpoints that `previous` had are the same objects, with their state.

    Raises InconsistentSnapshot.
    """
    if snapshot.schema_version != SCHEMA_VERSION:
        raise InconsistentSnapshot(f"schema_version {snapshot.schema_version} is not {SCHEMA_VERSION}")
    tables = Tables(snapshot.generation, snapshot.mode, snapshot.limits)
    for backend in snapshot.backends:
        _refuse(backend.name in tables.backends, f"backend {backend.name} is there twice")
        tables.backends[backend.name] = _backend(backend, tables, previous)
    for caller in snapshot.callers:
        _refuse(caller.pod in tables.callers, f"pod {caller.pod} is there twice")
        tables.callers[caller.pod] = _caller(caller)
    policies: dict[str, PolicyTable] = {}
    for policy in snapshot.policies:
        _refuse(policy.name in policies, f"policy {policy.name} is there twice")
        policies[policy.name] = PolicyTable(policy)
    shared: dict[frozenset[str], AuthzTable] = {}
    for service in snapshot.services:
        names = frozenset(service.policies)
        authz = shared.get(names)
        if authz is None:
            for name in names:
                _refuse(name not in policies, f"service {service.name} names policy {name}, which is not there")
            authz = shared[names] = AuthzTable([policies[name] for name in names])
        for port in service.ports:
            _add_port(tables, service, port, authz)
    for door in snapshot.doors:
        target = tables.by_name.get((door.service, door.service_port))
        where = f"{door.service}:{door.service_port}"
        if target is None:
            raise InconsistentSnapshot(f"door {door.port} leads to {where}, which is not there")
        _refuse(door.port in tables.doors, f"door {door.port} is there twice")
        tables.doors[door.port] = target
    return tables


def _add_port(tables: Tables, service: Service, port: ServicePort, authz: AuthzTable) -> None:
    place = f"service {service.name}:{port.port}"
    _refuse((service.name, port.port) in tables.by_name, f"{place} is there twice")
    _refuse((service.address, port.port) in tables.by_address, f"{place}: {service.address} is another's")
    routes = RouteIndex([(route, _route(tables, place, route.name, route.backends)) for route in port.routes])
    opaque = _route(tables, place, service.name, port.backends)
    table = ServicePortTable(service, port, routes, opaque, authz)
    tables.by_name[(service.name, port.port)] = table
    tables.by_address[(service.address, port.port)] = table


def _route(tables: Tables, place: str, name: str, shares: tuple[WeightedBackend, ...]) -> RouteTable:
    pairs: list[tuple[BackendTable, int]] = []
    for share in shares:
        backend = tables.backends.get(share.backend)
        if backend is None:
            raise InconsistentSnapshot(f"{place}: route {name} names backend {share.backend}, which is not there")
        _refuse(share.weight < 0, f"{place}: route {name} gives {share.backend} a negative weight")
        pairs.append((backend, share.weight))
    return RouteTable(name, pairs)


def _backend(backend: Backend, tables: Tables, previous: Tables | None) -> BackendTable:
    endpoints = [_endpoint(endpoint, tables, previous) for endpoint in backend.endpoints]
    return BackendTable(backend.name, backend.service, backend.version, endpoints, backend.protocol)


def _endpoint(
    endpoint: PodEndpoint | HostEndpoint | AttachedEndpoint, tables: Tables, previous: Tables | None
) -> EndpointRef:
    pod = endpoint.workload if isinstance(endpoint, PodEndpoint) else ""
    host = endpoint.host if isinstance(endpoint, HostEndpoint) else ""
    key = (endpoint.workload, pod, host, endpoint.port)
    found = tables.endpoints.get(key)
    if found is None:
        found = previous.endpoints.get(key) if previous is not None else None
        if found is None:
            found = EndpointRef(endpoint.workload, pod, host, endpoint.port)
        tables.endpoints[key] = found
        if pod:
            tables.pods.setdefault(pod, []).append(found)
    return found


def _caller(caller: Caller) -> CallerRef:
    calls = None if caller.calls is None else ValueSet(caller.calls)
    return CallerRef(caller.pod, caller.principal, caller.namespace, caller.service, calls)


def _refuse(wrong: bool, text: str) -> None:
    if wrong:
        raise InconsistentSnapshot(text)
