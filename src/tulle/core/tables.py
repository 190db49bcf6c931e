"""A snapshot laid out for look-ups: what the proxy holds, one generation at a time.

Done in pieces, since a large mesh takes a tenth of a second, and beside the generation before, of which it takes over what
came in the same octets. The rules of a policy are checked here and laid out when a caller first needs them.
"""

from collections.abc import Generator
from sys import intern
from typing import Final

import msgspec

from tulle.core.authz import AuthzTable, PolicyStore
from tulle.core.backends import BackendTable, EndpointRef, RouteTable
from tulle.core.generation import Parts, ServicePortTable, ServiceTable, Tables
from tulle.core.patterns import ValueSet
from tulle.core.policies import ANONYMOUS, CallerRef, PolicyTable
from tulle.core.route_index import RouteIndex
from tulle.wire.outline import (
    BACKENDS,
    CALLERS,
    POLICIES,
    SERVICES,
    encode_whole,
    fault_of,
    outline,
    without_parts,
)
from tulle.wire.snapshot import (
    SCHEMA_VERSION,
    AttachedEndpoint,
    Backend,
    Caller,
    HostEndpoint,
    PodEndpoint,
    Route,
    Service,
    ServicePort,
    Snapshot,
    WeightedBackend,
    encode_snapshot,
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
    "lay_out",
    "let_go",
    "text_of",
]

SMALL: Final = 64
"""Policies, callers and backends that are looked at in one piece: a few microseconds each."""
LARGE: Final = 8
"""Services that are laid out in one piece: some tens of microseconds each."""
MANY: Final = 100
"""Policies of one service that no first request is to wait for."""


class InconsistentSnapshot(ValueError):
    """A snapshot that names what it does not hold, or holds a name twice; the text says which. Nothing is applied."""


def build_tables(snapshot: Snapshot, previous: Tables | None = None) -> Tables:
    """`lay_out`, in one go. Raises InconsistentSnapshot."""
    making = lay_out(encode_snapshot(snapshot), previous)
    while True:
        try:
            next(making)
        except StopIteration as made:
            tables: Tables = made.value
            return tables


def lay_out(text: bytes, previous: Tables | None = None) -> Generator[None, None, Tables]:
    """Decodes and lays out a snapshot, a bounded piece of it each time it is asked to go on; returns the tables.

    Endpoints that `previous` had are the same objects, with their state; so is what is made of parts that did not change.
    Raises msgspec.MsgspecError or UnicodeDecodeError as `decode_snapshot` does, and InconsistentSnapshot.
    """
    try:
        found = outline(text)
        if found.schema_version != SCHEMA_VERSION:
            raise InconsistentSnapshot(f"schema_version {found.schema_version} is not {SCHEMA_VERSION}")
        tables = Tables(without_parts(found), Parts())
        yield
        yield from tables.parts.fill(found)
        doors = found.doors
        del found  # the raw parts have done their duty, and would lie between what stays
        yield from _backends(tables, previous)
        yield from _callers(tables, previous)
        places: dict[str, int] = {}
        yield from _policies(tables.parts.policies, places, previous)
        yield from _services(tables, places, previous)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as fault:
        raise fault_of(text, fault) from fault
    for door in doors:
        target = tables.by_name.get((door.service, door.service_port))
        where = f"{door.service}:{door.service_port}"
        if target is None:
            raise InconsistentSnapshot(f"door {door.port} leads to {where}, which is not there")
        _refuse(door.port in tables.doors, f"door {door.port} is there twice")
        tables.doors[door.port] = target
    yield from _prepare_for_callers(tables, previous)
    return tables


def text_of(tables: Tables) -> bytes:
    """The document that the tables were laid out from."""
    parts = tables.parts
    return encode_whole(tables.outline, parts.callers, parts.services, parts.backends, parts.policies.section)


def let_go(tables: Tables) -> Generator[None, None, None]:
    """Frees what a generation that is no longer in force leaves, a piece at a time. What is still served keeps what it needs."""
    parts = tables.parts
    return _free([*parts.policies.made.values(), *parts.made_services, *tables.by_name.values()])


def _free(leaving: list[object]) -> Generator[None, None, None]:
    while leaving:
        del leaving[-LARGE:]
        yield


def _backends(tables: Tables, previous: Tables | None) -> Generator[None, None, None]:
    before: dict[bytes, BackendTable] = {}
    if previous is not None:
        old = previous.parts
        for index, made in enumerate(old.made_backends):
            if index % SMALL == 0:
                yield
            before[old.backends.octets(index)] = made
    section = tables.parts.backends
    for index in range(len(section)):
        if index % SMALL == 0:
            yield
        octets = section.octets(index)
        backend = before.get(octets)
        if backend is None:
            backend = _backend(BACKENDS.decode(octets, index), tables, previous)
        else:
            for endpoint in backend.endpoints:
                _keep(endpoint, tables)
        _refuse(backend.name in tables.backends, f"backend {backend.name} is there twice")
        tables.backends[backend.name] = backend
        tables.parts.made_backends.append(backend)


