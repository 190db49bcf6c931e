"""What runs, how it is started or recognised, and who it is."""

import enum
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from tulle.model.fields import (
    CgroupPath,
    Cpus,
    EnvName,
    Host,
    HttpPath,
    ImageName,
    Label,
    MountText,
    Octets,
    OwnPath,
    Port,
    PortName,
    Seconds,
    ServicePattern,
    ServiceRef,
    SomeSeconds,
    Text,
    Times,
    UnitName,
    UserName,
)
from tulle.model.names import WorkloadName
from tulle.model.place import NOWHERE, Place
from tulle.model.resource import Resource


class Isolation(enum.StrEnum):
    """What a workload runs in."""

    POD = "pod"
    """Namespaces of its own that hold nothing but the mesh."""
    NONE = "none"
    """A plain process of the host: anonymous, and able to dial round the mesh."""


class Pull(enum.StrEnum):
    """Whether an image is fetched."""

    NEVER = "never"
    """What is not on the box does not run."""
    MISSING = "missing"
    """When it is not on the box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """When a workload counts as ready, and gets traffic: a container's `readinessProbe`, asked from within its pod."""

    port: Port
    """Takes connections on a loopback address."""
    path: HttpPath | None = None
    """Answers GET with 200–399; without it a connection is enough."""
    startup_seconds: Seconds = 60.0
    """Not ready by then: said in the status, and asked more slowly. Until the first yes it is asked more often than later."""
    timeout_seconds: SomeSeconds = 1.0
    """For one answer."""
    period_seconds: Seconds = 10.0
    """Between questions once it is ready; 0: never again. While it is unready at most 2."""
    failure_threshold: Times = 3
    """So many failures in a row make it unready: it keeps running and gets no new traffic until it answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """An image that podman runs in the pod's network; root only."""

    image: ImageName
    """As podman knows it; it must be on the box unless `pull` says otherwise."""
    mounts: tuple[MountText, ...] = ()
    """`source:target`, or `source:target:ro`: a path, relative to the manifest's directory, or the name of a podman volume, made where there is none. What else is written is gone at the next start."""
    pull: Pull = Pull.NEVER
    """Whether the image is fetched when it is not on the box."""
    memory: Octets | None = None
    """At most so many octets of memory, `64Mi`; where the box's cgroups can hold it to that."""
    cpus: Cpus | None = None
    """At most so many processors, `0.5`; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the supervisor starts it; at least one of `command` and `container`."""

    command: tuple[Text, ...] | Text = ()
    """Words of the command line; one text is split as a shell would, but no shell runs. In a container: instead of the image's own, behind its entrypoint."""
    container: Container | None = None
    """Runs in a container of this image instead of on the box's own files."""
    env: Mapping[EnvName, Text] = field(default_factory=dict)
    """Environment, added to PATH, HOME and LANG."""
    working_dir: Text | None = None
    """Relative to the manifest's directory, which is the default."""
    user: Text | None = None
    """Name or uid; root only. Without it a uid of its own; in a container the image's own user, unless that is root."""
    writable: tuple[OwnPath, ...] = ()
    """Paths it may write to besides its own /tmp and /run; relative to its working directory. As root its uid must own them."""
    readiness: Readiness | None = None
    """Ready as soon as it runs unless said."""
    depends_on: tuple[ServiceRef, ...] = ()
    """Workloads that must be ready first."""
    isolation: Isolation = Isolation.POD
    """What it runs in."""
    stop_seconds: Seconds = 10.0
    """From SIGTERM to SIGKILL."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def argv(self) -> list[str]:
        """The command line. Raises ValueError for a text that ends inside quotes."""
        if isinstance(self.command, str):
            return shlex.split(str(self.command))
        return [str(one) for one in self.command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """How the kernel recognises something that the mesh does not start. What is given must all hold."""

    uid: UserName | None = None
    """Name or number of the user whose sockets are its sockets."""
    systemd: UnitName | None = None
    """Its unit: `web.service`. Sockets made in the unit's cgroup are its sockets."""
    cgroup: CgroupPath | None = None
    """Its cgroup, and those below, from the root of the cgroup2 tree: `/system.slice/web.service`."""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where something beyond the mesh listens, seen from the box."""

    host: Host
    """An IP address or a DNS name."""
    port: Port
    """Where it listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPort:
    """A port that a workload listens on."""

    port: Port
    """On loopback or any address of its pod."""
    name: PortName | None = None
    """What a Service's `targetPort` may call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """What runs and who it is; exactly one of `run`, `attach` and `address`."""

    labels: Mapping[str, Text] = field(default_factory=dict)
    """What selectors read; `version` is also a label of metrics."""
    service_account: Label | None = None
    """Last part of its identity; the workload's name unless said."""
    ports: tuple[WorkloadPort, ...] = ()
    """Where it listens; when given, services may target no other port."""
    run: Run | None = None
    """How to start it."""
    attach: Attach | None = None
    """How to recognise it, when it runs on the box without the mesh's doing."""
    address: Address | None = None
    """Where it is, when it is beyond the mesh."""
    calls: tuple[ServicePattern, ...] | None = None
    """Services that it may call at all; without it, whatever lets it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload(Resource):
    """One thing that runs, and who it is."""

    versions: ClassVar[tuple[str, ...]] = ("tulle.dev/v1",)
    spec: WorkloadSpec
    """See WorkloadSpec."""

    @property
    def name(self) -> WorkloadName:
        """Its name in its namespace."""
        return WorkloadName(str(self.metadata.namespace), str(self.metadata.name))

    @property
    def service_account(self) -> str:
        """Last part of its identity."""
        return str(self.spec.service_account or self.metadata.name)

    @property
    def attested(self) -> bool:
        """The mesh knows when it calls: it runs in a pod, or the kernel recognises it."""
        return self.spec.attach is not None or self.in_pod

    @property
    def in_pod(self) -> bool:
        """It runs in namespaces of its own."""
        return self.spec.run is not None and self.spec.run.isolation is Isolation.POD
