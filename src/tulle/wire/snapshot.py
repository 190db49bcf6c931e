"""The Snapshot: all that the data plane needs to know, compiled, in one document.

The agent writes it, the proxy reads it; it can be printed, diffed, kept as a fixture and replayed.
References are by name and complete: the compiler resolves every selector before it writes one.
"""

import enum

import msgspec

SCHEMA_VERSION = 1


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A part of a wire document. Unknown fields are refused."""


class Mode(enum.StrEnum):
    """What a denial does."""

    ENFORCE = "enforce"
    """Denied requests are refused."""
    SHADOW = "shadow"
    """Denied requests pass and are counted as what enforcing would refuse."""


class Protocol(enum.StrEnum):
    """What a service port speaks."""

    DETECT = "detect"
    """HTTP/1.1 or HTTP/2 when the first bytes say so, and endpoints are spoken to alike; opaque TCP otherwise or after the
    detection deadline."""
    HTTP = "http"
    """HTTP; a caller may speak HTTP/1.1 or, by prior knowledge, HTTP/2. Endpoints are spoken to in HTTP/1.1."""
    HTTP2 = "http2"
    """The same, but endpoints are spoken to in HTTP/2."""
    TCP = "tcp"


class Action(enum.StrEnum):
    """What a matching policy decides. DENY is judged before ALLOW."""

    ALLOW = "ALLOW"
    DENY = "DENY"


class Source(Document, frozen=True):
    """Who calls. Fields are ANDed, values within a field ORed; empty means any.

    Patterns as in Istio: exact, `prefix*`, `*suffix`, or `*` (any attested caller). An anonymous caller
    matches no pattern, not even `*`; negative fields match it.
    """

    principals: tuple[str, ...] = ()
    """`<trust domain>/ns/<namespace>/sa/<service account>`, without `spiffe://`."""
    not_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()


class Operation(Document, frozen=True):
    """What is asked. Fields are ANDed, values ORed; empty means any. All but ports are HTTP-only."""

    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    """The service's target port, as a workload sees it."""
    not_ports: tuple[int, ...] = ()


class Rule(Document, frozen=True):
    """Matches when any source and any operation match; an empty list matches everything."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()


class Policy(Document, frozen=True):
    """One AuthorizationPolicy. With ALLOW and no rules it allows nothing."""

    name: str
    """`namespace/name`."""
    action: Action
    rules: tuple[Rule, ...] = ()


class PathMatch(Document, frozen=True):
    """Gateway API path match; a prefix matches whole path elements."""

    value: str
    exact: bool = False


class HeaderMatch(Document, frozen=True):
    """An exact match of one header's value; the name is lower-case."""

    name: str
    value: str


class Match(Document, frozen=True):
    """Conditions ANDed; an empty Match matches every request."""

    path: PathMatch | None = None
    method: str | None = None
    headers: tuple[HeaderMatch, ...] = ()


class WeightedBackend(Document, frozen=True):
    """A share of the traffic: weight / sum of weights. Weight 0 gets nothing."""

    backend: str
    """Name of a Backend."""
    weight: int = 1


class Route(Document, frozen=True):
    """One rule of an HTTPRoute. No backend with weight: answered 500 `no-backend`."""

    name: str
    """`namespace/route#rule index`, or the service's own name for the default route."""
    hostnames: tuple[str, ...] = ()
    """Exact or `*.suffix`, lower-case, without port; empty: any host."""
    matches: tuple[Match, ...] = ()
    """ORed; empty: any request."""
    backends: tuple[WeightedBackend, ...] = ()


class ServicePort(Document, frozen=True):
    """A port that callers dial."""

    port: int
    target_port: int
    """What policies' `ports` are compared with."""
    protocol: Protocol = Protocol.DETECT
    routes: tuple[Route, ...] = ()
    """For HTTP, in any order; precedence is the evaluator's."""
    backends: tuple[WeightedBackend, ...] = ()
    """For opaque TCP."""


class Service(Document, frozen=True):
    """What callers dial: a virtual address, its ports and the policies that guard it."""

    name: str
    """`namespace/service`."""
    address: str
    """Virtual address in 127.80.0.0/16."""
    ports: tuple[ServicePort, ...] = ()
    policies: tuple[str, ...] = ()
    """Names of the policies that select it. None of them ALLOW: allowed unless denied, as in Istio."""


class PodEndpoint(Document, frozen=True, tag="pod"):
    """A port inside a pod, dialled by a socket that the broker makes there."""

    workload: str
    """`namespace/workload`; also the pod's name."""
    port: int


class HostEndpoint(Document, frozen=True, tag="host"):
    """An address that the proxy dials itself."""

    workload: str
    host: str
    """An IP address or a DNS name."""
    port: int


class AttachedEndpoint(Document, frozen=True, tag="attached"):
    """A port on the box's loopback, of either family. It gets traffic while the attached workload is who listens there."""

    workload: str
    port: int


