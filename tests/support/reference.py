"""The decisions again, as naively as they can be said: straight over the Snapshot, nothing prepared."""

from tulle.core.authorize import Allow, Deny
from tulle.core.request import RequestView, canonical_pattern, folded_pattern
from tulle.wire.reason import Reason
from tulle.wire.snapshot import Action, Caller, Match, Operation, Policy, Service, ServicePort, Snapshot, Source


def verdict(
    snapshot: Snapshot, service: Service, port: ServicePort, caller: Caller | None, request: RequestView | None
) -> Allow | Deny:
    """`judge`, read off the documentation."""
    policies = sorted((p for p in snapshot.policies if p.name in service.policies), key=lambda p: p.name)
    readings = [None] if request is None else [(request.path, False), (request.folded, True)]
    for policy in (p for p in policies if p.action is Action.DENY):
        if any(_matches(policy, port.target_port, caller, request, reading) for reading in readings):
            return Deny(policy.name, Reason.DENIED)
    if caller and caller.calls is not None and not any(like(p, service.name) for p in caller.calls):
        return Deny(None, Reason.CALLS_DENIED)
    allows = [p for p in policies if p.action is Action.ALLOW]
    for policy in allows:
        if _allows(policy, port.target_port, caller, request, readings):
            return Allow(policy.name)
    return Deny(None, Reason.DENIED) if allows else Allow(None)


def like(pattern: str, value: str) -> bool:
    """One pattern of Istio."""
    if pattern == "*":
        return value != ""
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value.endswith(pattern[1:]) if pattern.startswith("*") else value == pattern


def _allows(
    policy: Policy,
    port: int,
    caller: Caller | None,
    request: RequestView | None,
    readings: list[tuple[str, bool]] | list[None],
) -> bool:
    """Some operation that both readings match."""
    return any(
        _source(source, caller) and all(_operation(operation, False, port, request, one) for one in readings)
        for rule in policy.rules
        for source in rule.sources or (Source(),)
        for operation in rule.operations or (Operation(),)
    )


def _matches(
    policy: Policy, port: int, caller: Caller | None, request: RequestView | None, reading: tuple[str, bool] | None
) -> bool:
    return any(
        any(_source(source, caller) for source in rule.sources or (Source(),))
        and any(_operation(one, True, port, request, reading) for one in rule.operations or (Operation(),))
        for rule in policy.rules
    )


def _source(source: Source, caller: Caller | None) -> bool:
    principal, namespace = (caller.principal, caller.namespace) if caller else ("", "")
    return _field(source.principals, source.not_principals, principal) and _field(
        source.namespaces, source.not_namespaces, namespace
    )


def _operation(
    operation: Operation, denies: bool, port: int, request: RequestView | None, reading: tuple[str, bool] | None
) -> bool:
    ports = (not operation.ports or port in operation.ports) and port not in operation.not_ports
    if request is None or reading is None:
        only_ports = Operation(ports=operation.ports, not_ports=operation.not_ports)
        return ports and (denies or operation == only_ports)
    path, folded = reading
    read = folded_pattern if folded else canonical_pattern
    return (
        ports
        and _field(operation.methods, operation.not_methods, request.method)
        and _field(operation.hosts, operation.not_hosts, request.host)
        and _field(tuple(map(read, operation.paths)), tuple(map(read, operation.not_paths)), path)
    )


def _field(wanted: tuple[str, ...], unwanted: tuple[str, ...], value: str) -> bool:
    return (not wanted or any(like(p, value) for p in wanted)) and not any(like(p, value) for p in unwanted)


def route(port: ServicePort, request: RequestView) -> str | None:
    """`match_route`: all that matches, sorted by precedence."""
    found = [
        (*_host_rank(host), *_match_rank(match), _name_rank(route.name), route.name)
        for route in port.routes
        for host in route.hostnames or ("*",)
        for match in route.matches or (Match(),)
        if _host(host, request.host) and _match(match, request)
    ]
    return min(found)[-1] if found else None


def _host(pattern: str, host: str) -> bool:
    return pattern in ("*", host) or (
        pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) >= len(pattern)
    )


def _match(match: Match, request: RequestView) -> bool:
    if match.path is not None:
        value = match.path.value
        if match.path.exact and request.path != value:
            return False
        if not match.path.exact and not (request.path + "/").startswith(value.rstrip("/") + "/"):
            return False
    if match.method is not None and match.method != request.method:
        return False
    return all(request.header(h.name.encode()) == h.value.encode() for h in match.headers)


def _host_rank(pattern: str) -> tuple[bool, int]:
    return ("*" in pattern, -len(pattern.replace("*", "")))


def _match_rank(match: Match) -> tuple[bool, int, bool, int]:
    path = match.path
    length = len(path.value if path.exact else path.value.rstrip("/")) if path else 0
    return (not (path and path.exact), -length, match.method is None, -len(match.headers))


def _name_rank(name: str) -> tuple[str, int]:
    owner, _, number = name.rpartition("#")
    return owner, int(number)
