"""What must hold between resources: every reference resolves, every policy can be enforced, no port clashes."""

from collections.abc import Container, Iterable, Iterator, Sequence

from tulle.compiler.idle import Guards, idle_rules
from tulle.compiler.index import Index
from tulle.model.names import SpiffeId, is_label, qualify
from tulle.model.place import Place, Problem, nearest, place_of
from tulle.model.resource import Resource
from tulle.model.resources import AuthorizationPolicy, BackendRef, HTTPRoute, ParentRef, PolicyAction, Service, TCPRoute
from tulle.model.unread import Unread
from tulle.model.workloads import Attach, Workload
from tulle.wire.plan import FORWARD_PORT, LISTENER_PORT, METRICS_PORT


def faults(index: Index) -> Iterator[Problem]:
    """Everything that keeps these resources from being a mesh."""
    for service in index.services.values():
        yield from _service(index, service)
    for workload in index.workloads.values():
        yield from _workload(index, workload)
    guards, callers = Guards.of(index), _callers(index)
    for policy in index.policies.values():
        yield from _policy(index, policy, callers)
        yield from idle_rules(index, policy, guards)
    routes: list[HTTPRoute | TCPRoute] = [*index.http_routes.values(), *index.tcp_routes.values()]
    for route in routes:
        yield from _route(index, route)
    yield from _tcp_clashes(index)
    yield from _host_ports(index)
    yield from _attached_alike(index)
    yield from _cycles(index)


SURE = frozenset(
    {
        "bad-value",
        "dependency-cycle",
        "duplicate-resource",
        "port-clash",
        "reserved-name",
        "unknown-port",
        "unknown-service",
        "unknown-workload",
    }
)
"""Faults that stay faults whatever else there may be, but for the names that `Index.unread` may declare."""


def sure_faults(resources: Sequence[Resource], unread: Unread) -> list[Problem]:
    """What is wrong between resources whatever those say that could not be read."""
    index, problems = Index.of(resources, unread)
    return [one for one in (*problems, *faults(index)) if one.code in SURE]


def _service(index: Index, service: Service) -> Iterator[Problem]:
    name = service.qualified
    if service.metadata.name == "localhost":
        yield Problem.at(service.place, "reserved-name", "a service cannot be called `localhost`")
    if service.spec.selector and not index.members[name]:
        yield Problem.at(service.place, "selects-nothing", f"Service `{name}` selects no workload", "mend its selector")
    for port in service.spec.ports:
        place = port.place if port.place.file else service.place
        if isinstance(port.target_port, str) or index.unread.may_declare(name):
            continue  # said already
        for member in index.members[name]:
            if index.unread.may_declare(member):
                continue
            ports = [one.port for one in index.workloads[member].spec.ports]
            if ports and port.target not in ports:
                message = f"Service `{name}` targets port {port.target}, where `{member}` does not listen"
                yield Problem.at(place, "unknown-port", message, f"it listens on {', '.join(map(str, ports))}")
            if port.target == LISTENER_PORT and index.workloads[member].in_pod:
                yield Problem.at(
                    place, "port-reserved", f"port {LISTENER_PORT} in a pod is the mesh's own", "take another"
                )


def _workload(index: Index, workload: Workload) -> Iterator[Problem]:
    for pattern in workload.spec.calls or ():
        name = qualify(pattern, workload.metadata.namespace)
        if not name.endswith("*") and name not in index.services:
            yield from _unknown_service(index, name, place_of(pattern, workload.place), index.services)
    for written in workload.spec.run.depends_on if workload.spec.run else ():
        name = qualify(written, workload.metadata.namespace)
        if index.unread.may_declare(name):
            continue
        if name not in index.workloads or index.workloads[name].spec.run is None:
            known = [one for one, other in index.workloads.items() if other.spec.run is not None]
            message = f"no workload named `{name}` runs here"
            yield Problem.at(place_of(written, workload.place), "unknown-workload", message, nearest(name, known))


def _unknown_service(index: Index, name: str, place: Place, known: Iterable[str]) -> Iterator[Problem]:
    if not index.unread.may_declare(name):
        yield Problem.at(
            place, "unknown-service", f"no service named `{name}`", nearest(name, [*known, *index.unread.names])
        )


