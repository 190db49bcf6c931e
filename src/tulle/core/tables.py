"""A snapshot laid out for look-ups: what the proxy holds, one generation at a time.

Done in pieces, since a large mesh takes a tenth of a second, and beside the generation before, of which it takes over what
came in the same octets. The rules of a policy are checked here and laid out when a caller first needs them.
"""

from collections.abc import Generator
from typing import Final

import msgspec

from tulle.core.backends import BackendTable, EndpointRef, RouteTable
from tulle.core.generation import Parts, ServicePortTable, ServiceTable, Tables
from tulle.core.patterns import ValueSet
from tulle.core.policies import ANONYMOUS, AuthzTable, CallerRef, PolicyTable
from tulle.core.route_index import RouteIndex
from tulle.wire.outline import (
    BACKENDS,
    CALLERS,
    POLICIES,
    SERVICES,
    Outline,
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
"""Services, and policies laid out, in one piece: some tens of microseconds each."""


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
        tables = Tables(without_parts(found))
        yield from _backends(found, tables, previous)
        yield from _callers(found, tables, previous)
        policies: dict[str, PolicyTable] = {}
        yield from _policies(found, tables, policies, previous)
        yield from _services(found, tables, policies, previous)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as fault:
        raise fault_of(text, fault) from fault
    for door in found.doors:
        target = tables.by_name.get((door.service, door.service_port))
        where = f"{door.service}:{door.service_port}"
        if target is None:
            raise InconsistentSnapshot(f"door {door.port} leads to {where}, which is not there")
        _refuse(door.port in tables.doors, f"door {door.port} is there twice")
        tables.doors[door.port] = target
    if previous is not None:
        yield from _prepare_for_callers(tables, previous)
    return tables


def text_of(tables: Tables) -> bytes:
    """The document that the tables were laid out from. Not once another generation has taken their place."""
    parts = tables.parts
    return encode_whole(tables.outline, parts.callers, parts.services, parts.backends, parts.policies)


def let_go(tables: Tables) -> Generator[None, None, None]:
    """Frees what a generation that is no longer in force leaves, a piece at a time. What is still served keeps what it needs."""
    parts = tables.parts
    tables.parts = Parts()
    leaving: list[object] = [*parts.policies.values(), *parts.services.values(), *tables.by_name.values()]
    del tables, parts
    yield
    while leaving:
        del leaving[-SMALL:]
        yield


def _backends(found: Outline, tables: Tables, previous: Tables | None) -> Generator[None, None, None]:
    before = previous.parts.backends if previous is not None else {}
    for index, raw in enumerate(found.backends):
        if index % SMALL == 0:
            yield
        octets = bytes(raw)
        backend = before.get(octets)
        if backend is None:
            document = BACKENDS.decode(octets, index)
            _refuse(document.name in tables.backends, f"backend {document.name} is there twice")
            backend = _backend(document, tables, previous)
        else:
            _refuse(backend.name in tables.backends, f"backend {backend.name} is there twice")
            for endpoint in backend.endpoints:
                _keep(endpoint, tables)
        tables.backends[backend.name] = tables.parts.backends[octets] = backend


def _callers(found: Outline, tables: Tables, previous: Tables | None) -> Generator[None, None, None]:
    before = previous.parts.callers if previous is not None else {}
    for index, raw in enumerate(found.callers):
        if index % SMALL == 0:
            yield
        octets = bytes(raw)
        caller = before.get(octets) or _caller(CALLERS.decode(octets, index))
        _refuse(caller.pod in tables.callers, f"pod {caller.pod} is there twice")
        tables.callers[caller.pod] = tables.parts.callers[octets] = caller


def _policies(
    found: Outline, tables: Tables, policies: dict[str, PolicyTable], previous: Tables | None
) -> Generator[None, None, None]:
    before = previous.parts.policies if previous is not None else {}
    parts = tables.parts.policies
    for index, raw in enumerate(found.policies):
        if index % SMALL == 0:
            yield
        octets = bytes(raw)
        policy = before.get(octets)
        if policy is None:
            policy = PolicyTable(octets, POLICIES.decode(octets, index))
        _refuse(policy.name in policies, f"policy {policy.name} is there twice")
        policies[policy.name] = parts[policy.text] = policy


def _services(
    found: Outline, tables: Tables, policies: dict[str, PolicyTable], previous: Tables | None
) -> Generator[None, None, None]:
    before = previous.parts.services if previous is not None else {}
    shared: dict[frozenset[str], AuthzTable] = {}
    for index, raw in enumerate(found.services):
        if index % LARGE == 0:
            yield
        octets = bytes(raw)
        kept = before.get(octets)
        if kept is not None and kept.holds(tables.backends, policies):
            service = kept.anew()
        else:
            service = _service(SERVICES.decode(octets, index), tables, policies, shared)
        for port in service.ports:
            place = f"service {port.service}:{port.port}"
            _refuse((port.service, port.port) in tables.by_name, f"{place} is there twice")
            _refuse((port.address, port.port) in tables.by_address, f"{place}: {port.address} is another's")
            tables.by_name[(port.service, port.port)] = port
            tables.by_address[(port.address, port.port)] = port
        tables.parts.services[octets] = service


def _prepare_for_callers(tables: Tables, previous: Tables) -> Generator[None, None, None]:
    """Lays out the policies of the ports that are called now, so that no request has to wait for it."""
    number = 0
    for name, port in previous.by_name.items():
        if not port.plans or name not in tables.by_name:
            continue
        authz = tables.by_name[name].authz
        for policy in [*authz.denies, *authz.allows]:
            if not policy.is_laid_out:
                if number % LARGE == 0:
                    yield
                number += 1
                policy.lay_out()


def _service(
    service: Service, tables: Tables, policies: dict[str, PolicyTable], shared: dict[frozenset[str], AuthzTable]
) -> ServiceTable:
    names = frozenset(service.policies)
    authz = shared.get(names)
    if authz is None:
        for name in names:
            _refuse(name not in policies, f"service {service.name} names policy {name}, which is not there")
        authz = shared[names] = AuthzTable([policies[name] for name in names])
    named: dict[str, BackendTable] = {}
    ports = [_port(tables, service, port, authz, named) for port in service.ports]
    return ServiceTable(ports, list(named.values()), authz)


def _port(
    tables: Tables, service: Service, port: ServicePort, authz: AuthzTable, named: dict[str, BackendTable]
) -> ServicePortTable:
    place = f"service {service.name}:{port.port}"
    routes = RouteIndex([(route, _route(tables, place, route.name, route.backends, named)) for route in port.routes])
    opaque = _route(tables, place, service.name, port.backends, named)
    return ServicePortTable(
        service.name, service.address, port.port, port.target_port, port.protocol, routes, opaque, authz
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
    return CallerRef(caller.pod, caller.principal, caller.namespace, caller.service, calls)


def _refuse(wrong: bool, text: str) -> None:
    if wrong:
        raise InconsistentSnapshot(text)
