"""The mesh file → resources. From here on there is only one language."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tulle.manifest.meshfile import (
    AccessRule,
    ContainerEntry,
    External,
    MeshFile,
    MeshRule,
    Posture,
    ReadinessEntry,
    ServiceEntry,
)
from tulle.manifest.rules import policy_rule, qualified
from tulle.model.names import DEFAULT_NAMESPACE, ROOT_NAMESPACE
from tulle.model.place import NOWHERE, Place, Problem, Word, place_of
from tulle.model.resource import Metadata, Resource
from tulle.model.resources import (
    AppProtocol,
    AuthorizationPolicy,
    AuthorizationPolicySpec,
    BackendRef,
    HTTPRoute,
    HTTPRouteRule,
    HTTPRouteSpec,
    Mesh,
    MeshMode,
    MeshSpec,
    ParentRef,
    PolicyAction,
    Selector,
    Service,
    ServiceKind,
    ServicePort,
    ServiceSpec,
    ServiceType,
    TCPRoute,
    TCPRouteRule,
    TCPRouteSpec,
)
from tulle.model.telemetry import Telemetry
from tulle.model.workloads import Address, Container, Readiness, Run, Workload, WorkloadPort, WorkloadSpec

HTTP_PORT = 80
"""Callers may leave the port of a service out: `http://orders/`."""


def desugar(mesh: MeshFile) -> tuple[tuple[Resource, ...], list[Problem]]:
    """What the mesh file means, and what in it means nothing."""
    sugar = _Sugar(mesh)
    return tuple(sugar.resources()), sugar.problems


@dataclass(frozen=True, slots=True)
class _Named:
    """A service or an external, with the name it goes by."""

    name: str
    namespace: str
    key: str
    """As written, with its place."""

    @property
    def place(self) -> Place:
        return place_of(self.key)

    def metadata(self, suffix: str = "") -> Metadata:
        name = Word.at(self.name + suffix, self.place)
        return Metadata(name=name, namespace=Word.at(self.namespace, self.place))


class _Sugar:
    def __init__(self, mesh: MeshFile) -> None:
        self.mesh = mesh
        self.problems: list[Problem] = []
        self._trust_domain = str(mesh.trust_domain or f"{mesh.mesh}.local")
        self._services = [(self._named(key, one.namespace), one) for key, one in mesh.services.items()]
        self._versions = {f"{named.namespace}/{named.name}": tuple(one.versions) for named, one in self._services}
        self._externals = [(self._named(key, one.namespace), one) for key, one in mesh.external.items()]

    def resources(self) -> Iterator[Resource]:
        mode = MeshMode.SHADOW if self.mesh.mode is Posture.SHADOW else MeshMode.ENFORCE
        place = self.mesh.place
        yield Mesh(
            metadata=Metadata(name=self.mesh.mesh),
            spec=MeshSpec(trust_domain=self._trust_domain, mode=mode),
            place=place,
        )
        if self.mesh.mode is not Posture.PERMISSIVE:
            name = Metadata(name="allow-nothing", namespace=ROOT_NAMESPACE)
            yield AuthorizationPolicy(metadata=name, place=place)
        for number, rule in enumerate(self.mesh.deny, 1):
            yield from self._mesh_wide(number, rule)
        for named, service in self._services:
            yield from self._service(named, service)
        for named, external in self._externals:
            yield from self._external(named, external)
        if self.mesh.telemetry is not None:
            name = Metadata(name=self.mesh.mesh)
            yield Telemetry(metadata=name, spec=self.mesh.telemetry, place=self.mesh.telemetry_place)

    def _named(self, key: str, namespace: str) -> _Named:
        first, slash, second = key.partition("/")
        if slash and namespace not in {DEFAULT_NAMESPACE, first}:
            self._fault(place_of(namespace), "bad-value", f"`{key}` is in namespace `{first}`", "say it once")
        return _Named(second, first, key) if slash else _Named(str(key), str(namespace), key)

    def _fault(self, place: Place, code: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem.at(place, code, message, hint))

    def _service(self, named: _Named, entry: ServiceEntry) -> Iterator[Resource]:
        self._check(named, entry)
        if entry.port is not None:
            yield from self._dialled(named, entry, entry.port)
        if entry.attach is not None:
            yield self._workload(named, entry, "", None)
        else:
            for version, run in self._runs(named, entry).items():
                yield self._workload(named, entry, version, run)
        yield from self._guards(named, entry.protocol, entry.allow, entry.deny)

    def _check(self, named: _Named, entry: ServiceEntry) -> None:
        shown = f"`{named.key}`"
        ways = {
            "run": entry.run,
            "container": entry.container,
            "attach": entry.attach,
            "versions": entry.versions or None,
        }
        said = [f"`{way}`" for way, value in ways.items() if value is not None]
        if len(said) != 1:
            has = f", and has {' and '.join(said)}" if said else ""
            message = f"{shown} needs one of `run`, `container`, `attach` and `versions`{has}"
            self._fault(named.place, "missing-field", message)
        for version, one in entry.versions.items():
            if (one.run is None) == (one.container is None):
                self._fault(one.place, "missing-field", f"version `{version}` of {shown} needs `run` or `container`")
        if entry.attach is not None:
            self._check_attached(named, entry)
        if entry.user is not None and (entry.container or any(one.container for one in entry.versions.values())):
            self._fault(named.place, "bad-value", f"{shown} is a container", "write `user` inside of `container`")
        needs = {"expose": entry.expose, "allow": entry.allow, "deny": entry.deny, "protocol": entry.protocol}
        for field in [name for name, value in needs.items() if value and entry.port is None]:
            self._fault(named.place, "missing-field", f"{shown} has `{field}` but no `port`", "say where it listens")
        if entry.readiness is not None and entry.port is None and not _port_of(entry.readiness):
            self._fault(named.place, "missing-field", f"the readiness of {shown} has no port")

    def _check_attached(self, named: _Named, entry: ServiceEntry) -> None:
        """What only the mesh's own processes can be told."""
        usual = ServiceEntry()
        fields = ("env", "workdir", "user", "writable", "readiness", "depends_on", "isolation", "stop_seconds")
        for field in [one for one in fields if getattr(entry, one) != getattr(usual, one)]:
            message = f"`{named.key}` is attached: the mesh does not start it, and cannot hold it to `{field}`"
            self._fault(named.place, "unenforceable", message, "leave it out, or let the mesh `run` it")

    def _runs(self, named: _Named, entry: ServiceEntry) -> Mapping[str, Run]:
        if entry.versions:
            return {
                str(name): self._run(named, entry, one.run, one.container, one.env, one.place)
                for name, one in entry.versions.items()
                if one.run is not None or one.container is not None
            }
        if entry.run is None and entry.container is None:
            return {}
        return {"": self._run(named, entry, entry.run, entry.container, {}, entry.place)}

    def _run(
        self,
        named: _Named,
        entry: ServiceEntry,
        command: tuple[str, ...] | str | None,
        container: ContainerEntry | None,
        env: Mapping[str, str],
        place: Place,
    ) -> Run:
        return Run(
            command=(container.command if container else command) or (),
            container=_container(container) if container else None,
            env={**entry.env, **(container.env if container else {}), **env},
            working_dir=entry.workdir,
            user=container.user if container else entry.user,
            writable=entry.writable,
            readiness=_readiness(entry),
            depends_on=tuple(self._dependencies(named, entry)),
            isolation=entry.isolation,
            stop_seconds=entry.stop_seconds,
            place=place,
        )

    def _dependencies(self, named: _Named, entry: ServiceEntry) -> Iterator[str]:
        for written in entry.depends_on:
            name = qualified(written, named.namespace)
            for suffix in [f"-{version}" for version in self._versions.get(name, ())] or [""]:
                yield Word.at(name + suffix, place_of(written))

    def _workload(self, named: _Named, entry: ServiceEntry, version: str, run: Run | None) -> Workload:
        calls = entry.calls
        return Workload(
            metadata=named.metadata(f"-{version}" if version else ""),
            spec=WorkloadSpec(
                labels={"app": named.name} | ({"version": version} if version else {}),
                service_account=Word.at(named.name, named.place) if version else None,
                ports=(WorkloadPort(port=entry.port),) if entry.port else (),
                run=run,
                attach=entry.attach,
                calls=None if calls is None else tuple(qualified(one, named.namespace) for one in calls),
            ),
            place=run.place if run else named.place,
        )

    def _dialled(self, named: _Named, entry: ServiceEntry, port: int) -> Iterator[Resource]:
        ports = _ports(port, entry.protocol, named.place, entry.expose, entry.expose_place)
        kind = ServiceType.NODE_PORT if entry.expose else ServiceType.CLUSTER_IP
        spec = ServiceSpec(ports=ports, selector={"app": named.name}, type=kind)
        yield Service(metadata=named.metadata(), spec=spec, place=named.place)
        for version in entry.versions:
            inner = _ports(port, entry.protocol, named.place)
            chosen = {"app": named.name, "version": str(version)}
            spec = ServiceSpec(ports=inner, selector=chosen)
            yield Service(metadata=named.metadata(f"-{version}"), spec=spec, place=entry.versions[version].place)
        if entry.versions:
            yield from self._split(named, entry, port)

    def _split(self, named: _Named, entry: ServiceEntry, port: int) -> Iterator[Resource]:
        parents = (ParentRef(name=named.name, kind=ServiceKind.SERVICE),)
        backends = tuple(
            BackendRef(name=f"{named.name}-{version}", port=port, weight=one.weight, place=one.place)
            for version, one in entry.versions.items()
        )
        if entry.protocol is not AppProtocol.TCP:
            http = HTTPRouteRule(backend_refs=backends, place=named.place)
            spec = HTTPRouteSpec(parent_refs=parents, rules=(http,))
            yield HTTPRoute(metadata=named.metadata(), spec=spec, place=named.place)
        if entry.protocol is None or not entry.protocol.is_http:
            tcp = TCPRouteRule(backend_refs=backends, place=named.place)
            yield TCPRoute(
                metadata=named.metadata(), spec=TCPRouteSpec(parent_refs=parents, rules=(tcp,)), place=named.place
            )

    def _external(self, named: _Named, entry: External) -> Iterator[Resource]:
        ports = _ports(entry.port, entry.protocol, named.place)
        labels = {"app": named.name}
        yield Service(metadata=named.metadata(), spec=ServiceSpec(ports=ports, selector=labels), place=named.place)
        address = Address(host=entry.host, port=entry.port)
        yield Workload(metadata=named.metadata(), spec=WorkloadSpec(labels=labels, address=address), place=named.place)
        yield from self._guards(named, entry.protocol, entry.allow, entry.deny)

    def _guards(
        self, named: _Named, protocol: AppProtocol | None, allow: tuple[AccessRule, ...], deny: tuple[AccessRule, ...]
    ) -> Iterator[AuthorizationPolicy]:
        for rule in allow:
            if protocol is AppProtocol.TCP and (rule.methods or rule.paths or rule.hosts):
                message = f"`{named.key}` speaks tcp: a rule on methods, paths or hosts can never allow"
                self._fault(rule.place, "never-matches", message, "leave them out, or say `protocol: http`")
        selector = Selector(match_labels={"app": named.name})
        for action, written in ((PolicyAction.ALLOW, allow), (PolicyAction.DENY, deny)):
            if written:
                rules = tuple(policy_rule(one, named.namespace, self._trust_domain) for one in written)
                spec = AuthorizationPolicySpec(selector=selector, action=action, rules=rules)
                suffix = f"-{action.value.lower()}"
                yield AuthorizationPolicy(metadata=named.metadata(suffix), spec=spec, place=written[0].place)

    def _mesh_wide(self, number: int, rule: MeshRule) -> Iterator[AuthorizationPolicy]:
        rules = (policy_rule(rule, DEFAULT_NAMESPACE, self._trust_domain),)
        called = rule.name or f"mesh-deny-{number}"
        for target in dict.fromkeys(qualified(one, DEFAULT_NAMESPACE) for one in rule.to):
            namespace, _, name = target.rpartition("/")
            everything = name == "*"
            label = Word.at(name, place_of(target, rule.place))
            selector = None if everything else Selector(match_labels={"app": label})
            spec = AuthorizationPolicySpec(selector=selector, action=PolicyAction.DENY, rules=rules)
            metadata = Metadata(
                name=Word.at(called + ("" if everything else f"-{name}"), place_of(target, rule.place)),
                namespace=namespace or ROOT_NAMESPACE,
            )
            yield AuthorizationPolicy(metadata=metadata, spec=spec, place=rule.place)


