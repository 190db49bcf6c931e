"""Services, ports, routes and backends, as the data plane needs them."""

from collections.abc import Iterable, Iterator, Mapping

from tulle.compiler.index import Index
from tulle.model import resources as model
from tulle.model.names import qualify
from tulle.model.workloads import Workload
from tulle.wire.snapshot import (
    AttachedEndpoint,
    Backend,
    Door,
    HeaderMatch,
    HostEndpoint,
    Match,
    PathMatch,
    PodEndpoint,
    Protocol,
    Route,
    Service,
    ServicePort,
    WeightedBackend,
)


def services(index: Index, addresses: Mapping[str, str]) -> tuple[Service, ...]:
    """Every service, by name."""
    return tuple(
        Service(
            name=name,
            address=addresses[name],
            ports=tuple(_port(index, one, port) for port in sorted(one.spec.ports, key=lambda port: port.port)),
            policies=index.attached[name],
        )
        for name, one in index.services.items()
    )


def backends(index: Index, dialled: Iterable[Service]) -> tuple[Backend, ...]:
    """Every backend that some port or route leads to, by name."""
    used = {one.backend for service in dialled for port in service.ports for one in _leads_to(port)}
    found: dict[str, list[tuple[str, model.ServicePort]]] = {}
    for name, one in index.services.items():
        for port in one.spec.ports:
            found.setdefault(_backend_name(name, port.target), []).append((name, port))
    return tuple(_backend(index, found[name]) for name in sorted(used))


def doors(index: Index) -> tuple[Door, ...]:
    """Every port of the box that leads in, by number."""
    found = [
        Door(port=int(port.node_port), service=name, service_port=port.port)
        for name, one in index.services.items()
        for port in one.spec.ports
        if port.node_port is not None
    ]
    return tuple(sorted(found, key=lambda door: door.port))


def _leads_to(port: ServicePort) -> Iterator[WeightedBackend]:
    yield from port.backends
    for route in port.routes:
        yield from route.backends


def _port(index: Index, service: model.Service, port: model.ServicePort) -> ServicePort:
    protocol = _protocol(port)
    name = service.qualified
    own = (WeightedBackend(backend=_backend_name(name, port.target)),) if index.members[name] else ()
    return ServicePort(
        port=port.port,
        target_port=port.target,
        protocol=protocol,
        routes=() if protocol is Protocol.TCP else tuple(_http(index, name, port.port) or _default(name, own)),
        backends=() if protocol in (Protocol.HTTP, Protocol.HTTP2) else tuple(_tcp(index, name, port.port)) or own,
    )


def _protocol(port: model.ServicePort) -> Protocol:
    spoken = port.app_protocol
    if spoken is None:
        return Protocol.DETECT
    if spoken.is_http2:
        return Protocol.HTTP2
    return Protocol.HTTP if spoken.is_http else Protocol.TCP


def _spoken(said: set[Protocol]) -> Protocol:
    """What endpoints behind such ports speak. Where both versions of HTTP are said they speak both."""
    http = said & {Protocol.HTTP, Protocol.HTTP2}
    if len(http) == 1:
        return http.pop()
    return Protocol.TCP if said == {Protocol.TCP} else Protocol.DETECT


def _default(name: str, own: tuple[WeightedBackend, ...]) -> list[Route]:
    return [Route(name=name, backends=own)] if own else []


def _http(index: Index, service: str, port: int) -> list[Route]:
    return [
        Route(
            name=f"{route.qualified}#{number}",
            hostnames=tuple(str(one) for one in route.spec.hostnames),
            matches=tuple(_match(one) for one in rule.matches),
            backends=tuple(_shares(index, route, rule.backend_refs)),
        )
        for route in index.http_routes_of.get(service, ())
        if _is_for(route, service, port)
        for number, rule in enumerate(route.spec.rules)
    ]


def _tcp(index: Index, service: str, port: int) -> Iterator[WeightedBackend]:
    for route in index.tcp_routes_of.get(service, ()):
        if _is_for(route, service, port):
            yield from _shares(index, route, route.spec.rules[0].backend_refs)


def _is_for(route: model.HTTPRoute | model.TCPRoute, service: str, port: int) -> bool:
    return any(
        qualify(ref.name, route.metadata.namespace) == service and ref.port in {None, port}
        for ref in route.spec.parent_refs
    )


def _shares(
    index: Index, route: model.HTTPRoute | model.TCPRoute, refs: Iterable[model.BackendRef]
) -> Iterator[WeightedBackend]:
    for ref in refs:
        name = qualify(ref.name, route.metadata.namespace)
        target = next(port.target for port in index.services[name].spec.ports if port.port == ref.port)
        yield WeightedBackend(backend=_backend_name(name, target), weight=ref.weight)


def _match(match: model.HTTPRouteMatch) -> Match:
    path = match.path
    return Match(
        path=None if path is None else PathMatch(value=str(path.value), exact=path.type is model.PathType.EXACT),
        method=None if match.method is None else str(match.method),
        headers=tuple(HeaderMatch(name=one.name.lower(), value=str(one.value)) for one in match.headers),
    )


def _backend_name(service: str, target: int) -> str:
    return f"{service}:{target}"


def _backend(index: Index, fronts: list[tuple[str, model.ServicePort]]) -> Backend:
    """What is behind one or more ports of a service, all with the same target."""
    service, target = fronts[0][0], fronts[0][1].target
    members = [index.workloads[name] for name in index.members[service]]
    versions = {str(one.spec.labels.get("version", "")) for one in members}
    stands_for = {index.primary[one.qualified] for one in members}
    return Backend(
        name=_backend_name(service, target),
        service=stands_for.pop() if len(stands_for) == 1 else service,
        version=versions.pop() if len(versions) == 1 else "",
        protocol=_spoken({_protocol(port) for _, port in fronts}),
        endpoints=tuple(_endpoint(one, target) for one in members),
    )


def _endpoint(workload: Workload, target: int) -> PodEndpoint | HostEndpoint | AttachedEndpoint:
    if workload.spec.address is not None:
        address = workload.spec.address
        return HostEndpoint(workload=workload.qualified, host=str(address.host), port=address.port)
    if workload.spec.attach is not None:
        return AttachedEndpoint(workload=workload.qualified, port=target)
    if workload.in_pod:
        return PodEndpoint(workload=workload.qualified, port=target)
    return HostEndpoint(workload=workload.qualified, host="127.0.0.1", port=target)