class Backend(Document, frozen=True):
    """Interchangeable endpoints of one service."""

    name: str
    """`namespace/service:target port`."""
    service: str
    """The service it stands for in metrics, `namespace/service`."""
    version: str = ""
    """Label `version` when all its endpoints agree; a metric label."""
    protocol: Protocol = Protocol.DETECT
    """What its endpoints speak; DETECT: whatever the caller speaks."""
    endpoints: tuple[PodEndpoint | HostEndpoint | AttachedEndpoint, ...] = ()


class Caller(Document, frozen=True):
    """Who calls when a connection comes by a pod's listener, or from an attached workload."""

    pod: str
    """`namespace/workload`: the listener's name, or what the supervisor calls the attached workload."""
    principal: str
    """`<trust domain>/ns/<namespace>/sa/<service account>`."""
    namespace: str
    service: str
    """Source label of metrics: `namespace/service`, or the workload's name without a service."""
    calls: tuple[str, ...] | None = None
    """Patterns over service names (`ns/name`, `ns/*`, `*`) that it may call; None: whatever lets it in."""


class Door(Document, frozen=True):
    """A port of the host that leads to one service port; its callers are anonymous."""

    port: int
    service: str
    service_port: int


class Limits(Document, frozen=True):
    """Deadlines in seconds, sizes in octets. The reference documentation is generated from here."""

    head_timeout: float = 10.0
    """From a request's first octet to its whole head."""
    detect_timeout: float = 0.3
    """How long a silent connection is waited for before it counts as opaque TCP."""
    idle_timeout: float = 300.0
    """A connection without traffic: HTTP keep-alive, TCP, WebSockets and other upgrades alike."""
    request_timeout: float = 60.0
    """From the end of a request to the first octet of its answer; a gRPC call's own `grpc-timeout`, if that is longer."""
    connect_timeout: float = 2.0
    """One attempt to reach an endpoint."""
    drain_timeout: float = 10.0
    """From SIGTERM, by `tulle down`, to the end of what is left: WebSockets, streams and TCP that are open take all of it. An upgrade has
    a deadline of its own."""
    header_bytes: int = 65536
    """A head, request or response: 431 or 502 above."""
    header_count: int = 128
    """Fields in a head: 431 or 502 above."""
    target_bytes: int = 16384
    """A request target: 414 above."""
    connections: int = 16384
    """Open downstream connections: closed at accept above."""
    connections_per_caller: int = 4096
    """The same for the connections of one caller."""
    requests_in_flight: int = 8192
    """Requests being served, WebSockets and other upgrades included: 503 `overloaded` above."""
    buffered_bytes: int = 262144
    """Octets held per connection and direction before its source is no longer read."""
    buffered_total: int = 67108864
    """Octets held for slow readers by the whole process. Above half of it less is read at once; above all of it requests are answered 503
    `overloaded`, and HTTP/2 streams whose reader waits are reset."""
    streams: int = 128
    """Open streams of one HTTP/2 connection: refused with REFUSED_STREAM above."""
    stream_window: int = 65535
    """Octets of one HTTP/2 stream that may wait to go on; the peer stops there."""
    connection_window: int = 262144
    """The same for all streams of a connection, at least 65535."""
    pool_idle_timeout: float = 60.0
    """An unused keep-alive connection to an endpoint."""
    pool_size: int = 64
    """Idle keep-alive connections kept per endpoint; more than these are closed after a second."""


class AccessLog(Document, frozen=True):
    """What is written of requests and connections that ended. Refusals and errors are in any case."""

    enabled: bool = True
    sample: float = 0.01
    """Share of the others that are written too."""
    query: bool = False
    """The query of a target is written too."""


class Tracing(Document, frozen=True):
    """What happens to requests without a valid traceparent."""

    create: bool = True
    """A trace begins with them."""
    sample: float = 0.0
    """Share of those traces that are marked as sampled."""


USUAL_LOG = AccessLog()
USUAL_TRACING = Tracing()
"""Left out of a document only where it is this very object."""


class Snapshot(Document, frozen=True, kw_only=True):
    """Everything, at one generation."""

    schema_version: int = SCHEMA_VERSION
    generation: int
    mesh: str
    trust_domain: str
    mode: Mode = Mode.ENFORCE
    callers: tuple[Caller, ...] = ()
    services: tuple[Service, ...] = ()
    backends: tuple[Backend, ...] = ()
    policies: tuple[Policy, ...] = ()
    doors: tuple[Door, ...] = ()
    limits: Limits = Limits()
    access_log: AccessLog = USUAL_LOG
    tracing: Tracing = USUAL_TRACING


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """JSON, one line."""
    return msgspec.json.encode(snapshot)


def decode_snapshot(text: bytes) -> Snapshot:
    """Raises msgspec.ValidationError or msgspec.DecodeError with the place of the fault."""
    return msgspec.json.decode(text, type=Snapshot)


class _Opened(msgspec.Struct):
    doors: tuple[Door, ...] = ()


def decode_doors(text: bytes) -> tuple[Door, ...]:
    """The doors of a snapshot and no more: what else it says is passed over, not made."""
    return msgspec.json.decode(text, type=_Opened).doors