def _ports(
    port: int,
    protocol: AppProtocol | None,
    place: Place,
    expose: int | None = None,
    expose_place: Place = NOWHERE,
) -> tuple[ServicePort, ...]:
    first = ServicePort(
        port=port,
        target_port=port,
        app_protocol=protocol,
        node_port=expose,
        node_port_place=expose_place,
        place=place,
    )
    if protocol is AppProtocol.TCP or port == HTTP_PORT:
        return (first,)
    return (first, ServicePort(port=HTTP_PORT, target_port=port, app_protocol=protocol, place=place))


def _container(entry: ContainerEntry) -> Container:
    return Container(image=entry.image, mounts=entry.mounts, pull=entry.pull, memory=entry.memory, cpus=entry.cpus)


def _port_of(readiness: ReadinessEntry | str) -> int | None:
    return readiness.port if isinstance(readiness, ReadinessEntry) else None


def _readiness(entry: ServiceEntry) -> Readiness | None:
    given = entry.readiness
    port = (_port_of(given) if given is not None else None) or entry.port
    if port is None:
        return None
    if isinstance(given, ReadinessEntry):
        return Readiness(
            port=port,
            path=given.path,
            startup_seconds=given.startup,
            timeout_seconds=given.timeout,
            period_seconds=given.period,
            failure_threshold=given.failure_threshold,
        )
    return Readiness(port=port, path=given)
