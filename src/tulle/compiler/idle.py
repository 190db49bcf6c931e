"""Rules of policies that could never match: a DENY that guards nothing is worse than none."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Self

from tulle.compiler.index import Index
from tulle.model.place import Place, Problem, place_of
from tulle.model.resources import AppProtocol, AuthorizationPolicy, Operation, PolicyAction, Rule, Service, Source


@dataclass(frozen=True, slots=True)
class Guards:
    """What policies with selectors hold for."""

    services: Mapping[str, Sequence[Service]]
    """By policy."""
    live_ports: AbstractSet[tuple[Place, int]]
    """Where a port is written and some service has it: one rule of a mesh file may stand for several policies."""

    @classmethod
    def of(cls, index: Index) -> Self:
        """From what is attached to services."""
        services: dict[str, list[Service]] = {}
        for service, names in index.attached.items():
            for name in names:
                if index.policies[name].spec.selector is not None:
                    services.setdefault(name, []).append(index.services[service])
        live = {
            (rule.place, number)
            for name, guarded in services.items()
            for rule in index.policies[name].spec.rules
            for one in rule.to or ()
            for number in one.operation.ports
            if any(port.target == number for service in guarded for port in service.spec.ports)
        }
        return cls(services, live)


def idle_rules(index: Index, policy: AuthorizationPolicy, guards: Guards) -> Iterator[Problem]:
    """What in the policy could never match, whoever calls."""
    for rule in policy.spec.rules:
        for sender in rule.from_ or ():
            yield from _source(index, sender.source, rule)
        for one in rule.to or ():
            yield from _operation(policy, one.operation, rule, guards)


def _source(index: Index, source: Source, rule: Rule) -> Iterator[Problem]:
    # here and below: hardly one rule of thousands, and a generator for each field costs more than the look
    if source.not_principals or source.not_namespaces:
        yield from _excluded("principals", source.principals, source.not_principals, rule)
        yield from _excluded("namespaces", source.namespaces, source.not_namespaces, rule)
    home = f"{index.mesh.spec.trust_domain}/ns/"
    starred = [one for one in (*source.principals, *source.not_principals) if one[-1:] == "*"]
    for principal in starred:
        fixed = principal[:-1]
        if fixed and not fixed.startswith(home) and not home.startswith(fixed):
            message = f"principal `{principal}` is of another trust domain and can never call"
            place = place_of(principal, rule.place)
            yield Problem.at(place, "foreign-principal", message, f"here they begin with `{home}`")


def _operation(policy: AuthorizationPolicy, operation: Operation, rule: Rule, guards: Guards) -> Iterator[Problem]:
    services = guards.services.get(policy.qualified, ())
    if operation.not_methods or operation.not_paths or operation.not_hosts or operation.not_ports:
        yield from _excluded("methods", operation.methods, operation.not_methods, rule)
        yield from _excluded("paths", operation.paths, operation.not_paths, rule)
        yield from _excluded("hosts", operation.hosts, operation.not_hosts, rule)
        yield from _excluded("ports", list(map(str, operation.ports)), list(map(str, operation.not_ports)), rule)
    ports = [port for one in services for port in one.spec.ports]
    targets = {port.target for port in ports} if operation.ports else frozenset()
    for number in operation.ports:
        if ports and number not in targets and (rule.place, number) not in guards.live_ports:
            shown = ", ".join(map(str, sorted(targets)))
            message = f"port {number} never matches: what policy `{policy.qualified}` guards listens on {shown}"
            hint = "a policy goes by the port that the workload listens on, not by the one that callers dial"
            yield Problem.at(rule.place, "never-matches", message, hint)
    is_opaque = bool(ports) and all(port.app_protocol is AppProtocol.TCP for port in ports)
    if is_opaque and policy.spec.action is PolicyAction.ALLOW and _asks_http(operation):
        message = f"`{services[0].qualified}` speaks tcp: a rule on methods, paths or hosts can never allow"
        yield Problem.at(rule.place, "never-matches", message, "leave them out, or say `appProtocol: http`")


def _asks_http(one: Operation) -> bool:
    wanted = (one.methods, one.not_methods, one.paths, one.not_paths, one.hosts, one.not_hosts)
    return any(wanted)


def _excluded(field: str, wanted: Sequence[str], unwanted: Sequence[str], rule: Rule) -> Iterator[Problem]:
    if wanted and unwanted and all(any(_covers(no, one) for no in unwanted) for one in wanted):
        message = f"the rule never matches: its `not{field.capitalize()}` exclude all of its `{field}`"
        yield Problem.at(place_of(wanted[0], rule.place), "never-matches", message)


def _covers(wide: str, narrow: str) -> bool:
    """Whatever matches `narrow` matches `wide`."""
    if wide == "*" or wide == narrow:
        return True
    if wide.endswith("*"):
        return narrow.startswith(wide[:-1]) and not narrow.startswith("*")
    return wide.startswith("*") and narrow.endswith(wide[1:]) and not narrow.endswith("*")
