"""Selectors resolved: which workloads a service or a policy means, without asking each about each."""

from collections.abc import Iterable, Mapping

from tulle.model.names import ROOT_NAMESPACE
from tulle.model.resources import AuthorizationPolicy, Service
from tulle.model.workloads import Workload


class Labels:
    """Which workloads have which label, by namespace."""

    def __init__(self, workloads: Mapping[str, Workload]) -> None:
        self._all: dict[str, set[str]] = {ROOT_NAMESPACE: set(workloads)}
        self._having: dict[tuple[str, str, str], set[str]] = {}
        for name, one in workloads.items():
            namespace = one.metadata.namespace
            self._all.setdefault(namespace, set()).add(name)
            for label, value in one.spec.labels.items():
                for scope in (namespace, ROOT_NAMESPACE):
                    self._having.setdefault((scope, label, value), set()).add(name)

    def matching(self, scope: str, selector: Mapping[str, str]) -> frozenset[str]:
        """Workloads of a namespace, or of all for the root namespace, that have every label."""
        found = [self._having.get((scope, label, value), set()) for label, value in selector.items()]
        if not found:
            return frozenset(self._all.get(scope, ()))
        smallest, *others = sorted(found, key=len)
        return frozenset(smallest.intersection(*others))


def members(services: Mapping[str, Service], labels: Labels) -> dict[str, tuple[str, ...]]:
    """Service → the workloads that answer for it, by name; none without a selector."""
    found: dict[str, tuple[str, ...]] = {}
    for name, one in services.items():
        chosen = labels.matching(one.metadata.namespace, one.spec.selector) if one.spec.selector else ()
        home = f"{one.metadata.namespace}/"
        found[name] = tuple(sorted(other for other in chosen if other.startswith(home)))
    return found


def primaries(services: Mapping[str, Service], behind: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Workload → the service with the widest selector that it answers for."""
    primary: dict[str, str] = {}
    for service in sorted(services, key=lambda name: (len(services[name].spec.selector), name)):
        for workload in behind[service]:
            primary.setdefault(workload, service)
    return primary


def selected(policies: Mapping[str, AuthorizationPolicy], labels: Labels) -> dict[str, frozenset[str]]:
    """Policy → the workloads that it holds for; equal selectors are asked once, since of many policies few select differently."""
    found: dict[tuple[object, ...], frozenset[str]] = {}
    chosen: dict[str, frozenset[str]] = {}
    for name, one in policies.items():
        selector = one.spec.selector.match_labels if one.spec.selector else {}
        asked = (one.metadata.namespace, *selector.items())
        if asked not in found:
            found[asked] = labels.matching(one.metadata.namespace, selector)
        chosen[name] = found[asked]
    return chosen


def reached(
    policies: Mapping[str, AuthorizationPolicy],
    chosen: Mapping[str, frozenset[str]],
    behind: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Service → the policies that guard all of it, by name; policy → the services of which it selects only a part."""
    answers: dict[str, list[str]] = {}
    for service, workloads in behind.items():
        for workload in workloads:
            answers.setdefault(workload, []).append(service)
    guards: dict[str, list[str]] = {service: [] for service in behind}
    parts: dict[str, list[str]] = {}
    touched: dict[frozenset[str], list[str]] = {}
    for name, one in policies.items():
        whom = chosen[name]
        if one.spec.selector is None:
            services = _of_namespace(one.metadata.namespace, behind)
        elif (known := touched.get(whom)) is not None:
            services = known
        else:
            services = touched[whom] = sorted({service for each in whom for service in answers.get(each, ())})
        for service in services:
            if one.spec.selector is None or whom.issuperset(behind[service]):
                guards[service].append(name)
            else:
                parts.setdefault(name, []).append(service)
    return guards, parts


def _of_namespace(namespace: str, services: Iterable[str]) -> list[str]:
    return [one for one in services if namespace == ROOT_NAMESPACE or one.startswith(f"{namespace}/")]
