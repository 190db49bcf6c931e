"""The resources a mesh is made of: the full language, and the ecosystem's own.

Field for field what is written in YAML, with `lowerCamelCase` there and `snake_case` here; a name that Python
reserves ends in `_`. Strings that came from a file are `Word`s, which know their line.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tulle.model.fields import (
    HeaderName,
    HeaderValue,
    Hostname,
    HostPattern,
    Label,
    Method,
    MethodPattern,
    NamespacePattern,
    PathPattern,
    Port,
    PortName,
    PrincipalPattern,
    RoutePath,
    Text,
    TrustDomain,
    Weight,
)
from tulle.model.names import ServiceName
from tulle.model.place import NOWHERE, Place
from tulle.model.resource import Resource
from tulle.model.telemetry import Telemetry
from tulle.model.workloads import (
    Workload,
)


class MeshMode(enum.StrEnum):
    """What a denial does."""

    ENFORCE = "enforce"
    """Denied requests are refused."""
    SHADOW = "shadow"
    """Denied requests pass and are counted as what enforcing would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSpec:
    """What holds for the whole mesh."""

    trust_domain: TrustDomain
    """First part of every identity."""
    mode: MeshMode = MeshMode.ENFORCE
    """What a denial does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh(Resource):
    """The mesh itself; at most one."""

    versions: ClassVar[tuple[str, ...]] = ("tulle.dev/v1",)
    spec: MeshSpec
    """See MeshSpec."""


class ServiceType(enum.StrEnum):
    """From where a service can be dialled."""

    CLUSTER_IP = "ClusterIP"
    """From inside the mesh."""
    NODE_PORT = "NodePort"
    """Also at a port of the box."""


class Transport(enum.StrEnum):
    """What carries a port's bytes."""

    TCP = "TCP"
    """The only transport so far."""


class AppProtocol(enum.StrEnum):
    """What a port speaks."""

    HTTP = "http"
    """HTTP/1.1. Callers may speak HTTP/2 by prior knowledge as well."""
    HTTP2 = "http2"
    """HTTP/2 by prior knowledge. Callers may speak HTTP/1.1 as well."""
    GRPC = "grpc"
    """gRPC, which is carried by HTTP/2."""
    H2C = "kubernetes.io/h2c"
    """What Kubernetes calls `http2`."""
    TCP = "tcp"
    """Opaque bytes; needed when the server speaks first."""

    @property
    def is_http2(self) -> bool:
        """Whether endpoints are spoken to in HTTP/2."""
        return self in (AppProtocol.HTTP2, AppProtocol.GRPC, AppProtocol.H2C)

    @property
    def is_http(self) -> bool:
        """Whether requests are told apart."""
        return self is not AppProtocol.TCP


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """A port that callers dial."""

    port: Port
    """As callers dial it."""
    name: Label | None = None
    """For people."""
    target_port: Port | PortName | None = None
    """As the workload listens: a number, or the name that the workload's `ports` give it; `port` unless said."""
    protocol: Transport = Transport.TCP
    """What carries the bytes."""
    app_protocol: AppProtocol | None = None
    """What is spoken; unless said, the first bytes of each caller tell, and it is spoken to alike."""
    node_port: Port | None = None
    """A port of the box, all addresses, that leads here; needs `type: NodePort`."""
    node_port_place: Place = field(default=NOWHERE, compare=False, repr=False)
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def target(self) -> int:
        """As the workload listens. A name counts as `port` until the compiler's index has resolved it."""
        return self.target_port if isinstance(self.target_port, int) else self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """Who answers, and where."""

    ports: tuple[ServicePort, ...]
    """At least one."""
    selector: Mapping[str, Text] = field(default_factory=dict)
    """Labels of the workloads that answer; without it only routes give it backends."""
    type: ServiceType = ServiceType.CLUSTER_IP
    """From where it can be dialled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Resource):
    """A name that callers dial; gets a virtual address."""

    versions: ClassVar[tuple[str, ...]] = ("v1",)
    spec: ServiceSpec
    """See ServiceSpec."""

    @property
    def name(self) -> ServiceName:
        """Its name in its namespace."""
        return ServiceName(str(self.metadata.namespace), str(self.metadata.name))

    def doors(self) -> Iterator[tuple[int, Place]]:
        """Ports of the box that lead here, each with where it was written."""
        for port in self.spec.ports:
            if port.node_port is not None:
                places = (port.node_port_place, port.place)
                yield port.node_port, next((one for one in places if one.file), self.place)


class ServiceKind(enum.StrEnum):
    """What a route refers to."""

    SERVICE = "Service"
    """A Service."""


class CoreGroup(enum.StrEnum):
    """The API group of Service."""

    CORE = ""
    """The core group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentRef:
    """The service that a route is for."""

    name: Label
    """Its name."""
    kind: ServiceKind
    """Must be written: without it Gateway API means a Gateway."""
    group: CoreGroup = CoreGroup.CORE
    """The core group, written `""`."""
    namespace: Label | None = None
    """The route's own, if given."""
    port: Port | None = None
    """Of the service; all its ports unless said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRef:
    """A share of the traffic."""

    name: Label
    """A Service in the route's namespace."""
    port: Port
    """Of that Service."""
    kind: ServiceKind = ServiceKind.SERVICE
    """What it refers to."""
    group: CoreGroup = CoreGroup.CORE
    """The core group, written `""`."""
    namespace: Label | None = None
    """The route's own, if given."""
    weight: Weight = 1
    """Its share is weight / sum of weights."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


class PathType(enum.StrEnum):
    """How a path is compared."""

    EXACT = "Exact"
    """Equal."""
    PREFIX = "PathPrefix"
    """Equal, or followed by further path elements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMatch:
    """A condition on the path."""

    type: PathType = PathType.PREFIX
    """How it is compared."""
    value: RoutePath = "/"
    """What it is compared with."""


