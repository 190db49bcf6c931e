"""The mesh file: the short form, for one node. Field for field what is written in YAML."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from tulle.model.fields import (
    Cpus,
    EnvName,
    Host,
    HostPattern,
    HttpPath,
    ImageName,
    Label,
    MethodPattern,
    MountText,
    Octets,
    OwnPath,
    PathPattern,
    Port,
    Seconds,
    ServicePattern,
    ServiceRef,
    SomeSeconds,
    Text,
    Times,
    TrustDomain,
    Weight,
)
from tulle.model.names import DEFAULT_NAMESPACE
from tulle.model.place import NOWHERE, Place
from tulle.model.resources import AppProtocol
from tulle.model.telemetry import TelemetrySpec
from tulle.model.workloads import Attach, Isolation, Pull


class Posture(enum.StrEnum):
    """What holds where no rule says anything."""

    STRICT = "strict"
    """Nothing may call anything until an `allow` lets it."""
    PERMISSIVE = "permissive"
    """A service without `allow` is open to all."""
    SHADOW = "shadow"
    """As strict, but what would be refused passes and is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """Who may ask what of the service it stands in. Fields are ANDed, values within a field ORed."""

    from_: tuple[ServicePattern, ...] | None = None
    """Callers; `*` is anyone attested. Without it anyone, the anonymous included."""
    methods: tuple[MethodPattern, ...] = ()
    """HTTP methods."""
    paths: tuple[PathPattern, ...] = ()
    """Request paths; `*` first or last."""
    hosts: tuple[HostPattern, ...] = ()
    """Hosts asked for."""
    ports: tuple[Port, ...] = ()
    """Ports that the service listens on."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshRule:
    """A rule for the whole mesh: before any allow."""

    name: Label | None = None
    """What refusals call it; `mesh-deny-<number>` unless said."""
    from_: tuple[ServicePattern, ...] | None = None
    """Callers; `*` is anyone attested. Without it anyone, the anonymous included."""
    to: tuple[ServicePattern, ...] = ("*",)
    """Services called; all unless said."""
    methods: tuple[MethodPattern, ...] = ()
    """HTTP methods."""
    paths: tuple[PathPattern, ...] = ()
    """Request paths; `*` first or last."""
    hosts: tuple[HostPattern, ...] = ()
    """Hosts asked for."""
    ports: tuple[Port, ...] = ()
    """Ports that the services listen on."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessEntry:
    """When it counts as ready, and gets traffic. Asked from within its pod, often until the first yes, then every period."""

    path: HttpPath | None = None
    """Answers GET with 200–399; without it a connection is enough."""
    port: Port | None = None
    """The service's `port` unless said."""
    startup: Seconds = 60.0
    """Seconds; not ready by then: said in the status, and asked more slowly."""
    timeout: SomeSeconds = 1.0
    """Seconds for one answer."""
    period: Seconds = 10.0
    """Seconds between questions once it is ready; 0: never again. While it is unready at most 2."""
    failure_threshold: Times = 3
    """So many failures in a row make it unready: it keeps running and gets no new traffic until it answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEntry:
    """An image that podman runs in the pod's network; root only."""

    image: ImageName
    """As podman knows it; it must be on the box unless `pull` says otherwise."""
    command: tuple[Text, ...] | Text = ()
    """Instead of the image's own, behind its entrypoint if it has one: words, or one text split as a shell would; no shell runs."""
    env: Mapping[EnvName, Text] = field(default_factory=dict)
    """Environment, added to the image's and the service's."""
    mounts: tuple[MountText, ...] = ()
    """`source:target`, or `source:target:ro`: a path, relative to the mesh file's directory, or the name of a podman volume, made where there is none. What else is written is gone at the next start."""
    user: Text | None = None
    """Name or uid in the container. Unless said, the image's own; where that is root, a uid of the service's own. `root` is root without a capability."""
    pull: Pull = Pull.NEVER
    """Whether the image is fetched when it is not on the box."""
    memory: Octets | None = None
    """At most so many octets of memory, `64Mi`; where the box's cgroups can hold it to that."""
    cpus: Cpus | None = None
    """At most so many processors, `0.5`; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One of several versions of a service. What it does not say, the service says."""

    run: tuple[Text, ...] | Text | None = None
    """How to start it: words, or one text split as a shell would; no shell runs."""
    container: ContainerEntry | None = None
    """Or the image that runs."""
    weight: Weight = 1
    """Its share of the traffic is weight / sum of weights."""
    env: Mapping[EnvName, Text] = field(default_factory=dict)
    """Environment, added to the service's."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """One service: what runs, where it listens, who may call it. It has one of `run`, `container`, `attach` and `versions`."""

    run: tuple[Text, ...] | Text | None = None
    """How to start it: words, or one text split as a shell would; no shell runs."""
    container: ContainerEntry | None = None
    """An image that podman runs in the pod's network; root only."""
    attach: Attach | None = None
    """It runs on the box already, and is recognised by its user, unit or cgroup."""
    versions: Mapping[Label, Version] = field(default_factory=dict)
    """Several versions and their weights."""
    port: Port | None = None
    """Where it listens; callers dial the same, and 80 for HTTP. Without it nothing can call it."""
    protocol: AppProtocol | None = None
    """What it speaks; unless said, the first bytes of each caller tell, and it is spoken to alike."""
    namespace: Label = DEFAULT_NAMESPACE
    """Part of its name and identity."""
    expose: Port | None = None
    """A port of the box that leads to it; its callers are anonymous, rules still decide."""
    expose_place: Place = field(default=NOWHERE, compare=False, repr=False)
    calls: tuple[ServicePattern, ...] | None = None
    """Services that it may call at all; without it, whatever lets it in."""
    allow: tuple[AccessRule, ...] = ()
    """Who may call it."""
    deny: tuple[AccessRule, ...] = ()
    """Who may not, whatever else allows."""
    env: Mapping[EnvName, Text] = field(default_factory=dict)
    """Environment, added to PATH, HOME and LANG."""
    workdir: Text | None = None
    """Relative to the mesh file's directory, which is the default."""
    user: Text | None = None
    """Name or uid; root only. Without it a uid of its own."""
    writable: tuple[OwnPath, ...] = ()
    """Paths it may write to besides its own /tmp and /run; relative to its working directory. As root its uid must own them."""
    readiness: ReadinessEntry | HttpPath | None = None
    """When it counts as ready; `/path` is short for a path on its port. A connection to its port unless said."""
    depends_on: tuple[ServiceRef, ...] = ()
    """Services that must be ready first."""
    isolation: Isolation = Isolation.POD
    """`none`: a plain process of the host, anonymous to the mesh."""
    stop_seconds: Seconds = 10.0
    """From SIGTERM to SIGKILL."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Something beyond the mesh: named, allowed, counted."""

    host: Host
    """An IP address or a DNS name, seen from the box."""
    port: Port
    """Where it listens; callers dial the same."""
    protocol: AppProtocol | None = None
    """What it speaks; unless said, the first bytes of each caller tell, and it is spoken to alike."""
    namespace: Label = DEFAULT_NAMESPACE
    """Part of its name."""
    allow: tuple[AccessRule, ...] = ()
    """Who may call it."""
    deny: tuple[AccessRule, ...] = ()
    """Who may not, whatever else allows."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFile:
    """A whole mesh."""

    mesh: Label
    """What it is called."""
    trust_domain: TrustDomain | None = None
    """First part of every identity; `<mesh>.local` unless said."""
    mode: Posture = Posture.STRICT
    """What holds where no rule says anything."""
    deny: tuple[MeshRule, ...] = ()
    """Rules that come before any allow."""
    services: Mapping[ServiceRef, ServiceEntry] = field(default_factory=dict)
    """By name, or by `namespace/name`."""
    external: Mapping[ServiceRef, External] = field(default_factory=dict)
    """What services may reach beyond the mesh, by name."""
    telemetry: TelemetrySpec | None = None
    """What leaves the node."""
    telemetry_place: Place = field(default=NOWHERE, compare=False, repr=False)
    place: Place = field(default=NOWHERE, compare=False, repr=False)
