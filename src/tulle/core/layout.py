"""One part of a snapshot laid out: a caller, a backend, a service with its routes and who may call it."""

from sys import intern

from tulle.core.authz import AuthzTable, PolicyStore
from tulle.core.backends import BackendTable, EndpointRef, RouteTable
from tulle.core.generation import ServicePortTable, ServiceTable, Tables
from tulle.core.patterns import ValueSet
from tulle.core.policies import CallerRef
from tulle.core.route_index import RouteIndex
from tulle.wire.snapshot import (
    AttachedEndpoint,
    Backend,
    Caller,
    HostEndpoint,
    PodEndpoint,
    Route,
    Service,
    ServicePort,
    WeightedBackend,
)


class InconsistentSnapshot(ValueError):
    """A snapshot that names what it does not hold, or holds a name twice; the text says which. Nothing is applied."""


def authz_of(
    service: Service, store: PolicyStore, places: dict[str, int], shared: dict[frozenset[str], AuthzTable]
) -> AuthzTable:
    """The policies that guard a service; `places`: of all by name, `shared`: what others were given."""
    names = frozenset(service.policies)
    found = shared.get(names)
    if found is None:
        for name in names:
            refuse(name not in places, f"service {service.name} names policy {name}, which is not there")
        found = shared[names] = AuthzTable(store, [places[name] for name in sorted(names)])
    return found


def service_of(service: Service, tables: Tables, authz: AuthzTable) -> ServiceTable:
    """Its ports, with routes to backends that are in `tables`."""
    named: dict[str, BackendTable] = {}
    ports = [_port(tables, service, port, authz, named) for port in service.ports]
    return ServiceTable(ports, list(named.values()))


def _port(
    tables: Tables, service: Service, port: ServicePort, authz: AuthzTable, named: dict[str, BackendTable]
) -> ServicePortTable:
    place = f"service {service.name}:{port.port}"
    name = intern(service.name)
    opaque = _route(tables, place, name, port.backends, named)
    routes: list[tuple[Route, RouteTable]] = []
    for route in port.routes:
        is_usual = route.name == name and route.backends == port.backends
        table = opaque if is_usual else _route(tables, place, intern(route.name), route.backends, named)
        routes.append((route, table))
    return ServicePortTable(
        name, service.address, port.port, port.target_port, port.protocol, RouteIndex(routes), opaque, authz
    )


def _route(
    tables: Tables, place: str, name: str, shares: tuple[WeightedBackend, ...], named: dict[str, BackendTable]
) -> RouteTable:
    pairs: list[tuple[BackendTable, int]] = []
    for share in shares:
        backend = tables.backends.get(share.backend)
        if backend is None:
            raise InconsistentSnapshot(f"{place}: route {name} names backend {share.backend}, which is not there")
        refuse(share.weight < 0, f"{place}: route {name} gives {share.backend} a negative weight")
        pairs.append((backend, share.weight))
        named[share.backend] = backend
    return RouteTable(name, pairs)


def backend_of(backend: Backend, tables: Tables, old: Tables) -> BackendTable:
    """With the endpoints of `old` where it had them; `tables` has them then, too."""
    endpoints = [_endpoint(endpoint, tables, old) for endpoint in backend.endpoints]
    return BackendTable(
        intern(backend.name), intern(backend.service), intern(backend.version), endpoints, backend.protocol
    )


def _endpoint(endpoint: PodEndpoint | HostEndpoint | AttachedEndpoint, tables: Tables, old: Tables) -> EndpointRef:
    workload = intern(endpoint.workload)
    pod = workload if isinstance(endpoint, PodEndpoint) else ""
    host = endpoint.host if isinstance(endpoint, HostEndpoint) else ""
    key = (workload, pod, host, endpoint.port)
    found = tables.endpoints.get(key)
    if found is None:
        found = old.endpoints.get(key) or EndpointRef(workload, pod, host, endpoint.port)
        keep(found, tables)
    return found


def keep(endpoint: EndpointRef, tables: Tables) -> None:
    """Has `tables` know an endpoint, unless they do."""
    key = (endpoint.workload, endpoint.pod, endpoint.host, endpoint.port)
    if key not in tables.endpoints:
        tables.endpoints[key] = endpoint
        if endpoint.pod:
            tables.pods.setdefault(endpoint.pod, []).append(endpoint)


def caller_of(caller: Caller) -> CallerRef:
    """Who calls from a pod."""
    calls = None if caller.calls is None else ValueSet(caller.calls)
    return CallerRef(
        intern(caller.pod), intern(caller.principal), intern(caller.namespace), intern(caller.service), calls
    )


def refuse(wrong: bool, text: str) -> None:
    """Raises InconsistentSnapshot where something is wrong."""
    if wrong:
        raise InconsistentSnapshot(text)