class HeaderMatchType(enum.StrEnum):
    """How a header is compared."""

    EXACT = "Exact"
    """Equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """A condition on a header."""

    name: HeaderName
    """In any case of letters."""
    value: HeaderValue
    """What it must equal."""
    type: HeaderMatchType = HeaderMatchType.EXACT
    """How it is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteMatch:
    """Conditions that must all hold."""

    path: PathMatch | None = None
    """On the path."""
    method: Method | None = None
    """Equal."""
    headers: tuple[HeaderMatch, ...] = ()
    """On headers, each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteRule:
    """Where matching requests go."""

    backend_refs: tuple[BackendRef, ...]
    """Shares of the traffic; at least one with a weight."""
    matches: tuple[HTTPRouteMatch, ...] = ()
    """Any of them; none: every request."""
    name: Label | None = None
    """For people."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRouteSpec:
    """Which requests go where."""

    parent_refs: tuple[ParentRef, ...]
    """The services whose callers it routes."""
    rules: tuple[HTTPRouteRule, ...]
    """The most specific match wins, as Gateway API says."""
    hostnames: tuple[Hostname, ...] = ()
    """Hosts it holds for; none: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRoute(Resource):
    """Where the HTTP requests to a service go."""

    versions: ClassVar[tuple[str, ...]] = ("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1")
    spec: HTTPRouteSpec
    """See HTTPRouteSpec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPRouteRule:
    """Where connections go."""

    backend_refs: tuple[BackendRef, ...]
    """Shares of the connections; at least one with a weight."""
    name: Label | None = None
    """For people."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPRouteSpec:
    """Which connections go where."""

    parent_refs: tuple[ParentRef, ...]
    """The services whose callers it routes."""
    rules: tuple[TCPRouteRule, ...]
    """Exactly one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TCPRoute(Resource):
    """Where the opaque connections to a service go."""

    versions: ClassVar[tuple[str, ...]] = ("gateway.networking.k8s.io/v1alpha2", "gateway.networking.k8s.io/v1")
    spec: TCPRouteSpec
    """See TCPRouteSpec."""


class PolicyAction(enum.StrEnum):
    """What a matching policy decides. DENY is judged before ALLOW."""

    ALLOW = "ALLOW"
    """Lets in; a service with any ALLOW policy is closed to all that none of them matches."""
    DENY = "DENY"
    """Refuses, whatever else allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who calls. Fields are ANDed, values within a field ORed."""

    principals: tuple[PrincipalPattern, ...] = ()
    """`<trust domain>/ns/<namespace>/sa/<service account>`; `*` is anyone attested."""
    not_principals: tuple[PrincipalPattern, ...] = ()
    """None of these; an anonymous caller is none of them."""
    namespaces: tuple[NamespacePattern, ...] = ()
    """The caller's namespace."""
    not_namespaces: tuple[NamespacePattern, ...] = ()
    """None of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """One way to be the right caller."""

    source: Source
    """See Source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is asked. Fields are ANDed, values within a field ORed; all but ports are HTTP-only."""

    methods: tuple[MethodPattern, ...] = ()
    """HTTP methods."""
    not_methods: tuple[MethodPattern, ...] = ()
    """None of these."""
    paths: tuple[PathPattern, ...] = ()
    """Request paths."""
    not_paths: tuple[PathPattern, ...] = ()
    """None of these."""
    hosts: tuple[HostPattern, ...] = ()
    """Hosts asked for, in any case of letters."""
    not_hosts: tuple[HostPattern, ...] = ()
    """None of these."""
    ports: tuple[Port, ...] = ()
    """Ports of the workload."""
    not_ports: tuple[Port, ...] = ()
    """None of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class To:
    """One way to be the right request."""

    operation: Operation
    """See Operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Matches when any source and any operation match."""

    from_: tuple[From, ...] | None = None
    """Who calls; without it anyone, the anonymous included."""
    to: tuple[To, ...] | None = None
    """What is asked; without it anything."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which workloads."""

    match_labels: Mapping[str, Text]
    """Labels that they must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicySpec:
    """Who may do what. Empty: an ALLOW that allows nothing."""

    selector: Selector | None = None
    """Which workloads of the namespace; all unless said."""
    action: PolicyAction = PolicyAction.ALLOW
    """What a match decides."""
    rules: tuple[Rule, ...] = ()
    """Any of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationPolicy(Resource):
    """Who may call whom, and what they may ask."""

    versions: ClassVar[tuple[str, ...]] = ("security.istio.io/v1", "security.istio.io/v1beta1")
    spec: AuthorizationPolicySpec = field(default_factory=AuthorizationPolicySpec)
    """See AuthorizationPolicySpec."""


KINDS: tuple[type[Resource], ...] = (Mesh, Service, Workload, HTTPRoute, TCPRoute, AuthorizationPolicy, Telemetry)
"""Every kind, in the order in which they are written."""