def _callers(index: Index) -> frozenset[str]:
    """Principals of those who can call: what a policy names is mostly one of these, and then beyond doubt."""
    domain = index.mesh.spec.trust_domain
    known = (one.split("/") for one, attested in index.accounts.items() if attested)
    return frozenset(SpiffeId.of(domain, namespace, account).principal for namespace, account in known)


def _policy(index: Index, policy: AuthorizationPolicy, callers: Container[str]) -> Iterator[Problem]:
    qualified = policy.qualified
    selector, selected = policy.spec.selector, index.selected[qualified]
    if selector is not None and not selected:
        labels = ", ".join(f"{label}={value}" for label, value in selector.match_labels.items())
        if selector.match_labels.keys() == {"app"}:
            app = selector.match_labels["app"]
            name = qualify(app, policy.metadata.namespace)
            yield from _unknown_service(index, name, place_of(app, policy.place), index.services)
        else:
            message = f"policy `{qualified}` selects no workload: none has {labels}"
            yield Problem.at(policy.place, "selects-nothing", message)
    for service in index.split.get(qualified, ()):
        message = f"policy `{qualified}` selects only part of service `{service}`"
        hint = f"select all of it: {', '.join(index.members[service])}"
        yield Problem.at(policy.place, "policy-splits-service", message, hint)
    for rule in policy.spec.rules:
        for one in rule.from_ or ():
            for principal in (*one.source.principals, *one.source.not_principals):
                if principal in callers:
                    continue
                yield from _principal(index, principal, place_of(principal, policy.place))


def _principal(index: Index, principal: str, place: Place) -> Iterator[Problem]:
    if "*" in principal:
        return
    domain, _, path = principal.partition("/ns/")
    namespace, _, account = path.partition("/sa/")
    name = f"{namespace}/{account}"
    if not is_label(namespace) or not is_label(account):
        hint = f"write `{index.mesh.spec.trust_domain}/ns/<namespace>/sa/<service account>`"
        yield Problem.at(place, "bad-value", f"`{principal}` is no principal", hint)
        return
    if domain != index.mesh.spec.trust_domain:
        message = f"principal `{principal}` is of another trust domain and can never call"
        yield Problem.at(place, "foreign-principal", message, f"this mesh is `{index.mesh.spec.trust_domain}`")
        return
    if name not in index.accounts:
        known = [one for one, attested in index.accounts.items() if attested]
        yield from _unknown_service(index, name, place, known)
    elif not index.accounts[name]:
        message = f"`{name}` is anonymous to the mesh: no rule can name it as a caller"
        yield Problem.at(place, "anonymous-caller", message, "run it in a pod, or `attach` it")


def _route(index: Index, route: HTTPRoute | TCPRoute) -> Iterator[Problem]:
    namespace = route.metadata.namespace
    parents = [qualify(ref.name, namespace) for ref in route.spec.parent_refs]
    for parent, ref in zip(parents, route.spec.parent_refs, strict=True):
        if parent not in index.services:
            yield from _unknown_service(index, parent, place_of(ref.name, route.place), index.services)
        else:
            yield from _parent(index, index.services[parent], ref, route)
    for rule in route.spec.rules:
        for backend in rule.backend_refs:
            yield from _backend(index, route, backend, [one for one in parents if one in index.services])


def _parent(index: Index, service: Service, ref: ParentRef, route: HTTPRoute | TCPRoute) -> Iterator[Problem]:
    if index.unread.may_declare(service.qualified):
        return
    chosen = [one for one in service.spec.ports if ref.port in {None, one.port}]
    place = place_of(ref.name, route.place)
    if not chosen:
        yield Problem.at(place, "unknown-port", f"service `{service.qualified}` has no port {ref.port}")
        return
    wants_http = isinstance(route, HTTPRoute)
    spoken = [one.app_protocol for one in chosen]
    if all(one is not None and one.is_http is not wants_http for one in spoken):
        kind = type(route).__name__
        message = f"{kind} `{route.qualified}` never matches: `{service.qualified}` speaks {spoken[0]}"
        yield Problem.at(place, "never-matches", message)


