"""What must hold within one resource, whatever the others say."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tulle.model.names import is_label
from tulle.model.place import Place, Problem, Word, place_of
from tulle.model.resource import Resource
from tulle.model.resources import (
    BackendRef,
    HTTPRoute,
    HTTPRouteMatch,
    ParentRef,
    PathMatch,
    Service,
    ServiceType,
    TCPRoute,
)
from tulle.model.telemetry import OWN_HEADERS, Push, Telemetry
from tulle.model.workloads import Isolation, Run, Workload


def inconsistencies(resource: Resource) -> Iterator[Problem]:
    """What in the resource contradicts itself."""
    if not is_label(resource.metadata.name):
        message = f"`{resource.metadata.name}` is longer than a name may be: 63"
        yield Problem.at(resource.place, "bad-value", message, "shorten it: what it stands for adds a suffix")
    match resource:
        case Service():
            yield from _service(resource)
        case Workload():
            yield from _workload(resource)
        case HTTPRoute():
            references = [ref for rule in resource.spec.rules for ref in rule.backend_refs]
            yield from _route(resource, resource.spec.parent_refs, references)
            for rule in resource.spec.rules:
                yield from _weights(rule.backend_refs, rule.place)
            yield from _matches(resource)
        case Telemetry():
            yield from _telemetry(resource)
        case TCPRoute():
            rules = resource.spec.rules
            yield from _route(resource, resource.spec.parent_refs, [ref for one in rules for ref in one.backend_refs])
            for one in rules:
                yield from _weights(one.backend_refs, one.place)
            if len(rules) > 1:
                yield Problem.at(
                    rules[1].place, "bad-value", "a TCPRoute has one rule", "connections cannot be told apart"
                )


def _telemetry(telemetry: Telemetry) -> Iterator[Problem]:
    push = telemetry.spec.prometheus.push if telemetry.spec.prometheus else None
    if not isinstance(push, Push):
        return
    place, url, tls = place_of(push.url, push.place), push.url, push.tls_config
    if push.basic_auth and push.bearer_token_file:
        message = "a receiver is told either name and password or a token"
        yield Problem.at(place_of(push.bearer_token_file, place), "bad-value", message, "leave one out")
    if tls and url.startswith("http:"):
        message = f"`{url}` is not encrypted: a `tls` section changes nothing"
        yield Problem.at(place, "bad-value", message, f"write `https{url.removeprefix('http')}`")
    if tls and (tls.cert_file is None) != (tls.key_file is None):
        given = tls.cert_file or tls.key_file or ""
        yield Problem.at(
            place_of(given, place), "missing-field", "a certificate needs its key, and a key its certificate"
        )
    for name, value in push.headers.items():
        if not value.isascii():
            message = f"header `{name}` holds what is not ASCII"
            yield Problem.at(place_of(value, place), "bad-value", message, "write it as the receiver wants it encoded")
        if name.lower() in OWN_HEADERS:
            hint = "say `basic_auth` or `bearer_token_file`" if name.lower() == "authorization" else "leave it out"
            yield Problem.at(place_of(name, place), "bad-value", f"header `{name}` is the push's own", hint)


def _service(service: Service) -> Iterator[Problem]:
    seen: set[int] = set()
    for port in service.spec.ports:
        if port.port in seen:
            yield Problem.at(port.place, "port-clash", f"port {port.port} is written twice")
        seen.add(port.port)
        if port.node_port and service.spec.type is not ServiceType.NODE_PORT:
            yield Problem.at(port.place, "bad-value", "`nodePort` needs `type: NodePort`", "add the type")


def _workload(workload: Workload) -> Iterator[Problem]:
    spec = workload.spec
    if sum(one is not None for one in (spec.run, spec.attach, spec.address)) != 1:
        message = f"Workload `{workload.qualified}` needs one of `run`, `attach` and `address`"
        yield Problem.at(workload.place, "missing-field", message)
    if spec.calls is not None and not workload.attested:
        message = f"`{workload.qualified}` is anonymous: nobody can hold it to its `calls`"
        yield Problem.at(workload.place, "unenforceable", message, "run it in a pod, attach it, or leave `calls` out")
    if spec.run is not None:
        yield from _command(spec.run)
        yield from _container(workload, spec.run)
    if spec.attach is not None and not (spec.attach.uid or spec.attach.systemd or spec.attach.cgroup):
        message = f"`attach` of `{workload.qualified}` says nothing"
        yield Problem.at(spec.attach.place, "missing-field", message, "give `uid`, `systemd` or `cgroup`")
    if spec.attach is not None and spec.attach.systemd and spec.attach.cgroup:
        message = f"`attach` of `{workload.qualified}` names a unit and a cgroup"
        yield Problem.at(spec.attach.place, "bad-value", message, "a unit has one cgroup: give either")
    for number, port in enumerate(spec.ports):
        others = spec.ports[:number]
        if any(port.port == one.port for one in others):
            yield Problem.at(
                workload.place, "port-clash", f"port {port.port} of `{workload.qualified}` is written twice"
            )
        if port.name is not None and any(port.name == one.name for one in others):
            message = f"two ports of `{workload.qualified}` are called `{port.name}`"
            yield Problem.at(place_of(port.name, workload.place), "duplicate-value", message, "rename one")


def _command(run: Run) -> Iterator[Problem]:
    place = place_of(run.command, run.place) if isinstance(run.command, str) else run.place
    try:
        empty = not any(run.argv[:1])
    except ValueError as error:
        message = f"the command cannot be split into words: {str(error).lower()}"
        yield Problem.at(place, "bad-value", message, "write it as a list of words")
    else:
        if empty and run.container is None:
            yield Problem.at(place, "bad-value", "the command is empty")


def _container(workload: Workload, run: Run) -> Iterator[Problem]:
    if run.container is None:
        return
    if run.isolation is not Isolation.POD:
        message = f"`{workload.qualified}` is a container without a pod"
        yield Problem.at(run.place, "bad-value", message, "leave `isolation` out")
    if run.writable:
        message = f"`{workload.qualified}` is a container: `writable` names paths of the box"
        yield Problem.at(run.place, "bad-value", message, "give `mounts`")
    if run.working_dir is not None:
        message = f"`{workload.qualified}` is a container: its image says where it works"
        yield Problem.at(run.place, "bad-value", message, "leave the working directory out")
    targets = [one.split(":")[1] for one in run.container.mounts]
    for target in {one for one in targets if targets.count(one) > 1}:
        yield Problem.at(run.place, "duplicate-value", f"`{workload.qualified}` mounts two sources at {target}")


def _route(resource: Resource, parents: Iterable[ParentRef], backends: Iterable[BackendRef]) -> Iterator[Problem]:
    references: list[ParentRef | BackendRef] = [*parents, *backends]
    for ref in references:
        if ref.namespace is not None and ref.namespace != resource.metadata.namespace:
            message = (
                f"`{resource.qualified}` refers to namespace `{ref.namespace}`: Gateway API allows that only with a"
                " ReferenceGrant there, which is not supported yet"
            )
            place = place_of(ref.namespace, resource.place)
            yield Problem.at(place, "unsupported-field", message, "keep a route, its parent and its backends together")


def _matches(route: HTTPRoute) -> Iterator[Problem]:
    """Conditions that exclude each other, and rules of which an earlier one takes every request."""
    seen: set[HTTPRouteMatch] = set()
    for rule in route.spec.rules:
        matches = {_plain(one) for one in rule.matches or (HTTPRouteMatch(),)}
        if matches <= seen:
            yield Problem.at(
                rule.place, "never-matches", "an earlier rule of the route takes all that this one matches"
            )
        seen |= matches
        for name, place in (
            (header.name, place_of(header.name, rule.place)) for one in matches for header in one.headers
        ):
            if any([header.name for header in one.headers].count(name) > 1 for one in matches):
                message = f"header `{name}` is asked for twice in one match"
                yield Problem.at(place, "never-matches", message, "write a match for each value: any of them matches")


def _plain(match: HTTPRouteMatch) -> HTTPRouteMatch:
    """Equal for what matches the same."""
    headers = [replace(one, name=Word.at(one.name.lower(), place_of(one.name))) for one in match.headers]
    return replace(match, path=match.path or PathMatch(), headers=tuple(sorted(headers, key=lambda one: one.name)))


def _weights(backends: tuple[BackendRef, ...], place: Place) -> Iterator[Problem]:
    if not any(ref.weight for ref in backends):
        yield Problem.at(place, "no-weight", "the weights sum to zero", "give one backend a weight")