def _callers(tables: Tables, previous: Tables | None) -> Generator[None, None, None]:
    before: dict[bytes, CallerRef] = {}
    if previous is not None:
        old = previous.parts
        for index, made in enumerate(old.made_callers):
            if index % SMALL == 0:
                yield
            before[old.callers.octets(index)] = made
    section = tables.parts.callers
    for index in range(len(section)):
        if index % SMALL == 0:
            yield
        octets = section.octets(index)
        caller = before.get(octets)
        if caller is None:
            caller = _caller(CALLERS.decode(octets, index))
        _refuse(caller.pod in tables.callers, f"pod {caller.pod} is there twice")
        tables.callers[caller.pod] = caller
        tables.parts.made_callers.append(caller)


def _policies(store: PolicyStore, places: dict[str, int], previous: Tables | None) -> Generator[None, None, None]:
    """Checks all, and fills in where each is by name. Those that were laid out and did not change are so again."""
    before: dict[bytes, PolicyTable] = {}
    if previous is not None:
        old = previous.parts.policies
        for index in list(old.made):
            if len(before) % SMALL == 0:
                yield
            before[old.section.octets(index)] = old.made[index]
    section = store.section
    for index in range(len(section)):
        if index % SMALL == 0:
            yield
        octets = section.octets(index)
        made = before.get(octets) if before else None
        if made is None:
            name = POLICIES.decode(octets, index).name
        else:
            name = made.name
            store.made[index] = made
        _refuse(name in places, f"policy {name} is there twice")
        places[name] = index


def _services(tables: Tables, places: dict[str, int], previous: Tables | None) -> Generator[None, None, None]:
    before: dict[bytes, ServiceTable] = {}
    if previous is not None:
        old = previous.parts
        for index, made in enumerate(old.made_services):
            if index % SMALL == 0:
                yield
            before[old.services.octets(index)] = made
    shared: dict[frozenset[str], AuthzTable] = {}
    section = tables.parts.services
    for index in range(len(section)):
        if index % LARGE == 0:
            yield
        octets = section.octets(index)
        document = SERVICES.decode(octets, index)
        authz = _authz(document, tables.parts.policies, places, shared)
        kept = before.get(octets)
        if kept is not None and kept.holds(tables.backends):
            service = ServiceTable([port.under(authz) for port in kept.ports], kept.backends)
        else:
            service = _service(document, tables, authz)
        for port in service.ports:
            place = f"service {port.service}:{port.port}"
            _refuse((port.service, port.port) in tables.by_name, f"{place} is there twice")
            _refuse((port.address, port.port) in tables.by_address, f"{place}: {port.address} is another's")
            tables.by_name[(port.service, port.port)] = port
            tables.by_address[(port.address, port.port)] = port
        tables.parts.made_services.append(service)


def _prepare_for_callers(tables: Tables, previous: Tables | None) -> Generator[None, None, None]:
    """Lays out the policies of the ports that are called now, and where there are many, so that no request has to wait for it."""
    before = previous.by_name if previous is not None else {}
    for number, (name, port) in enumerate(tables.by_name.items()):
        if number % SMALL == 0:
            yield
        old = before.get(name)
        if len(port.authz.places) >= MANY or (old is not None and old.plans):
            yield from port.authz.preparing()


def _authz(
    service: Service, store: PolicyStore, places: dict[str, int], shared: dict[frozenset[str], AuthzTable]
) -> AuthzTable:
    names = frozenset(service.policies)
    found = shared.get(names)
    if found is None:
        for name in names:
            _refuse(name not in places, f"service {service.name} names policy {name}, which is not there")
        found = shared[names] = AuthzTable(store, [places[name] for name in sorted(names)])
    return found


def _service(service: Service, tables: Tables, authz: AuthzTable) -> ServiceTable:
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
        _refuse(share.weight < 0, f"{place}: route {name} gives {share.backend} a negative weight")
        pairs.append((backend, share.weight))
        named[share.backend] = backend
    return RouteTable(name, pairs)


def _backend(backend: Backend, tables: Tables, previous: Tables | None) -> BackendTable:
    endpoints = [_endpoint(endpoint, tables, previous) for endpoint in backend.endpoints]
    return BackendTable(
        intern(backend.name), intern(backend.service), intern(backend.version), endpoints, backend.protocol
    )


def _endpoint(
    endpoint: PodEndpoint | HostEndpoint | AttachedEndpoint, tables: Tables, previous: Tables | None
) -> EndpointRef:
    workload = intern(endpoint.workload)
    pod = workload if isinstance(endpoint, PodEndpoint) else ""
    host = endpoint.host if isinstance(endpoint, HostEndpoint) else ""
    key = (workload, pod, host, endpoint.port)
    found = tables.endpoints.get(key)
    if found is None:
        found = previous.endpoints.get(key) if previous is not None else None
        if found is None:
            found = EndpointRef(workload, pod, host, endpoint.port)
        _keep(found, tables)
    return found


def _keep(endpoint: EndpointRef, tables: Tables) -> None:
    key = (endpoint.workload, endpoint.pod, endpoint.host, endpoint.port)
    if key not in tables.endpoints:
        tables.endpoints[key] = endpoint
        if endpoint.pod:
            tables.pods.setdefault(endpoint.pod, []).append(endpoint)


def _caller(caller: Caller) -> CallerRef:
    calls = None if caller.calls is None else ValueSet(caller.calls)
    return CallerRef(
        intern(caller.pod), intern(caller.principal), intern(caller.namespace), intern(caller.service), calls
    )


def _refuse(wrong: bool, text: str) -> None:
    if wrong:
        raise InconsistentSnapshot(text)