def _backend(index: Index, route: HTTPRoute | TCPRoute, ref: BackendRef, parents: Sequence[str]) -> Iterator[Problem]:
    name, place = qualify(ref.name, route.metadata.namespace), place_of(ref.name, ref.place)
    service = index.services.get(name)
    if service is None:
        yield from _unknown_service(index, name, place, index.services)
        return
    if index.unread.may_declare(name):
        return
    if ref.port not in {one.port for one in service.spec.ports}:
        ports = ", ".join(str(one.port) for one in service.spec.ports)
        yield Problem.at(place, "unknown-port", f"service `{name}` has no port {ref.port}", f"it has {ports}")
    if not index.members[name]:
        yield Problem.at(place, "selects-nothing", f"backend `{name}` has no workload", "give it a selector")
    for parent in parents:
        if _bypasses(index, parent, name):
            message = f"who may call `{parent}` would reach `{name}` past its policies"
            hint = "let the same policies select both"
            yield Problem.at(place, "route-bypasses-policy", message, hint)


def _bypasses(index: Index, parent: str, backend: str) -> bool:
    """Some caller that the backend's policies refuse could pass the parent's, the only ones judged."""
    outer = index.attached[parent]
    inner = [one for one in index.attached[backend] if parent not in index.split.get(one, ())]
    denies = {one for one in inner if index.policies[one].spec.action is PolicyAction.DENY}
    allows = {one for one in inner if index.policies[one].spec.action is PolicyAction.ALLOW}
    outer_allows = {one for one in outer if index.policies[one].spec.action is PolicyAction.ALLOW}
    if not denies.issubset(outer):
        return True
    return bool(allows) and not (outer_allows and outer_allows <= allows)


def _tcp_clashes(index: Index) -> Iterator[Problem]:
    taken: dict[tuple[str, int], str] = {}
    for name, route in index.tcp_routes.items():
        for ref in route.spec.parent_refs:
            parent = qualify(ref.name, route.metadata.namespace)
            service = index.services.get(parent)
            for port in service.spec.ports if service else ():
                if ref.port in {None, port.port} and taken.setdefault((parent, port.port), name) != name:
                    message = f"TCPRoutes `{taken[parent, port.port]}` and `{name}` both route `{parent}`:{port.port}"
                    yield Problem.at(place_of(ref.name, route.place), "route-clash", message, "merge them")


def _host_ports(index: Index) -> Iterator[Problem]:
    taken: dict[int, str] = {METRICS_PORT: "the mesh's metrics"}
    if any(one.spec.attach for one in index.workloads.values()):
        taken[FORWARD_PORT] = "the mesh's forward proxy"
    for name, service in index.services.items():
        for port, place in service.doors():
            yield from _take(taken, port, f"service `{name}`", place)
    for name, workload in index.workloads.items():
        if workload.spec.attach is not None:
            who = f"workload `{name}`, which is attached,"
        elif workload.spec.run is not None and not workload.in_pod:
            who = f"workload `{name}`, which is not isolated,"
        else:
            continue
        for one in workload.spec.ports:
            yield from _take(taken, one.port, who, workload.place)


def _take(taken: dict[int, str], port: int, who: str, place: Place) -> Iterator[Problem]:
    if port in taken:
        message = f"port {port} of the box is wanted by {who} and {taken[port]}"
        yield Problem.at(place, "port-clash", message.replace(",,", ","), "take another")
    taken.setdefault(port, who)


def _attached_alike(index: Index) -> Iterator[Problem]:
    """What is recognised by the same facts cannot be told apart."""
    taken: dict[Attach, str] = {}
    for name, workload in index.workloads.items():
        attach = workload.spec.attach
        if attach is not None and taken.setdefault(attach, name) != name:
            message = f"`{name}` and `{taken[attach]}` are recognised by the same facts"
            place = attach.place if attach.place.file else workload.place
            yield Problem.at(place, "attached-alike", message, "attach them by different users, units or cgroups")


def _cycles(index: Index) -> Iterator[Problem]:
    """Each cycle once, at its first name."""
    needs = {
        name: sorted({qualify(other, one.metadata.namespace) for other in one.spec.run.depends_on})
        for name, one in index.workloads.items()
        if one.spec.run is not None
    }
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        pending: list[tuple[str, int]] = [(start, 0)]
        while pending:
            name, depth = pending.pop()
            del path[depth:]
            if name in path:
                cycle = path[path.index(name) :]
                shown = " → ".join(f"`{one}`" for one in [*cycle, name])
                place = index.workloads[min(cycle)].place
                yield Problem.at(
                    place, "dependency-cycle", f"each waits for the next: {shown}", "break one `depends_on`"
                )
            elif name in needs and name not in done:
                path.append(name)
                done.add(name)
                pending.extend((other, depth + 1) for other in needs[name])
